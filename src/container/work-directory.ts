/**
 * The working directory that the kernel wants beside an overlay's writable layer: it is on the host, where nothing
 * goes by itself. See Documentation/filesystems/overlayfs.rst.
 */
import { entrust } from '../../syscalls/agent/janitor.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, FSCONFIG, FSOPEN_CLOEXEC, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { killAndWait } from '../../syscalls/process.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { attempt } from '../execute/attempt.ts';
import type { Logger } from '../log.ts';
import type { UpperLayer } from '../plan/steps.ts';

/** What the kernel makes in it: for what it is about to put into the layer, and for hard links. */
const CONTENTS = ['work', 'index'];

/**
 * Makes the working directory of a layer in `parent`, which it takes over. Disposing of it removes it: the container
 * must have ended then. If this process is killed, the janitor removes it once the process behind `pidfd` has ended.
 * Throws an Error.
 */
export async function makeWorkDirectory(
  parent: OwnedFd,
  { directory, work }: UpperLayer,
  pidfd: number,
  log: Logger,
): Promise<Disposable> {
  using made = new DisposableStack();
  made.use(parent);
  const { readdirSync } = await import('node:fs');
  // First of all, and so withdrawn last of all.
  made.use(
    entrust([pidfd, parent.fd], ([container, at]) => [...killAndWait(container!), ...removal(at!, directory, work)]),
  );
  attempt(`making the working directory ${work} of an overlay`, () => syscall('mkdirat', parent.fd, work, 0o700));
  made.defer(() => {
    try {
      remove(parent.fd, work, fd => readdirSync(`/proc/self/fd/${fd}`));
    } catch (error) {
      log.warn(`removing the working directory ${work} of an overlay: ${(error as Error).message}`);
    }
  });
  return made.move();
}

/** Nobody who could write to the parent directory shall lead us elsewhere by a symlink. */
const open = (at: number, name: string, flags: number): Call =>
  call('openat', at, name, flags | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC, 0);
const removeDirectory = (at: number, name: string): Call => call('unlinkat', at, name, AT.REMOVEDIR);

function remove(parent: number, name: string, list: (fd: number) => string[]): void {
  using directory = owned(perform(open(parent, name, O.PATH)));
  for (const content of CONTENTS) {
    // The kernel gives it no permissions, which who is not root has to have.
    perform(allowing(call('fchmodat', directory.fd, content, 0o700), 'ENOENT'));
    const fd = perform(allowing(open(directory.fd, content, O.RDONLY), 'ENOENT'));
    if (fd < 0) continue;
    using opened = owned(fd);
    for (const left of list(opened.fd)) {
      const removed = perform(allowing(call('unlinkat', opened.fd, left, 0), 'EISDIR'));
      if (removed < 0) perform(removeDirectory(opened.fd, left));
    }
    perform(removeDirectory(directory.fd, content));
  }
  perform(removeDirectory(parent, name));
}

/**
 * How the janitor does the same. It can't list a directory, but the kernel empties the one that it is given when it
 * makes another overlay. Descriptors have numbers of their own in there, since the kernel takes the directories as
 * strings.
 */
function removal(parent: number, upper: string, work: string): Call[] {
  const context = call('fsopen', 'overlay', FSOPEN_CLOEXEC);
  const set = (key: string, value: string) => call('fsconfig', resultOf(context), FSCONFIG.SET_STRING, key, value, 0);
  return [
    ...openAs(UPPER_FD, parent, upper),
    ...openAs(WORK_FD, parent, work),
    context,
    set('lowerdir', '/dev'),
    set('upperdir', `/proc/self/fd/${UPPER_FD}`),
    set('workdir', `/proc/self/fd/${WORK_FD}`),
    call('fsconfig', resultOf(context), FSCONFIG.CMD_CREATE, null, null, 0),
    ...CONTENTS.map(content => removeDirectory(WORK_FD, content)),
    removeDirectory(parent, work),
  ];
}
const UPPER_FD = 900;
const WORK_FD = 901;

function openAs(fd: number, parent: number, name: string): Call[] {
  const opened = open(parent, name, O.PATH);
  return [opened, call('dup3', resultOf(opened), fd, 0)];
}
