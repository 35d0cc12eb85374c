/** Ids of the host that an ordinary user may give to the users of a container: subuid(5), subgid(5), newuidmap(1). */
import process from 'node:process';
import type { IdRange } from '../../syscalls/idmap.ts';
import { mayRead, readIfThere } from '../host.ts';

/** So many ids from the first one on. */
export interface Subordinate {
  start: number;
  count: number;
}

/** The largest range of a user's in a file such as /etc/subuid; undefined when it has none. */
function largestRange(file: string, { uid, username }: { uid: number; username: string }): Subordinate | undefined {
  return file
    .split('\n')
    .map(line => line.trim().split(':'))
    .filter(([owner]) => owner && (owner === username || owner === String(uid)))
    .map(([, start, count]) => ({ start: Number(start), count: Number(count) }))
    .filter(({ start, count }) => Number.isInteger(start) && start > 0 && Number.isInteger(count) && count > 0)
    .sort((a, b) => b.count - a.count)[0];
}

/** What this process's user may give away. Undefined without ranges for both users and groups. */
export function ownSubordinates(): { uids: Subordinate; gids: Subordinate } | undefined {
  const [subuid, subgid] = ['/etc/subuid', '/etc/subgid'].map(path => readIfThere(path)?.toString());
  if (!subuid || !subgid) return undefined;
  const uid = process.geteuid!();
  const user = { uid, username: nameOf(uid) };
  const [uids, gids] = [subuid, subgid].map(file => largestRange(file, user));
  return uids && gids && { uids, gids };
}

/** A user's name by /etc/passwd; '' when it isn't there. */
function nameOf(uid: number): string {
  const entries = (readIfThere('/etc/passwd')?.toString() ?? '').split('\n').map(line => line.split(':'));
  return entries.find(([, , id]) => id === String(uid))?.[0] ?? '';
}

/** Whether the commands are there that write maps for ordinary users. */
export const hasHelpers = (): boolean =>
  HELPERS.every(name =>
    searchPath()
      .split(':')
      .some(directory => mayRead(`${directory}/${name}`)),
  );
const HELPERS = ['newuidmap', 'newgidmap'] as const;
/** A process that cleans up after a killed one has no environment. */
const searchPath = (): string => process.env['PATH'] ?? '/usr/bin:/bin';

/**
 * Writes the maps of a process's user namespace by newuidmap and newgidmap, which may do for an ordinary user what
 * /etc/subuid and /etc/subgid allow. Throws an Error with what they say.
 */
export function writeMapsByHelpers(pid: number, uids: readonly IdRange[], gids: readonly IdRange[]): void {
  // Loaded here, as it takes milliseconds that most containers need not wait for.
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  for (const helper of HELPERS) {
    const ranges = helper === 'newuidmap' ? uids : gids;
    const words = ranges.flatMap(({ inside, outside, count }) => [inside, outside, count]);
    const { status, stderr, error } = spawnSync(helper, [pid, ...words].map(String), {
      encoding: 'utf8',
      env: { PATH: searchPath() },
    });
    if (status === 0) continue;
    const reason = error ? error.message : stderr.trim().split('\n').at(-1) || `exit status ${status}`;
    throw new Error(`mapping ids with ${helper} (Debian's package uidmap): ${reason}`);
  }
}
