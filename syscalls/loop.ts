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
export interface LoopDevice extends Node {
  /** N of /dev/loopN. */
  readonly number: number;
}

/** struct loop_config: file, block size, struct loop_info64, reserved words. */
const CONFIG = { file: 0, blockSize: 4, offset: 8 + 24, sizeLimit: 8 + 32, flags: 8 + 52, size: 304 } as const;
/** LO_FLAGS_ of linux/loop.h */
const FLAGS = { READ_ONLY: 1, AUTOCLEAR: 4, DIRECT_IO: 16 } as const;
/** What it means that another process was faster: the device is in use, or no longer there. */
const TAKEN = ['EBUSY', 'ENXIO'];
/** Whoever was faster has what it needs: so this many are never in the way. */
const MOST_TRIES = 1000;

/**
 * Makes a part of the file behind `file` a device. The device has the file open from then on, by the same description:
 * a lock on that lasts as long as the device. Throws SyscallError, or an Error where there are no loop devices.
 */
export function attachLoop(file: number, options: LoopOptions): LoopDevice {
  using control = openNode('/dev/loop-control', CONTROL, O.RDWR);
  for (let tries = 1; ; tries++) {
    const number = syscall('ioctl', control.fd, LOOP.CTL_GET_FREE, 0);
    try {
      return configure(openLoop(number, options), file, options);
    } catch (error) {
      if (!(error instanceof SyscallError) || !TAKEN.includes(error.code) || tries === MOST_TRIES) throw error;
    }
  }
}

function configure(device: LoopDevice, file: number, options: LoopOptions): LoopDevice {
  using attaching = new DisposableStack();
  attaching.use(device);
  syscall('ioctl', device.fd, LOOP.CONFIGURE, loopConfig(file, options));
  attaching.move();
  return device;
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

/** Opens a loop device that is there. Throws as attachLoop does. */
export function openLoop(number: number, { readOnly }: { readOnly: boolean }): LoopDevice {
  const node = () => ({ type: S.IFBLK, device: deviceNumberOf(number) });
  return { ...openNode(`/dev/loop${number}`, node, readOnly ? O.RDONLY : O.RDWR), number };
}

interface Node extends OwnedFd {
  /** A path that leads to it as long as it is open. */
  readonly path: string;
}

/** linux/major.h MISC_MAJOR, linux/miscdevice.h LOOP_CTRL_MINOR */
const CONTROL = () => ({ type: S.IFCHR, device: deviceNumber(10, 237) });

/**
 * Opens a device. Where its node is missing, for nobody makes them as in most containers, by one of our own, in a file
 * system that nobody else sees.
 */
function openNode(path: string, node: () => { type: number; device: number }, flags: number): Node {
  const found = perform(allowing(openDevice(path, flags), 'ENOENT'));
  if (found >= 0) return { ...owned(found), path };
  using made = new DisposableStack();
  const nodes = made.use(mountFileSystem('tmpfs', [{ key: 'source', value: 'tmpfs' }], 0));
  const { type, device } = node();
  syscall('mknodat', nodes.fd, 'node', type | 0o600, device);
  const own = `/proc/self/fd/${nodes.fd}/node`;
  const { fd } = made.use(owned(openOwn(path, own, flags)));
  const all = made.move();
  return { fd, path: own, [Symbol.dispose]: () => all.dispose() };
}

/** Its path would tell nobody anything. */
function openOwn(path: string, own: string, flags: number): number {
  try {
    return perform(openDevice(own, flags));
  } catch (error) {
    throw new Error(`${path} is missing, and a node of our own is of no use: ${(error as SyscallError).text}`, {
      cause: error,
    });
  }
}

const openDevice = (path: string, flags: number): Call => call('openat', AT.FDCWD, path, flags | O.CLOEXEC, 0);

/** As the kernel has it: where loop devices can have partitions, numbers have gaps. */
function deviceNumberOf(number: number): number {
  using file = owned(perform(openDevice(`/sys/block/loop${number}/dev`, O.RDONLY)));
  const [major = 0, minor = 0] = readAll(file.fd, 4096).toString().split(':').map(Number);
  return deviceNumber(major, minor);
}
