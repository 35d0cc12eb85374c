import { isPowerOfTwo, le32, le64, uuid } from '../bytes.ts';
import type { Format } from '../superblock.ts';

/** The superblock of veritysetup(8): cryptsetup, lib/verity/verity.c, struct verity_sb. */
export const VERITY: Format = {
  length: 512,
  signatures: [{ superblock: 0, at: 0, bytes: ['verity\0\0'] }],
  read(superblock) {
    const version = le32(superblock, 8);
    const blockSize = le32(superblock, 64);
    if (version !== 1 || !isPowerOfTwo(blockSize)) return undefined;
    return {
      type: 'DM_verity_hash',
      uuid: uuid(superblock, 16),
      version: String(version),
      blockSize,
      size: le64(superblock, 72) * blockSize,
    };
  },
};
