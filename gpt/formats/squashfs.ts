import { isPowerOfTwo, le16, le32, le64 } from '../bytes.ts';
import type { Format } from '../superblock.ts';

/** struct squashfs_super_block: linux/fs/squashfs/squashfs_fs.h. Versions before 4 are not mounted any more. */
const LARGEST_BLOCK = 1024 * 1024;

export const SQUASHFS: Format = {
  length: 96,
  signatures: [{ superblock: 0, at: 0, bytes: ['hsqs'] }],
  read(superblock) {
    const blockSize = le32(superblock, 12);
    const major = le16(superblock, 28);
    if (major < 4 || !isPowerOfTwo(blockSize) || blockSize > LARGEST_BLOCK) return undefined;
    return { type: 'squashfs', version: `${major}.${le16(superblock, 30)}`, blockSize, size: le64(superblock, 40) };
  },
};
