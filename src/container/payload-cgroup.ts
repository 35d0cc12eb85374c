/**
 * A cgroup for a payload that shares the host's process namespace, where the kernel does not end what the payload
 * leaves behind. Its directory is its own record: whoever made it holds a lock on it, so one without a lock belongs to
 * a killed nspawn. See cgroups(7) and Documentation/admin-guide/cgroup-v2.rst.
 */
import { entrust } from '../../syscalls/agent/janitor.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, LOCK, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import type { Fd } from '../../syscalls/mount.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { readHostFile } from '../host.ts';
import { unescapePath } from '../plan/submounts.ts';

export interface PayloadCgroup extends Disposable {
  /** Its directory, for a process to be born in. */
  readonly fd: number;
}

const PREFIX = 'nspawn-';
/** What is left gets this long to die, in steps of so many milliseconds. */
const DEATH = { step: 5, steps: 1000 } as const;

/**
 * Makes a cgroup below this process's own. Disposing of it kills all in it and removes it; if this process is killed,
 * the janitor does. Undefined where the host has no cgroup v2. Throws SyscallError.
 */
export async function makePayloadCgroup(machine: string): Promise<PayloadCgroup | undefined> {
  const parentPath = ownCgroup();
  if (parentPath === undefined) return undefined;
  using made = new DisposableStack();
  const parent = made.use(openDirectory(AT.FDCWD, parentPath));
  await removeAbandoned(parent, parentPath);

  const name = `${PREFIX}${machine}-${crypto.randomUUID().slice(0, 8)}`;
  // First of all, and so withdrawn last of all.
  made.use(entrust([parent.fd], ([parentFd]) => removal(parentFd!, name)));
  syscall('mkdirat', parent.fd, name, 0o755);
  made.defer(() => remove(parent.fd, name));
  const directory = made.use(openDirectory(parent.fd, name));
  syscall('flock', directory.fd, LOCK.EX | LOCK.NB);
  const kill = made.use(owned(perform(openKill(directory.fd, 'cgroup.kill'))));
  made.defer(() => perform(killAll(kill.fd)));
  const held = made.move();
  return { fd: directory.fd, [Symbol.dispose]: () => held.dispose() };
}

/** The directory of this process's cgroup; undefined without cgroup v2. */
function ownCgroup(): string | undefined {
  const path = /^0::(.*)$/m.exec(readHostFile('/proc/self/cgroup').toString())?.[1];
  const mount = readHostFile('/proc/self/mountinfo')
    .toString()
    .split('\n')
    .find(line => line.includes(' - cgroup2 '));
  if (path === undefined || mount === undefined) return undefined;
  const [, , , root = '/', point = ''] = mount.split(' ').map(unescapePath);
  const below = root === '/' ? path : path.slice(root.length);
  return `${point}${below}`;
}

const openDirectory = (at: number, path: string): OwnedFd =>
  owned(syscall('openat', at, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));
const openKill = (at: number, path: string): Call => call('openat', at, path, O.WRONLY | O.CLOEXEC, 0);

const ONE = Buffer.from('1');
const killAll = (fd: Fd): Call => call('write', typeof fd === 'number' ? fd : resultOf(fd), ONE, ONE.length);

/** What the janitor does: kills all in the cgroup, and removes it once the last process has been reaped. */
function removal(parent: number, name: string): Call[] {
  const open = openKill(parent, `${name}/cgroup.kill`);
  const attempts = [20, 200, 2000].flatMap(pause => [sleepCall(pause), call('unlinkat', parent, name, AT.REMOVEDIR)]);
  return [open, killAll(open), ...attempts];
}

/** struct timespec: seconds, nanoseconds */
const sleepCall = (milliseconds: number) =>
  call(
    'nanosleep',
    new Uint8Array(
      new BigInt64Array([BigInt(Math.floor(milliseconds / 1000)), BigInt((milliseconds % 1000) * 1_000_000)]).buffer,
    ),
    null,
  );

/** Removes a cgroup once all that was killed in it is gone. Throws SyscallError when that takes too long. */
function remove(parent: number, name: string): void {
  const attempt = call('unlinkat', parent, name, AT.REMOVEDIR);
  for (let step = 0; step < DEATH.steps; step++) {
    if (perform(allowing(attempt, 'EBUSY', 'ENOENT')) !== -EBUSY) return;
    perform(sleepCall(DEATH.step));
  }
  perform(attempt);
}
const EBUSY = 16;

/** Removes cgroups of ours that nobody holds a lock on. */
async function removeAbandoned(parent: OwnedFd, parentPath: string): Promise<void> {
  const { readdirSync } = await import('node:fs');
  for (const name of readdirSync(parentPath).filter(each => each.startsWith(PREFIX))) {
    const fd = perform(
      allowing(call('openat', parent.fd, name, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0), 'ENOENT', 'ENOTDIR'),
    );
    if (fd < 0) continue;
    using directory = owned(fd);
    if (perform(allowing(call('flock', directory.fd, LOCK.EX | LOCK.NB), 'EAGAIN')) < 0) continue;
    using kill = owned(perform(openKill(directory.fd, 'cgroup.kill')));
    perform(killAll(kill.fd));
    remove(parent.fd, name);
  }
}
