import { SyscallError } from '../../syscalls/syscall.ts';
import { canonicalPath } from '../host.ts';
import { takes, ValueError } from './usage-error.ts';

/**
 * Absolute path on the host without symbolic links; where nothing is there yet, absolute and with single slashes.
 * Undefined for '', which resets it. Throws ValueError.
 */
export function parseHostPath(text: string): string | undefined {
  if (text === '') return undefined;
  try {
    const found = canonicalPath(text);
    if (found !== undefined) return found;
  } catch (error) {
    const why = error instanceof SyscallError ? error.code : error;
    throw new ValueError(`takes a path that can be looked up, not ${JSON.stringify(text)}: ${why}`);
  }
  return absolute(text)
    .replace(/\/+/g, '/')
    .replace(/(?<=.)\/$/, '');
}

/**
 * Absolute path of a file on the host, whose links are not looked up: those in /proc/PID/ns lead to no path. Undefined
 * for '', which resets it.
 */
export function parseHostFile(text: string): string | undefined {
  return text === '' ? undefined : absolute(text);
}

/** Path in the container, which is absolute. Throws ValueError. */
export function parseContainerPath(text: string): string {
  if (!text.startsWith('/')) throw takes('an absolute path in the container', text);
  return text;
}

/** Refuses what are no permissions of a file. Throws ValueError. */
export function checkMode(text: string): void {
  const mode = Number(text);
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) throw takes('permissions from 0 to 0o7777', text);
}

/**
 * Path of a mount's source: absolute on the host, or with a `+` before it in the container's tree. A relative one is
 * taken from the current directory; its `..` are left to the kernel, which knows the symbolic links. Undefined when it
 * is none.
 */
export function parseMountSource(text: string): string | undefined {
  if (text.startsWith('+')) return text.startsWith('+/') ? text : undefined;
  return text === '' ? undefined : absolute(text);
}

function absolute(path: string): string {
  return path.startsWith('/') ? path : `${process.cwd()}/${path}`;
}
