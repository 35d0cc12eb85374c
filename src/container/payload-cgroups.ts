/**
 * The cgroups of a payload: where an init keeps its units, and where a payload that shares the host's process namespace
 * leaves what the kernel does not end. A directory is its own record: whoever made it holds a lock on it, so one
 * without a lock belongs to a killed nspawn. See cgroups(7) and Documentation/admin-guide/cgroup-v2.rst.
 */
import { entrust } from '../../syscalls/agent/janitor.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, LOCK, O } from '../../syscalls/constants.ts';
import { closeFd, type OwnedFd, owned } from '../../syscalls/fd.ts';
import type { Fd } from '../../syscalls/mount.ts';
import { sleep } from '../../syscalls/process.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { readHostFile } from '../host.ts';
import { type Hierarchy, hierarchyMount, isUnified } from '../plan/cgroups.ts';

export interface PayloadCgroups extends Disposable {
  /** The directory in cgroup v2, for a process to be born in. */
  readonly unified: number | undefined;
  /** How many other containers have cgroups beside these. */
  readonly others: number;
  /** Moves a process into those of version 1, where none can be born. Throws SyscallError. */
  adopt(pid: number): void;
}

const PREFIX = 'nspawn-';
/** What is left gets this long to die, in steps of so many milliseconds. */
const DEATH = { step: 5, steps: 1000 } as const;

/**
 * Makes cgroups below this process's own. Disposing of them kills all in them and removes them; if this process is
 * killed, the janitor does, and the next run what an init has made below them. Throws SyscallError.
 */
export async function makePayloadCgroups(machine: string, hierarchies: readonly Hierarchy[]): Promise<PayloadCgroups> {
  const { readdirSync } = await import('node:fs');
  using made = new DisposableStack();
  const name = `${PREFIX}${machine}-${crypto.randomUUID().slice(0, 8)}`;
  const legacy: OwnedFd[] = [];
  let unified: number | undefined;
  let others = 0;
  for (const hierarchy of hierarchies) {
    const parent = made.use(owned(perform(openCgroup(AT.FDCWD, cgroupDirectory(hierarchy)))));
    others = removeAbandoned(parent.fd, readdirSync);
    // First of all, and so withdrawn last of all.
    made.use(entrust([parent.fd], ([parentFd]) => removal(parentFd!, name)));
    made.defer(() => remove(parent.fd, name, readdirSync));
    const { directory, processes } = makeLocked(parent.fd, name);
    made.use(directory);
    made.use(processes);
    if (!isUnified(hierarchy)) {
      legacy.push(processes);
      continue;
    }
    unified = directory.fd;
    const kill = made.use(owned(perform(openControl(directory.fd, 'cgroup.kill'))));
    made.defer(() => perform(killAll(kill.fd)));
  }
  const held = made.move();
  return {
    unified,
    others,
    adopt(pid) {
      const text = Buffer.from(`${pid}`);
      for (const { fd } of legacy) syscall('write', fd, text, text.length);
    },
    [Symbol.dispose]: () => held.dispose(),
  };
}

/** The host's path of a cgroup. */
export function cgroupDirectory(hierarchy: Hierarchy): string {
  const { point, root } = hierarchyMount(hierarchy, readHostFile('/proc/self/mountinfo').toString())!;
  return `${point}${root === '/' ? hierarchy.path : hierarchy.path.slice(root.length)}`;
}

type List = (path: string, options: { withFileTypes: true }) => { name: string; isDirectory(): boolean }[];

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

const openCgroup = (at: number, path: string): Call =>
  call('openat', at, path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC, 0);
const openControl = (at: number, path: string): Call => call('openat', at, path, O.WRONLY | O.CLOEXEC, 0);

const ONE = Buffer.from('1');
const killAll = (fd: Fd): Call => call('write', typeof fd === 'number' ? fd : resultOf(fd), ONE, ONE.length);

/**
 * Makes a cgroup and locks it. Until then another nspawn may take it for abandoned and remove it: it is made again then.
 * Throws SyscallError.
 */
function makeLocked(parent: number, name: string): { directory: OwnedFd; processes: OwnedFd } {
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
    undo.move();
    return { directory, processes: owned(processes) };
  }
}

/** What the janitor does: kills all in the cgroup, and removes it once the last process has been reaped. */
function removal(parent: number, name: string): Call[] {
  const open = openControl(parent, `${name}/cgroup.kill`);
  const attempts = [20, 200, 2000].flatMap(pause => [sleep(pause), call('unlinkat', parent, name, AT.REMOVEDIR)]);
  return [open, killAll(open), ...attempts];
}

/**
 * Removes a cgroup, and those below it, once all that was killed in it is gone. Throws SyscallError when that takes too
 * long.
 */
function remove(parent: number, name: string, list: List): void {
  const attempt = call('unlinkat', parent, name, AT.REMOVEDIR);
  for (let step = 0; step < DEATH.steps; step++) {
    if (perform(allowing(attempt, 'EBUSY', 'ENOENT')) !== -EBUSY) return;
    removeBelow(parent, name, list);
    perform(sleep(DEATH.step));
  }
  perform(attempt);
}
const EBUSY = 16;

/** What is still in use stays: its parent is tried again. */
function removeBelow(parent: number, name: string, list: List): void {
  const fd = perform(allowing(openCgroup(parent, name), 'ENOENT'));
  if (fd < 0) return;
  using directory = owned(fd);
  for (const child of below(directory.fd, list)) {
    removeBelow(directory.fd, child, list);
    perform(allowing(call('unlinkat', directory.fd, child, AT.REMOVEDIR), 'EBUSY', 'ENOENT'));
  }
}

/** Removes cgroups of ours that nobody holds a lock on; returns the number of the others. */
function removeAbandoned(parent: number, list: List): number {
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
    remove(parent, name, list);
  }
  return held;
}
