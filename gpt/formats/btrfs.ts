import { le16, le32, le64, text, uuid } from '../bytes.ts';
import { crc32c } from '../crc32.ts';
import type { Format } from '../superblock.ts';

/** struct btrfs_super_block: linux/uapi/linux/btrfs_tree.h. */
const CHECKSUM_LENGTH = 32;
/** BTRFS_CSUM_TYPE_CRC32. The others (xxHash, SHA-256, BLAKE2) are not verified here. */
const CRC32C = 0;
const OFFSET = 64 * 1024;

export const BTRFS: Format = {
  length: 4096,
  signatures: [{ superblock: OFFSET, at: 64, bytes: ['_BHRfS_M'] }],
  read(superblock) {
    // The copies at 64 MiB and 256 GiB tell their own place; a copy of one here is not ours.
    if (le64(superblock, 48) !== OFFSET || !hasRightChecksum(superblock)) return undefined;
    return {
      type: 'btrfs',
      label: text(superblock, 299, 256),
      uuid: uuid(superblock, 32),
      deviceUuid: uuid(superblock, 267),
      blockSize: le32(superblock, 144),
      size: le64(superblock, 112),
    };
  },
};

function hasRightChecksum(superblock: Uint8Array): boolean {
  if (le16(superblock, 196) !== CRC32C) return true;
  return ~crc32c(superblock.subarray(CHECKSUM_LENGTH)) >>> 0 === le32(superblock, 0);
}
