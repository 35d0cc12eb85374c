import { hasBytes } from './bytes.ts';
import { AmbiguousError } from './error.ts';
import { FORMATS } from './formats/index.ts';
import { type ByteSource, readRange, withHead } from './source.ts';

/** Contents by their names: those of mount(8) for file systems, and for the others those that blkid(8) has given them. */
export const USAGES = {
  bcachefs: 'filesystem',
  btrfs: 'filesystem',
  erofs: 'filesystem',
  exfat: 'filesystem',
  ext2: 'filesystem',
  ext3: 'filesystem',
  ext4: 'filesystem',
  f2fs: 'filesystem',
  iso9660: 'filesystem',
  ntfs: 'filesystem',
  squashfs: 'filesystem',
  udf: 'filesystem',
  vfat: 'filesystem',
  xfs: 'filesystem',
  linux_raid_member: 'raid',
  LVM2_member: 'raid',
  zfs_member: 'raid',
  crypto_LUKS: 'crypto',
  DM_verity_hash: 'crypto',
  /** The journal of an ext3 or ext4 that is elsewhere. */
  jbd: 'other',
  swap: 'other',
  /** Swap that has the memory of a hibernated machine. */
  swsuspend: 'other',
} as const;

export type SuperblockType = keyof typeof USAGES;
export type Usage = (typeof USAGES)[SuperblockType];

/** What a superblock says of itself. What a format has no field for, or an empty one, is undefined. */
export interface Contents {
  type: SuperblockType;
  label?: string | undefined;
  /** In the form that blkid gives it: not all are UUIDs. */
  uuid?: string | undefined;
  /** Of this device, where the one above is of a group of them. */
  deviceUuid?: string | undefined;
  version?: string | undefined;
  /** Bytes of the unit that space is given out in. */
  blockSize?: number | undefined;
  /** Bytes of the smallest unit of access, where the format knows one of its own: a device's sectors may not be larger. */
  sectorSize?: number | undefined;
  /**
   * In bytes: all of a file system, on all of its devices; the data of a RAID member, of a physical volume or of what a
   * dm-verity tree vouches for.
   */
  size?: number | undefined;
}

export interface Superblock extends Contents {
  usage: Usage;
  /** Where it is. */
  offset: number;
}

/** A kind of superblock, found by bytes at a fixed place. */
export interface Format {
  /** Bytes of the superblock. */
  readonly length: number;
  readonly signatures: readonly Signature[];
  /**
   * Reads a superblock that has the signature; undefined if it is none after all: a wrong checksum, or fields that can't
   * be. Signatures can be short, and remain from what was there before.
   */
  read(superblock: Uint8Array, source: ByteSource, offset: number): Promised<Contents | undefined>;
}

export interface Signature {
  /** Where the superblock starts, in bytes; it may depend on the size of the whole. */
  readonly superblock: number | ((size: number) => number);
  /** Where in the superblock the bytes are. */
  readonly at: number;
  /** What can be there, in characters up to 0xff. */
  readonly bytes: readonly string[];
}

type Promised<T> = T | Promise<T>;

/** What is read at once: up to where Btrfs has its superblock, and that. Nearly all others are before it. */
const HEAD = 68 * 1024;

/**
 * Tells what a partition, a device or an image holds; undefined if nothing known. What wraps another goes before it: a
 * member of a RAID 1 looks like the file system in it, too.
 *
 * @throws AmbiguousError if there are signatures of two that exclude each other, as where one was made over the other.
 */
export async function readSuperblock(source: ByteSource): Promise<Superblock | undefined> {
  const found = await findSuperblocks(source);
  const outermost = Math.min(...found.map(rank));
  const candidates = found.filter(superblock => rank(superblock) === outermost);
  if (candidates.length < 2 || isBridge(candidates)) return candidates[0];
  const names = candidates.map(({ type, offset }) => `${type} (at byte ${offset})`).join(' and ');
  throw new AmbiguousError(`reading the superblock: there are signatures of ${names}`, candidates);
}

/** All superblocks that there are, at most one of each format. */
export async function findSuperblocks(source: ByteSource): Promise<Superblock[]> {
  const image = await withHead(source, HEAD);
  const found: Superblock[] = [];
  for (const format of FORMATS) {
    const superblock = await findFormat(image, format);
    if (superblock) found.push(superblock);
  }
  return found;
}

async function findFormat(source: ByteSource, format: Format): Promise<Superblock | undefined> {
  for (const { superblock, at, bytes } of format.signatures) {
    const offset = typeof superblock === 'number' ? superblock : superblock(source.size);
    const read = await readRange(source, offset, format.length);
    if (!read || !bytes.some(each => hasBytes(read, at, each))) continue;
    const contents = await format.read(read, source, offset);
    if (contents) return { ...contents, usage: USAGES[contents.type], offset };
  }
  return undefined;
}

/** Lower is further out. MD may have its superblock at the end, so that what is at the start belongs to what it holds. */
function rank({ type, usage }: Superblock): number {
  if (type === 'linux_raid_member') return 0;
  return usage === 'raid' || usage === 'crypto' ? 1 : 2;
}

/** Discs can be made to be read as either. UDF is the newer one, and the first to be tried. */
function isBridge(candidates: readonly Superblock[]): boolean {
  return candidates.every(({ type }) => type === 'udf' || type === 'iso9660');
}
