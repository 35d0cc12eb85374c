import { le16, le32, text, u8, uuid } from '../bytes.ts';
import { crc32c } from '../crc32.ts';
import type { Contents, Format } from '../superblock.ts';

/** struct ext4_super_block and its feature bits: linux/fs/ext4/ext4.h. */
const COMPAT_HAS_JOURNAL = 0x4;
const INCOMPAT_FILETYPE = 0x2;
const INCOMPAT_RECOVER = 0x4;
const INCOMPAT_JOURNAL_DEV = 0x8;
const INCOMPAT_META_BG = 0x10;
const INCOMPAT_64BIT = 0x80;
const RO_COMPAT_SPARSE_SUPER = 0x1;
const RO_COMPAT_LARGE_FILE = 0x2;
const RO_COMPAT_BTREE_DIR = 0x4;
const RO_COMPAT_METADATA_CSUM = 0x400;
const CHECKSUM = 0x3fc;

/** What ext2 and ext3 can have at most: EXT3_FEATURE_INCOMPAT_SUPP and EXT3_FEATURE_RO_COMPAT_SUPP, ext4.h. */
const EXT3_INCOMPAT = INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_META_BG;
const EXT3_RO_COMPAT = RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE | RO_COMPAT_BTREE_DIR;

/** ext2, ext3, ext4, and the external journal of the latter two. */
export const EXT: Format = {
  length: 1024,
  signatures: [{ superblock: 1024, at: 56, bytes: ['\x53\xef'] }],
  read(superblock) {
    const logBlockSize = le32(superblock, 24);
    if (logBlockSize > 6 || !hasRightChecksum(superblock)) return undefined;
    const blockSize = 1024 << logBlockSize;
    const has64Bits = le32(superblock, 96) & INCOMPAT_64BIT;
    const blocks = le32(superblock, 4) + (has64Bits ? le32(superblock, 0x150) * 2 ** 32 : 0);
    return {
      type: typeOf(superblock),
      label: text(superblock, 120, 16),
      uuid: uuid(superblock, 104),
      version: `${le32(superblock, 76)}.${le16(superblock, 62)}`,
      blockSize,
      size: blocks * blockSize,
    };
  },
};

function typeOf(superblock: Uint8Array): Contents['type'] {
  const [compat, incompat, roCompat] = [le32(superblock, 92), le32(superblock, 96), le32(superblock, 100)];
  if (incompat & INCOMPAT_JOURNAL_DEV) return 'jbd';
  if (incompat & ~EXT3_INCOMPAT || roCompat & ~EXT3_RO_COMPAT) return 'ext4';
  return compat & COMPAT_HAS_JOURNAL ? 'ext3' : 'ext2';
}

/** The checksum is CRC-32C (its only type, 1) of all that is before it. */
function hasRightChecksum(superblock: Uint8Array): boolean {
  const hasChecksum = le32(superblock, 100) & RO_COMPAT_METADATA_CSUM && u8(superblock, 0x175) === 1;
  return !hasChecksum || crc32c(superblock.subarray(0, CHECKSUM)) === le32(superblock, CHECKSUM);
}
