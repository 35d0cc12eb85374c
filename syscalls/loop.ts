/** Loop devices: a part of a file as a block device. See loop(4); struct and numbers are those of linux/loop.h. */
import { allowing, type Call, call } from './call.ts';
import { AT, LOOP, O, S } from './constants.ts';
import { type OwnedFd, owned } from './fd.ts';
import { deviceNumber, readAll } from './file.ts';
import { mountFileSystem } from './file-system.ts';
import { perform, SyscallError, syscall } from './syscall.ts';

/** A part of a file, and how it is to be a device. */
export interface LoopOptions {
  /** Bytes from the start of the file. */
  offset: number;
  /** In bytes; 0 is all up to the end. */
  size: number;
  /** Bytes of a logical sector of the device. */
  sectorSize: number;
  readOnly: boolean;
  /** Past the page cache of the file, where the file's own file system can do that. */
  directIo: boolean;
}

/** A loop device. It goes when the last descriptor of it and the last mount are gone. */
export interface LoopDevice extends OwnedFd {
  /** N of /dev/loopN. */
  readonly number: number;
  /** A path that leads to it as long as it is open here. */
  readonly path: string;
}

/** struct loop_config: file, block size, struct loop_info64, reserved words. */
const CONFIG = { file: 0, blockSize: 4, offset: 8 + 24, sizeLimit: 8 + 32, flags: 8 + 52, size: 304 } as const;
/** LO_FLAGS_ of linux/loop.h */
const FLAGS = { READ_ONLY: 1, AUTOCLEAR: 4, DIRECT_IO: 16 } as const;
/** A device that the kernel calls free may have been taken by another process meanwhile, who then has what it needs. */
const MOST_TRIES = 1000;

/**
 * Makes a part of the file behind `file` a device. The device has the file open from then on, by the same description:
 * a lock on that lasts as long as the device. Throws SyscallError.
 */
export function attachLoop(file: number, options: LoopOptions): LoopDevice {
  using control = owned(perform(openDevice('/dev/loop-control', O.RDWR)));
  for (let tries = 1; ; tries++) {
    const number = syscall('ioctl', control.fd, LOOP.CTL_GET_FREE, 0);
    const device = openLoop(number, options);
    try {
      syscall('ioctl', device.fd, LOOP.CONFIGURE, loopConfig(file, options));
      return device;
    } catch (error) {
      device[Symbol.dispose]();
      if (!(error instanceof SyscallError) || error.code !== 'EBUSY' || tries === MOST_TRIES) throw error;
    }
  }
}

function loopConfig(file: number, { offset, size, sectorSize, readOnly, directIo }: LoopOptions): Uint8Array {
  const config = new DataView(new ArrayBuffer(CONFIG.size));
  config.setUint32(CONFIG.file, file, true);
  config.setUint32(CONFIG.blockSize, sectorSize, true);
  config.setBigUint64(CONFIG.offset, BigInt(offset), true);
  config.setBigUint64(CONFIG.sizeLimit, BigInt(size), true);
  const flags = FLAGS.AUTOCLEAR | (readOnly ? FLAGS.READ_ONLY : 0) | (directIo ? FLAGS.DIRECT_IO : 0);
  config.setUint32(CONFIG.flags, flags, true);
  return new Uint8Array(config.buffer);
}

const openDevice = (path: string, flags: number): Call => call('openat', AT.FDCWD, path, flags | O.CLOEXEC, 0);

/** Opens a loop device that is there. Throws SyscallError. */
export function openLoop(number: number, { readOnly }: { readOnly: boolean }): LoopDevice {
  const flags = readOnly ? O.RDONLY : O.RDWR;
  const path = `/dev/loop${number}`;
  const fd = perform(allowing(openDevice(path, flags), 'ENOENT'));
  return fd < 0 ? openUnnamedLoop(number, flags) : { ...owned(fd), number, path };
}

/** Where nobody makes nodes for new devices, as in most containers: one of our own, in a file system that only we see. */
function openUnnamedLoop(number: number, flags: number): LoopDevice {
  using made = new DisposableStack();
  const nodes = made.use(mountFileSystem('tmpfs', [{ key: 'source', value: 'tmpfs' }], 0));
  syscall('mknodat', nodes.fd, 'loop', S.IFBLK | 0o600, deviceNumberOf(number));
  const path = `/proc/self/fd/${nodes.fd}/loop`;
  const fd = made.use(owned(perform(openDevice(path, flags)))).fd;
  const all = made.move();
  return { fd, number, path, [Symbol.dispose]: () => all.dispose() };
}

/** As the kernel has it: where loop devices can have partitions, numbers have gaps. */
function deviceNumberOf(number: number): number {
  using file = owned(perform(openDevice(`/sys/block/loop${number}/dev`, O.RDONLY)));
  const [major = 0, minor = 0] = readAll(file.fd, 4096).toString().split(':').map(Number);
  return deviceNumber(major, minor);
}
