import { le32, text, u8, uuid } from '../bytes.ts';
import { crc32c, withZeros } from '../crc32.ts';
import { type ByteSource, readRange } from '../source.ts';
import type { Format } from '../superblock.ts';

/** struct erofs_super_block: linux/fs/erofs/erofs_fs.h. */
const OFFSET = 1024;
const FEATURE_COMPAT_SB_CHKSUM = 0x1;

export const EROFS: Format = {
  length: 128,
  signatures: [{ superblock: OFFSET, at: 0, bytes: ['\xe2\xe1\xf5\xe0'] }],
  async read(superblock, source) {
    const blockBits = u8(superblock, 12);
    if (blockBits < 9 || blockBits > 16) return undefined;
    const blockSize = 1 << blockBits;
    const hasChecksum = le32(superblock, 8) & FEATURE_COMPAT_SB_CHKSUM;
    if (hasChecksum && !(await hasRightChecksum(source, blockSize))) return undefined;
    return {
      type: 'erofs',
      label: text(superblock, 64, 16),
      uuid: uuid(superblock, 48),
      blockSize,
      size: le32(superblock, 36) * blockSize,
    };
  },
};

/** It is of the rest of the block that the superblock is in: linux/fs/erofs/super.c, erofs_superblock_csum_verify(). */
async function hasRightChecksum(source: ByteSource, blockSize: number): Promise<boolean> {
  const length = blockSize > OFFSET ? blockSize - OFFSET : blockSize;
  const bytes = await readRange(source, OFFSET, length);
  return bytes !== undefined && crc32c(withZeros(bytes, 4, 4)) === le32(bytes, 4);
}
