/** The caller's standard streams, read and written without leaving a mark on them. */
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { perform } from '../../syscalls/syscall.ts';
import { isMaster, isTerminal } from '../../syscalls/tty.ts';
import type { End } from '../streams/transfer.ts';

/** An end of a standard stream; disposing of it leaves the stream itself open. */
export interface StandardEnd extends End, Disposable {}

/**
 * Opens a terminal or pipe a second time, for `access` (O.RDONLY or O.WRONLY): O_NONBLOCK on the stream itself would
 * hold for all who share it, such as the shell, and outlive us. What can't be opened again (sockets, others'
 * terminals), and files, whose offset is to be shared, are used as they are.
 */
export function standardEnd(fd: number, access: number): StandardEnd {
  const copy = canReopen(fd) ? reopen(fd, access) : undefined;
  if (copy === undefined) return { fd, blocking: true, [Symbol.dispose]() {} };
  return { fd: copy, blocking: false, [Symbol.dispose]: () => closeFd(copy) };
}

/** The copy's number, or undefined where /proc is missing or permission is. */
function reopen(fd: number, access: number): number | undefined {
  const flags = access | O.NONBLOCK | O.NOCTTY | O.CLOEXEC;
  const copy = perform(allowing(call('openat', AT.FDCWD, `/proc/self/fd/${fd}`, flags, 0)));
  return copy < 0 ? undefined : copy;
}

/** Not so the master of a pseudo-terminal, which is a terminal, too: opening it again makes another pair. */
const canReopen = (fd: number): boolean => isPipe(fd) || (isTerminal(fd) && !isMaster(fd));

/** linux/fcntl.h: tells a pipe's size, and fails for all else. */
const F_GETPIPE_SZ = 1032;
const isPipe = (fd: number): boolean => perform(allowing(call('fcntl', fd, F_GETPIPE_SZ))) >= 0;
