/** One tree, one writer: a lock on the tree itself, which the kernel takes back however its holder ends. */
import { call } from '../../syscalls/call.ts';
import { AT, LOCK, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { perform, SyscallError, syscall } from '../../syscalls/syscall.ts';

/** Locks a directory tree, as flock(2) does. Throws an Error when someone else has it. */
export function lockTree(directory: string, kind: 'shared' | 'exclusive'): OwnedFd {
  const opened = owned(syscall('openat', AT.FDCWD, directory, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));
  try {
    lock(opened.fd, kind, directory, 'tree');
    return opened;
  } catch (error) {
    opened[Symbol.dispose]();
    throw error;
  }
}

/** Another container has what one was to be started on. */
export class LockedError extends Error {}

/** Locks what a container's root is in. Throws LockedError when someone else has it. */
export function lock(fd: number, kind: 'shared' | 'exclusive', path: string, what: 'tree' | 'image'): void {
  try {
    perform(call('flock', fd, (kind === 'shared' ? LOCK.SH : LOCK.EX) | LOCK.NB));
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EAGAIN') throw error;
    throw new LockedError(`starting a container on ${path}: another container is running on this ${what}`);
  }
}
