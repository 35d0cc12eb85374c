import { le16, le32, le64, utf16, uuid } from '../bytes.ts';
import { crc32From } from '../crc32.ts';
import type { Format } from '../superblock.ts';

/** struct f2fs_super_block: linux/include/linux/f2fs_fs.h. */
const MAGIC = 0xf2f5_2010;
const FEATURE_SB_CHKSUM = 0x0800;
const CHECKSUM = 3068;

export const F2FS: Format = {
  length: 3072,
  signatures: [{ superblock: 1024, at: 0, bytes: ['\x10\x20\xf5\xf2'] }],
  read(superblock) {
    const blockBits = le32(superblock, 16);
    if (blockBits < 12 || blockBits > 16 || !hasRightChecksum(superblock)) return undefined;
    return {
      type: 'f2fs',
      label: utf16(superblock, 124, 1024),
      uuid: uuid(superblock, 108),
      version: `${le16(superblock, 4)}.${le16(superblock, 6)}`,
      blockSize: 1 << blockBits,
      size: le64(superblock, 36) * 2 ** blockBits,
    };
  },
};

/** Starts from the magic number: f2fs_crc32(), linux/fs/f2fs/f2fs.h. */
function hasRightChecksum(superblock: Uint8Array): boolean {
  const hasChecksum = le32(superblock, 2180) & FEATURE_SB_CHKSUM && le32(superblock, 32) === CHECKSUM;
  return !hasChecksum || crc32From(MAGIC, superblock.subarray(0, CHECKSUM)) === le32(superblock, CHECKSUM);
}
