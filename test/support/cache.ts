/** What takes long to make is made once and kept outside the checkout: trees, and the image of a virtual machine. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { hasTool, isRoot } from './needs.ts';

const SYSTEM_CACHE = '/var/cache/nspawn-test';
export const OWN_CACHE: string = isRoot
  ? SYSTEM_CACHE
  : join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'nspawn-test');

/** Path of what is already made, if it is. */
export const kept = (name: string): string | undefined =>
  [SYSTEM_CACHE, OWN_CACHE].map(cache => join(cache, name)).find(existsSync);

/** A part of a name that changes with what is made from it. */
export const fingerprint = (recipe: unknown): string =>
  createHash('sha256')
    .update(JSON.stringify([process.arch, recipe]))
    .digest('hex')
    .slice(0, 12);

// Made under a lock, so that it happens once; under another name, so that there is never half of it.
const MAKE = `
  made=$1; shift
  test -e "$made" && exit
  rm -rf --one-file-system "$made.partial"
  timeout --kill-after=10 900 "$@" 2>&1 && mv -T "$made.partial" "$made"`;

/**
 * Path of what mmdebstrap makes, with root's rights and from the mirrors of this machine. `command` gets the path where it is to make
 * it. Throws when it can't be made; `what` says what that is.
 */
export function debootstrapped(what: string, name: string, command: (path: string) => readonly string[]): string {
  const found = kept(name);
  if (found) return found;
  if (!isRoot) throw new Error(`Making ${what}: not root`);
  if (!hasTool('mmdebstrap')) throw new Error(`Making ${what}: mmdebstrap is not installed`);
  mkdirSync(SYSTEM_CACHE, { recursive: true });
  const path = join(SYSTEM_CACHE, name);
  // --close: a daemon that mmdebstrap leaves behind (gpg-agent) must not keep the lock.
  const words = ['--close', `${path}.lock`, 'sh', '-c', MAKE, 'sh', path, ...command(`${path}.partial`)];
  const { status, stdout, error } = spawnSync('flock', words, { encoding: 'utf8' });
  if (status === 0) return path;
  throw new Error(`Making ${what}: ${error?.message ?? stdout.trim().split('\n').slice(-3).join(' / ')}`);
}
