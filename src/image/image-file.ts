/** A disk image as a file or block device of the host. */
import type { ByteSource } from '../../gpt/index.ts';
import { AT, BLK, O, S } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { fileType, typeName } from '../../syscalls/file.ts';
import { SyscallError, syscall } from '../../syscalls/syscall.ts';
import { hostStatus } from '../host.ts';

export interface ImageFile extends OwnedFd {
  readonly isDevice: boolean;
  /** False if it was not to be written to, or can't be. */
  readonly isWritable: boolean;
  /** What it holds, for as long as it is open. */
  readonly source: ByteSource;
}

/** Errors of an open for writing that mean: reading may still be fine. */
const NOT_WRITABLE = ['EACCES', 'EPERM', 'EROFS', 'ETXTBSY'];

/**
 * Opens a disk image; where it can't be written to, for reading only. A device that is to be written to must have no
 * other use. Throws an Error that says what is wrong.
 */
export function openImageFile(path: string, how: { write: boolean }): ImageFile {
  const status = hostStatus(path);
  if (!status) throw new Error('no such file');
  const type = fileType(status.mode);
  if (type !== S.IFREG && type !== S.IFBLK) {
    throw new Error(`it is ${typeName(status.mode)}, and an image is a regular file or a block device`);
  }
  const isDevice = type === S.IFBLK;
  const { file, isWritable } = openFile(path, isDevice, how.write);
  return { ...file, isDevice, isWritable, source: isDevice ? deviceSource(file.fd) : fileSource(file.fd, status.size) };
}

function openFile(path: string, isDevice: boolean, write: boolean): { file: OwnedFd; isWritable: boolean } {
  const open = (flags: number) =>
    owned(syscall('openat', AT.FDCWD, path, flags | O.NONBLOCK | O.NOCTTY | O.CLOEXEC, 0));
  if (!write) return { file: open(O.RDONLY), isWritable: false };
  try {
    // For a device, O_EXCL means that it is mounted nowhere: open(2).
    return { file: open(O.RDWR | (isDevice ? O.EXCL : 0)), isWritable: true };
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.code === 'EBUSY') throw new Error('it is in use, mounted or otherwise', { cause: error });
    if (!NOT_WRITABLE.includes(error.code)) throw error;
    return { file: open(O.RDONLY), isWritable: false };
  }
}

function fileSource(fd: number, size: number): ByteSource {
  return {
    size,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      let count = 0;
      while (count < length) {
        const more = syscall('pread64', fd, { out: bytes.subarray(count) }, length - count, offset + count);
        if (more === 0) break;
        count += more;
      }
      return bytes.subarray(0, count);
    },
  };
}

function deviceSource(fd: number): ByteSource {
  const size = new BigUint64Array(1);
  const sectorSize = new Uint32Array(1);
  syscall('ioctl', fd, BLK.GETSIZE64, { out: new Uint8Array(size.buffer) });
  syscall('ioctl', fd, BLK.SSZGET, { out: new Uint8Array(sectorSize.buffer) });
  return { ...fileSource(fd, Number(size[0])), sectorSize: sectorSize[0]! };
}
