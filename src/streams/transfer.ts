/** Reading and writing descriptors in pieces, never waiting inside a call. */
import { allowing, call } from '../../syscalls/call.ts';
import { F, O } from '../../syscalls/constants.ts';
import { isReady, untilWritable } from '../../syscalls/readiness.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';

/** A descriptor to read from or to write to. */
export interface End {
  readonly fd: number;
  /**
   * True where O_NONBLOCK must not be set, since the open file is shared with others: then poll(2) is asked before each
   * read and write.
   */
  readonly blocking: boolean;
}

/** asm-generic/errno.h */
const EAGAIN = 11;
/** What a pipe takes without blocking once poll(2) says it is writable: PIPE_BUF of linux/limits.h. */
const SAFE_WRITE = 4096;

/** Makes `fd` non-blocking. That holds for all who share its open file, so there must be no one else. */
export function nonBlocking(fd: number): End {
  const flags = syscall('fcntl', fd, F.GETFL);
  if ((flags & O.NONBLOCK) === 0) syscall('fcntl', fd, F.SETFL, flags | O.NONBLOCK);
  return { fd, blocking: false };
}

/**
 * Reads what is there, up to the buffer's size: the number of bytes, 0 at the end (a terminal that hung up and a
 * connection that was reset are at their end), or undefined when there is nothing now. Throws SyscallError.
 */
export function readSome({ fd, blocking }: End, buffer: Uint8Array): number | undefined {
  let size = 0;
  while (size < buffer.length) {
    // A terminal gives no more than a few KB at a time.
    if (blocking && !isReady('readable', fd)) return size || undefined;
    const rest = buffer.subarray(size);
    const result = perform(allowing(call('read', fd, { out: rest }, rest.length), 'EAGAIN', 'EIO', 'ECONNRESET'));
    if (result === -EAGAIN) return size || undefined;
    if (result <= 0) return size;
    size += result;
  }
  return size;
}

/** Writes as much as is taken now: the number of bytes, or undefined for none. Throws SyscallError. */
export function writeSome({ fd, blocking }: End, bytes: Uint8Array): number | undefined {
  if (blocking && !isReady('writable', fd)) return undefined;
  const piece = blocking ? bytes.subarray(0, SAFE_WRITE) : bytes;
  const result = perform(allowing(call('write', fd, piece, piece.length), 'EAGAIN'));
  return result > 0 ? result : undefined;
}

/**
 * Writes all bytes, waiting for room as often as it takes. Once `isOver` is true the descriptor is no longer touched: its
 * number may be another's by then. Throws SyscallError.
 */
export async function writeAll(end: End, bytes: Uint8Array, isOver: () => boolean): Promise<void> {
  let rest = bytes;
  while (rest.length > 0 && !isOver()) {
    const size = writeSome(end, rest);
    if (size === undefined) await untilWritable(end.fd);
    else rest = rest.subarray(size);
  }
}
