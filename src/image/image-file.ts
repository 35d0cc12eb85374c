/** A disk image as a file or block device of the host. */
import type { ByteSource } from '../../gpt/index.ts';
import { AT, BLK, O, S } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { fileType, typeName } from '../../syscalls/file.ts';
import { SyscallError, syscall } from '../../syscalls/syscall.ts';
import { hostStatus } from '../host.ts';

export interface ImageFile extends OwnedFd {
  readonly isDevice: boolean;
  /** What it holds, for as long as it is open. */
  readonly source: ByteSource;
}

/** Opens a disk image. A device that is to be written to must have no other use. Throws an Error. */
export function openImageFile(path: string, how: { write: boolean }): ImageFile {
  const status = hostStatus(path);
  if (!status) throw new Error('no such file');
  const type = fileType(status.mode);
  if (type !== S.IFREG && type !== S.IFBLK) {
    throw new Error(`it is ${typeName(status.mode)}, and an image is a regular file or a block device`);
  }
  const isDevice = type === S.IFBLK;
  // For a device, O_EXCL means that it is mounted nowhere and part of nothing: open(2).
  const file = openFile(path, how.write ? O.RDWR | (isDevice ? O.EXCL : 0) : O.RDONLY);
  return { ...file, isDevice, source: isDevice ? deviceSource(file.fd) : fileSource(file.fd, status.size) };
}

function openFile(path: string, flags: number): OwnedFd {
  try {
    return owned(syscall('openat', AT.FDCWD, path, flags | O.NONBLOCK | O.NOCTTY | O.CLOEXEC, 0));
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EBUSY') throw error;
    throw new Error('it is in use, mounted or otherwise', { cause: error });
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
