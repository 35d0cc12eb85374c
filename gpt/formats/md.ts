import { be32, dashed, le32, le64, text, uuid } from '../bytes.ts';
import { AmbiguousError, DamagedTableError } from '../error.ts';
import { readPartitionTable } from '../partition-table.ts';
import type { ByteSource } from '../source.ts';
import type { Contents, Format } from '../superblock.ts';

/** MD_SB_MAGIC, 0xa92b4efc, in either byte order: linux/uapi/linux/raid/md_p.h, also for the structures. */
const LITTLE = '\xfc\x4e\x2b\xa9';
const BIG = '\xa9\x2b\x4e\xfc';
/** MD_RESERVED_BYTES: version 0.90 is in the last but one whole 64 KiB of the device, or the last. */
const RESERVED = 64 * 1024;
const reserved = (size: number): number => Math.floor(size / RESERVED) * RESERVED - RESERVED;
/** Version 1.0 is at least 8 KiB before the end, at a multiple of 4 KiB: super_1_load(), linux/drivers/md/md.c. */
const nearEnd = (size: number): number => Math.floor(size / 4096) * 4096 - 8192;

/** A member of a software RAID of Linux. */
export const MD: Format = {
  length: 4096,
  signatures: [
    { superblock: reserved, at: 0, bytes: [LITTLE, BIG] },
    { superblock: nearEnd, at: 0, bytes: [LITTLE] },
    { superblock: 0, at: 0, bytes: [LITTLE] },
    { superblock: 4096, at: 0, bytes: [LITTLE] },
  ],
  read(superblock, source, offset) {
    return le32(superblock, 4) === 1 ? readVersion1(superblock, offset) : readVersion0(superblock, source, offset);
  },
};

/** struct mdp_superblock_1. It tells where it is. */
function readVersion1(superblock: Uint8Array, offset: number): Contents | undefined {
  if (le64(superblock, 144) * 512 !== offset || !hasRightChecksum(superblock)) return undefined;
  return {
    type: 'linux_raid_member',
    label: text(superblock, 32, 32),
    uuid: uuid(superblock, 16),
    deviceUuid: uuid(superblock, 168),
    version: offset === 0 ? '1.1' : offset === 4096 ? '1.2' : '1.0',
    size: le64(superblock, 80) * 512,
  };
}

/** calc_sb_1_csum(), linux/drivers/md/md.c: 32-bit words, and a 16-bit one if one is left, added with carries. */
function hasRightChecksum(superblock: Uint8Array): boolean {
  const length = 256 + le32(superblock, 220) * 2;
  if (length > superblock.length) return false;
  const stored = le32(superblock, 216);
  let sum = -stored;
  for (let at = 0; at + 4 <= length; at += 4) sum += le32(superblock, at);
  if (length % 4 === 2) sum += le32(superblock, length - 2) & 0xffff;
  return (sum + Math.floor(sum / 2 ** 32)) % 2 ** 32 === stored;
}

/** struct mdp_superblock_s, of version 0.90, in the byte order of the machine that made it. */
async function readVersion0(superblock: Uint8Array, source: ByteSource, offset: number): Promise<Contents | undefined> {
  const u32 = le32(superblock, 0) === 0xa92b_4efc ? le32 : be32;
  const size = u32(superblock, 32) * 1024;
  if (u32(superblock, 4) !== 0 || offset < size || (await isInPartition(source, offset))) return undefined;
  const words = [20, 52, 56, 60].map(at => u32(superblock, at).toString(16).padStart(8, '0'));
  return {
    type: 'linux_raid_member',
    uuid: dashed(words.join('')),
    version: [4, 8, 12].map(at => u32(superblock, at)).join('.'),
    size,
  };
}

/** Version 0.90 does not tell where it is: at the end of a disk it may be that of the last partition. */
async function isInPartition(source: ByteSource, at: number): Promise<boolean> {
  try {
    const table = await readPartitionTable(source);
    return table?.partitions.some(({ offset, size }) => at >= offset && at < offset + size) ?? false;
  } catch (error) {
    // Such a table has no partitions to go by.
    if (error instanceof DamagedTableError || error instanceof AmbiguousError) return false;
    throw error;
  }
}
