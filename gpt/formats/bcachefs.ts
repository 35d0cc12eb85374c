import { le16, le32, le64, text, u8, uuid } from '../bytes.ts';
import type { Contents, Format } from '../superblock.ts';

/** struct bch_sb: linux/fs/bcachefs/bcachefs_format.h. The first one is in sector 8 (BCH_SB_SECTOR). */
const SECTOR = 512;
const SUPERBLOCK_SECTOR = 8;
const FIELDS = 752;
/** Fields that list the devices: linux/fs/bcachefs/sb-members_format.h. A member of version 1 has 56 bytes. */
const MEMBERS_V1 = { type: 1, members: 8, size: 56 };
const MEMBERS_V2 = { type: 11, members: 16 };
/** BCHFS_MAGIC; and BCACHE_MAGIC, which it had before version 11. */
const MAGICS = [
  '\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef',
  '\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81',
];

export const BCACHEFS: Format = {
  length: 4096,
  signatures: [{ superblock: SUPERBLOCK_SECTOR * SECTOR, at: 24, bytes: MAGICS }],
  read(superblock) {
    const device = u8(superblock, 122);
    const devices = u8(superblock, 123);
    // bcache, which shares a magic number, has nothing there that says so.
    if (le64(superblock, 104) !== SUPERBLOCK_SECTOR || device >= devices) return undefined;
    return {
      type: 'bcachefs',
      label: text(superblock, 72, 32),
      uuid: uuid(superblock, 56),
      version: String(le16(superblock, 16)),
      blockSize: le16(superblock, 120) * SECTOR,
      ...readMembers(superblock, device, devices),
    };
  },
};

/** What is told of the devices. With very many of them this lies beyond the part of the superblock that we read. */
function readMembers(superblock: Uint8Array, device: number, devices: number): Pick<Contents, 'deviceUuid' | 'size'> {
  const end = Math.min(FIELDS + le32(superblock, 124) * 8, superblock.length);
  for (let at = FIELDS, length = 0; at + 8 <= end; at += length) {
    length = le32(superblock, at) * 8;
    const type = le32(superblock, at + 4);
    if (length === 0) break;
    const isV2 = type === MEMBERS_V2.type;
    if (!isV2 && type !== MEMBERS_V1.type) continue;
    const first = at + (isV2 ? MEMBERS_V2 : MEMBERS_V1).members;
    const memberSize = isV2 ? le16(superblock, at + 8) : MEMBERS_V1.size;
    if (first + devices * memberSize > end) continue;
    const members = Array.from({ length: devices }, (_, index) => first + index * memberSize);
    return {
      deviceUuid: uuid(superblock, members[device]!),
      size: sum(members.map(member => capacity(superblock, member))),
    };
  }
  return {};
}

/** Buckets times sectors in a bucket. */
const capacity = (superblock: Uint8Array, member: number): number =>
  le64(superblock, member + 16) * le16(superblock, member + 26) * SECTOR;

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);
