/**
 * Directories of cgroups that are ours: made, locked, removed. A directory is its own record: whoever made it holds a
 * lock on it, so one without a lock belongs to a killed nspawn.
 */
import type { readdirSync } from 'node:fs';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, LOCK, O } from '../../syscalls/constants.ts';
import { closeFd, type OwnedFd, owned } from '../../syscalls/fd.ts';
import type { Fd } from '../../syscalls/mount.ts';
import { sleep } from '../../syscalls/process.ts';
import { perform } from '../../syscalls/syscall.ts';
import type { MakeOurs } from '../trees/remove.ts';

/** What the names of all of ours begin with. */
export const PREFIX = 'nspawn-';
/** Below one with limits: where the container's processes are, which sees itself as the root of all cgroups. */
export const INNER = 'payload';
/** What is left gets this long to die, in steps of so many milliseconds. */
const DEATH = { step: 5, steps: 1000 } as const;

/** node:fs's readdirSync, which isn't loaded by those that don't need it. */
export type List = typeof readdirSync;

export const openCgroup = (at: number, path: string): Call =>
  call('openat', at, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC, 0);
const findCgroup = (at: number, path: string): Call =>
  call('openat', at, path, O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC, 0);
export const openControl = (at: number, path: string): Call => call('openat', at, path, O.WRONLY | O.CLOEXEC, 0);

/**
 * What a thread writes to a cgroup's file to move there. Who moves another process waits for all CPUs, which takes ten
 * milliseconds; a thread that moves itself doesn't: cgroup_procs_write_start() in kernel/cgroup/cgroup.c of Linux.
 */
export const ITSELF = Buffer.from('0');

const ONE = Buffer.from('1');
/** Kills all in a cgroup of version 2, and below it, by its cgroup.kill. */
export const killAll = (fd: Fd): Call => call('write', typeof fd === 'number' ? fd : resultOf(fd), ONE, ONE.length);

/**
 * Makes a cgroup and locks it. Until then another nspawn may take it for abandoned and remove it: it is made again then.
 * Throws SyscallError.
 */
export function makeLocked(parent: number, name: string): OwnedFd {
  for (let step = 1; ; step++) {
    if (step > 1) perform(sleep(DEATH.step));
    using undo = new DisposableStack();
    perform(allowing(call('mkdirat', parent, name, 0o755), 'EEXIST'));
    const mayFail = step < DEATH.steps ? ['ENOENT', 'EAGAIN'] : [];
    const fd = perform({ ...openCgroup(parent, name), allow: mayFail });
    if (fd < 0) continue;
    const directory = undo.use(owned(fd));
    if (perform({ ...call('flock', fd, LOCK.EX | LOCK.NB), allow: mayFail }) < 0) continue;
    // One that was removed has no files any more.
    const processes = perform({ ...openControl(fd, 'cgroup.procs'), allow: mayFail });
    if (processes < 0) continue;
    closeFd(processes);
    undo.move();
    return directory;
  }
}

/** A cgroup, and the one in it if there is one, as calls that remove them once they are empty. */
export const removeEmpty = (parent: number, name: string): Call[] =>
  [`${name}/${INNER}`, name].map(path => allowing(call('unlinkat', parent, path, AT.REMOVEDIR)));

/**
 * Removes a cgroup, and those below it, once all that was killed in it is gone. Who is not root may need `makeOurs` for
 * what the container's users have made. Throws SyscallError when that takes too long.
 */
export function remove(parent: number, name: string, list: List, makeOurs?: MakeOurs): void {
  const removed = removeEmpty(parent, name)
    .map(each => perform(each))
    .at(-1)!;
  // By now somebody may have made another one of this name.
  if (removed >= 0) return;
  const attempt = call('unlinkat', parent, name, AT.REMOVEDIR);
  for (let step = 0; step < DEATH.steps; step++) {
    // Where nothing can be removed nothing was made.
    if (perform(allowing(attempt, 'EBUSY', 'ENOENT', 'EROFS')) !== -EBUSY) return;
    removeBelow(parent, name, list, makeOurs);
    perform(sleep(DEATH.step));
  }
  perform(attempt);
}
const EBUSY = 16;

/** What is still in use stays: its parent is tried again. */
function removeBelow(parent: number, name: string, list: List, makeOurs?: MakeOurs): void {
  if (makeOurs) {
    const found = perform(allowing(findCgroup(parent, name), 'ENOENT'));
    if (found < 0) return;
    using cgroup = owned(found);
    makeOurs(cgroup.fd);
  }
  const fd = perform(allowing(openCgroup(parent, name), 'ENOENT'));
  if (fd < 0) return;
  using directory = owned(fd);
  for (const child of below(directory.fd, list)) {
    removeBelow(directory.fd, child, list, makeOurs);
    perform(allowing(call('unlinkat', directory.fd, child, AT.REMOVEDIR), 'EBUSY', 'ENOENT'));
  }
}

/** Removes cgroups of ours that nobody holds a lock on, as remove() does; returns the number of the others. */
export function removeAbandoned(parent: number, list: List, makeOurs?: MakeOurs): number {
  let held = 0;
  for (const name of below(parent, list).filter(each => each.startsWith(PREFIX))) {
    const fd = perform(allowing(openCgroup(parent, name), 'ENOENT'));
    if (fd < 0) continue;
    using directory = owned(fd);
    if (perform(allowing(call('flock', directory.fd, LOCK.EX | LOCK.NB), 'EAGAIN')) < 0) {
      held++;
      continue;
    }
    // In version 1 there is none: what was there has died with its process namespace.
    const kill = perform(allowing(openControl(directory.fd, 'cgroup.kill'), 'ENOENT'));
    if (kill >= 0) {
      // Somebody else may have removed it just now.
      perform(allowing(killAll(kill), 'ENOENT', 'ENODEV'));
      closeFd(kill);
    }
    remove(parent, name, list, makeOurs);
  }
  return held;
}

/** Names of the cgroups below one; none when it has been removed. The kernel makes the entries: none is a symlink. */
function below(directory: number, list: List): string[] {
  try {
    const entries = list(`/proc/self/fd/${directory}`, { withFileTypes: true });
    return entries.filter(entry => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return [];
    throw error;
  }
}
