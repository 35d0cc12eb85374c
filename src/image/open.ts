/** Disk images in use: the lock, the loop devices, the file systems. */
import { setTimeout } from 'node:timers/promises';
import type { OwnedFd } from '../../syscalls/fd.ts';
import { mountFileSystem } from '../../syscalls/file-system.ts';
import { attachLoop, openLoop } from '../../syscalls/loop.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import { hostHas, readIfThere } from '../host.ts';
import type { Logger } from '../log.ts';
import type { FileSystem, Plan } from '../plan/steps.ts';
import { openLocked } from './open-locked.ts';

/** Disposing of it closes what this process has open of it. What is mounted stays so, and locked. */
export interface OpenImage extends Disposable {
  /**
   * A detached mount of one of its file systems; again, another mount of the same. The loop device goes with the last
   * mount, however this process ends. Throws an Error.
   */
  mount(fileSystem: FileSystem): OwnedFd;
  /** The pidfd of a process in the user namespace that may see what is mounted, where not everybody may. */
  namespaceOf?: number;
  /** Resolves when the kernel has let go of all that was mounted. */
  released(log: Logger): Promise<void>;
}

/** A loop device of ours. */
interface Device {
  number: number;
  readOnly: boolean;
  /** Changes when the kernel gives the device to something else; undefined before Linux 5.15. */
  sequence: string | undefined;
}

/**
 * Opens the image of a plan, and locks it as long as anything of it is mounted: it is what the loop devices have open
 * that has the lock. Throws an Error.
 */
export async function openImage(plan: Plan): Promise<OpenImage> {
  const { directory: path } = plan;
  using opening = new DisposableStack();
  const file = opening.use(await openLocked(plan));
  const close = opening.move();

  const devices = new Map<number, Device>();
  const mountFirst = (wanted: FileSystem): OwnedFd => {
    using loop = attachLoop(file.fd, {
      ...wanted,
      // Images that are only read are likely to be read again: they had better stay in the page cache.
      directIo: !wanted.readOnly,
    });
    devices.set(wanted.offset, { number: loop.number, readOnly: wanted.readOnly, sequence: sequenceOf(loop.number) });
    return mountDevice(loop.path, wanted, wanted.readOnly);
  };
  return {
    mount(wanted) {
      const device = devices.get(wanted.offset);
      if (!device) return mountFirst(wanted);
      using loop = openLoop(device.number, { readOnly: true });
      return mountDevice(loop.path, wanted, device.readOnly);
    },
    async released(log) {
      const end = performance.now() + LONGEST_WAIT_MS;
      for (const device of devices.values()) await whenReleased(device, end, path, log);
    },
    [Symbol.dispose]: () => close.dispose(),
  };
}

function mountDevice(source: string, { type, attributes, options }: FileSystem, readOnly: boolean): OwnedFd {
  const own = [{ key: 'source', value: source }, ...(readOnly ? [{ key: 'ro' }] : []), ...options];
  try {
    return mountFileSystem(type, own, attributes);
  } catch (error) {
    const { cause, message } = error as Error;
    if (type !== 'btrfs' || !(cause instanceof SyscallError) || cause.code !== 'EEXIST') throw error;
    throw new Error(`${message}; Linux mounts two Btrfs with the same UUID, as of a copy, only from 6.7 on`, { cause });
  }
}

const SYSFS = '/sys/block/loop';

function sequenceOf(number: number): string | undefined {
  try {
    return readIfThere(`${SYSFS}${number}/diskseq`)?.toString();
  } catch (error) {
    // Somebody has removed the device altogether, between our opening the file and reading it.
    if (error instanceof SyscallError && error.code === 'ENODEV') return undefined;
    throw error;
  }
}

/** How long the kernel is given; what is to be written to the image is written before the container has ended. */
const LONGEST_WAIT_MS = 10_000;
const LONGEST_PAUSE_MS = 50;

/**
 * Waits until a device is free again, or is somebody else's. It can't be asked for: who has it open holds it. A mount
 * that was copied from the container, or a file that a process of the host has open, holds it as well.
 */
async function whenReleased({ number, sequence }: Device, end: number, path: string, log: Logger): Promise<void> {
  const isOurs = () => hostHas(`${SYSFS}${number}/loop`) && sequenceOf(number) === sequence;
  for (let pause = 1; isOurs(); pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    if (performance.now() > end) {
      log.warn(`the image ${path} is still in use: something outside of the container holds /dev/loop${number}`);
      return;
    }
    await setTimeout(pause);
  }
}
