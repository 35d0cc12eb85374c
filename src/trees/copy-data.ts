/** The content of regular files: shared where the file system can, else copied with its holes, all in the kernel. */
import { allowing, call } from '../../syscalls/call.ts';
import { AT, FICLONE, O, SEEK } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { perform } from '../../syscalls/syscall.ts';
import { byDescriptor } from './attributes.ts';

/** What files can't do here, once one of them has shown it. */
export interface Ability {
  reflink: boolean;
  copyRange: boolean;
}

/** So many bytes at a time: between them others get their turn. */
const CHUNK = 16 << 20;
const ENXIO = 6;
/** Errors that mean: not on this file system, or not between these two. */
const CANNOT = ['ENOTSUP', 'EXDEV', 'EINVAL', 'ENOTTY', 'ENOSYS', 'EPERM'];

/** Opens for reading what has proved to be a regular file; the link names this very inode. Throws SyscallError. */
export function openRegular(path: number): OwnedFd {
  return owned(perform(call('openat', AT.FDCWD, byDescriptor(path), READ_FLAGS, 0)));
}
export const READ_FLAGS = O.RDONLY | O.NONBLOCK | O.NOATIME | O.CLOEXEC;

/**
 * Gives the empty file behind `to` the content of the one behind `from`, of `size` bytes. Yields now and then, with the
 * bytes copied since. Throws SyscallError.
 */
export function* copyData(from: number, to: number, size: number, can: Ability): Generator<number> {
  if (size === 0) return;
  if (can.reflink) {
    if (perform(allowing(call('ioctl', to, FICLONE, from), ...CANNOT, 'ETXTBSY')) >= 0) {
      yield size;
      return;
    }
    can.reflink = false;
  }
  let end = 0;
  for (let at = 0; at < size; at = end) {
    const data = perform(allowing(call('lseek', from, at, SEEK.DATA), 'ENXIO', 'EINVAL'));
    // Behind the last data; or a file system that knows no holes.
    if (data === -ENXIO) break;
    at = Math.max(data, at);
    end = data < 0 ? size : perform(call('lseek', from, at, SEEK.HOLE));
    for (const fd of [from, to]) perform(call('lseek', fd, at, SEEK.SET));
    for (let left = end - at; left > 0; ) {
      const copied = copyRange(from, to, Math.min(left, CHUNK), can);
      // It has become shorter meanwhile.
      if (copied === 0) return;
      left -= copied;
      yield copied;
    }
  }
  // A hole at the end.
  if (end < size) perform(call('ftruncate', to, size));
}

function copyRange(from: number, to: number, length: number, can: Ability): number {
  if (can.copyRange) {
    const copied = perform(allowing(call('copy_file_range', from, null, to, null, length, 0), ...CANNOT));
    if (copied >= 0) return copied;
    can.copyRange = false;
  }
  return perform(call('sendfile', to, from, null, length));
}
