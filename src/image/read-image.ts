/** Reads a disk image of the host, for a plan. */
import process from 'node:process';
import { allowing, call } from '../../syscalls/call.ts';
import { AT, BLK, W_OK } from '../../syscalls/constants.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import type { ContainerOptions } from '../options.ts';
import type { PlanPart } from '../plan/steps.ts';
import { type Disk, readDisk } from './disk.ts';
import { dissect, type Mount } from './dissect.ts';
import { thisHost } from './host.ts';
import { type ImageFile, openImageFile } from './image-file.ts';
import { imageMounts } from './mounts.ts';

/** What a plan has to know of an image. */
export interface Image {
  /** Canonical path of the file or block device. */
  path: string;
  /** Whether nothing of it can be written to. */
  isReadOnly: boolean;
  /** What --personality= is to be unless it is given. */
  personality?: string | undefined;
  /** A line for each partition that is not mounted, and why. */
  notMounted: string[];
  /** What is wrong with it, although it can be used. */
  warning?: string;
  /** The host objects and steps that make it a container's root. */
  rootMounts(options: Pick<ContainerOptions, 'readOnly' | 'volatile' | 'ephemeral'>): PlanPart;
}

/** Reads what an image holds; changes nothing. Throws an Error if it can't be read, or is refused. */
export async function readImage(path: string): Promise<Image> {
  try {
    using file = openImageFile(path, { write: false });
    const disk = await readDisk(file.source);
    const { refusal, mounts: all, notMounted: others, personality } = dissect(disk, thisHost());
    if (refusal) throw new Error(refusal);
    const leftOut =
      process.geteuid!() === 0 ? [] : all.filter(isOfFirmware).map(each => ({ ...each, reason: WHY_LEFT_OUT }));
    const mounts = all.filter(({ number }) => !leftOut.some(each => each.number === number));
    const notMounted = [...others, ...leftOut];
    const canWrite = isWritable(file, path);
    const fault = damage(disk);
    const dissected = { path, isDevice: file.isDevice, disk, mounts };
    return {
      path,
      isReadOnly: !canWrite || mounts.every(({ readOnly }) => readOnly),
      personality,
      ...(fault !== undefined && { warning: `the image ${path}: ${fault}` }),
      notMounted: notMounted.map(({ number, reason }) => `partition ${number}: ${reason}`),
      rootMounts: ({ readOnly = false, volatile = 'no', ephemeral = false }) =>
        // Whatever the volatile mode is, nothing on disk changes: systemd-nspawn(1), --volatile=.
        imageMounts(dissected, { isUnchanged: readOnly || volatile !== 'no' || ephemeral || !canWrite, volatile }),
    };
  } catch (error) {
    throw new Error(`reading the image ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Why its backup was read instead of the partition table, which is to be repaired before that is damaged, too. */
function damage({ table }: Disk): string | undefined {
  if (table?.kind !== 'gpt' || table.copy === 'primary') return undefined;
  return `the backup copy of its partition table was read: ${table.faults[0]}`;
}

/** What firmware boots from: the one file system that everybody's images have and no FUSE program knows. */
const isOfFirmware = ({ designator, fileSystem }: Mount): boolean =>
  (designator === 'esp' || designator === 'xbootldr') && fileSystem === 'vfat';
const WHY_LEFT_OUT = 'mounting vfat takes root, and containers need nothing of a boot partition';

/** Whether this user could write to it: not on a read-only file system or device, nor if it is marked as immutable. */
function isWritable({ fd, isDevice }: ImageFile, path: string): boolean {
  const readOnly = new Uint32Array(1);
  if (isDevice) syscall('ioctl', fd, BLK.ROGET, { out: new Uint8Array(readOnly.buffer) });
  const access = perform(allowing(call('faccessat', AT.FDCWD, path, W_OK), 'EROFS', 'EPERM', 'EACCES'));
  return readOnly[0] === 0 && access === 0;
}
