/** From what would be mounted where to the host objects and steps of a plan. */
import type { SuperblockType } from '../../gpt/index.ts';
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import type { MountOption } from '../../syscalls/mount.ts';
import type { VolatileMode } from '../options.ts';
import { parseMountOptions } from '../plan/mount-options.ts';
import { overlayInMemory } from '../plan/root.ts';
import { type HostObject, must, type PlanPart, ROOT, type Step } from '../plan/steps.ts';
import type { Disk } from './disk.ts';
import type { Mount } from './dissect.ts';

export interface DissectedImage {
  path: string;
  isDevice: boolean;
  disk: Disk;
  mounts: readonly Mount[];
}

/** What the root of an image needs of the host, and the steps that mount all of it. */
export function imageMounts(
  image: DissectedImage,
  { isUnchanged, volatile }: { isUnchanged: boolean; volatile: VolatileMode },
): PlanPart {
  const object = (mount: Mount) => fileSystem(image, mount, isUnchanged);
  const root = image.mounts.find(({ mountPoint }) => mountPoint === '/');
  const usr = image.mounts.find(({ mountPoint }) => mountPoint === '/usr');
  const others = image.mounts.filter(mount => mount !== root);
  const part = root ? rootOf(object(root), usr ? 'elsewhere' : 'in root', volatile) : emptyRoot();
  for (const mount of others) {
    const key = `partition ${mount.number}`;
    part.hostObjects[key] = object(mount);
    part.steps.push(mountStep(key, mount, image.mounts));
  }
  return part;
}

const SCRATCH: HostObject = { kind: 'scratch', readOnly: false };

/** Of a system in /usr, the rest is empty. */
const emptyRoot = (): PlanPart => ({ hostObjects: { [ROOT]: SCRATCH }, before: [], steps: [] });

function rootOf(root: HostObject, usr: 'in root' | 'elsewhere', volatile: VolatileMode): PlanPart {
  switch (volatile) {
    case 'no':
    case 'state':
      return { hostObjects: { [ROOT]: root }, before: [], steps: [] };
    case 'yes':
      if (usr === 'elsewhere') return emptyRoot();
      return {
        hostObjects: {
          [ROOT]: SCRATCH,
          'image root': root,
          'volatile /usr': { kind: 'tree', path: '/usr', inRoot: true, recursive: false, readOnly: true },
        },
        before: [must({ do: 'take', object: 'volatile /usr', from: 'image root' })],
        steps: [must({ do: 'bind', object: 'volatile /usr', path: '/usr' })],
      };
    case 'overlay':
      // An overlay has its layers' nodes, and not that they are useless there.
      return { ...overlayInMemory(root), steps: [must({ do: 'forbid devices', path: '/' })] };
  }
}

function mountStep(object: string, { mountPoint, fallback }: Mount, mounts: readonly Mount[]): Step {
  // What has a partition of its own is no place for another.
  const isFree = fallback !== undefined && !mounts.some(mount => mount.mountPoint === fallback);
  return must({ do: 'mount partition', object, path: mountPoint, ...(isFree && { fallback }) });
}

function fileSystem(image: DissectedImage, mount: Mount, isUnchanged: boolean): HostObject {
  const { number, designator, offset, size, fileSystem: type } = mount;
  const readOnly = isUnchanged || mount.readOnly;
  const { set, options } = parseMountOptions(mount.options.join(','));
  // Free space is given back to a file. What is good for a disk, its owner knows.
  const discards = !readOnly && !image.isDevice && CAN_DISCARD.includes(type);
  return {
    kind: 'file system',
    name:
      number === undefined
        ? `the ${type} of ${image.path}`
        : `partition ${number} (${designator}, ${type}) of ${image.path}`,
    type,
    offset,
    // A file system without a table may have been made larger than what it says of itself.
    size: number === undefined ? 0 : size,
    sectorSize: sectorSize(image, mount),
    readOnly,
    attributes: set | (readOnly ? MOUNT_ATTR.RDONLY : 0),
    options: [...options, ...ownOptions(type, readOnly), ...(discards ? [{ key: 'discard' }] : [])],
  };
}

/** The smallest sector that there is. */
const SECTOR = 512;

/** That of the disk, if the file system can be on one that has such sectors: it may have been made in a file of its own. */
function sectorSize({ disk }: DissectedImage, { number }: Mount): number {
  const partition = disk.partitions.find(({ entry }) => entry.number === number);
  if (!partition || !disk.table) return SECTOR;
  const { sectorSize: smallest, blockSize } = partition.content.superblock ?? {};
  return (smallest ?? blockSize ?? SECTOR) < disk.table.sectorSize ? SECTOR : disk.table.sectorSize;
}

const CAN_DISCARD: readonly SuperblockType[] = ['btrfs', 'ext4', 'f2fs', 'vfat', 'xfs'];

/** What file systems are told always, and when they are not to be written to. */
const OWN_OPTIONS: Partial<Record<SuperblockType, { always?: string; readOnly?: string }>> = {
  // A read-only mount replays the journal, which writes; from a device that can't be written to it fails.
  ext3: { readOnly: 'noload' },
  ext4: { readOnly: 'noload' },
  // A copy of an image that is in use shall be usable, too.
  xfs: { always: 'nouuid', readOnly: 'norecovery' },
  btrfs: { readOnly: 'rescue=nologreplay' },
  f2fs: { readOnly: 'norecovery' },
};

function ownOptions(type: SuperblockType, readOnly: boolean): MountOption[] {
  const { always = '', readOnly: unchanged = '' } = OWN_OPTIONS[type] ?? {};
  return parseMountOptions(readOnly ? `${always},${unchanged}` : always).options;
}
