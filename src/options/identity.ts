import { takes } from './usage-error.ts';

/**
 * A host name, and a machine name, which is formed like one: labels of letters, digits and inner hyphens, separated by
 * dots, at most 64 characters (HOST_NAME_MAX, see gethostname(2)). Undefined for '', which resets it. Throws ValueError.
 */
export function parseHostname(text: string): string | undefined {
  if (text === '') return undefined;
  const isName = text.split('.').every(label => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/i.test(label));
  if (!isName || text.length > 64) throw takes('a name of letters, digits, inner hyphens and dots, 64 at most', text);
  return text;
}

/**
 * A machine id as 32 hexadecimal digits in lower case, from the same or from a UUID. Undefined for all zeroes, which is
 * no id. Throws ValueError.
 */
export function parseUuid(text: string): string | undefined {
  const plain = /^[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}$/i.test(text);
  if (!plain) throw takes('a UUID or 32 hexadecimal digits', text);
  const digits = text.replaceAll('-', '').toLowerCase();
  return /^0+$/.test(digits) ? undefined : digits;
}

/** User name or uid; who it is, only the container's user database can tell. Throws ValueError. */
export function parseUser(text: string): string {
  if (text === '') throw takes('a user name or uid', text);
  return text;
}

/** An id of a user or group: all ones means none, see chown(2). Throws ValueError. */
export function parseId(text: string): number {
  const id = Number(text);
  if (!/^\d+$/.test(text) || id >= 0xffffffff) throw takes('ids from 0 to 4294967294', text);
  return id;
}

/** The name of a user as systemd and useradd(8) take it: it becomes part of paths. Throws ValueError. */
export function parseUserName(text: string): string {
  if (/^[a-z_][a-z0-9_-]{0,30}$/i.test(text)) return text;
  throw takes('a user name of letters, digits, _ and -, 31 at most', text);
}

/** Names of the architectures that a process on each machine can have: see personality(2). */
const personalities: Record<string, readonly string[]> = { x64: ['x86-64', 'x86'], arm64: ['arm64', 'arm'] };

/** An architecture that this machine can show. Throws ValueError. */
export function parsePersonality(text: string, machine: string = process.arch): string {
  const names = personalities[machine] ?? [];
  if (!names.includes(text)) throw takes(names.join(' or '), text);
  return text;
}
