import { be16, be32, be64, isPowerOfTwo, le32, text, uuid } from '../bytes.ts';
import { crc32c, withZeros } from '../crc32.ts';
import { type ByteSource, readRange } from '../source.ts';
import type { Format } from '../superblock.ts';

/** struct xfs_dsb: linux/fs/xfs/libxfs/xfs_format.h. It is big-endian, but for its checksum. */
const CHECKSUM = 224;
/** The checksum is of the whole sector that the superblock is in: XFS_MIN_SECTORSIZE is 512, the most is 32 KiB. */
const SMALLEST_SECTOR = 512;
const LARGEST_SECTOR = 32768;
/** XFS_SB_VERSION_NUMBITS. */
const VERSION_BITS = 0xf;

export const XFS: Format = {
  length: SMALLEST_SECTOR,
  signatures: [{ superblock: 0, at: 0, bytes: ['XFSB'] }],
  async read(superblock, source) {
    const blockSize = be32(superblock, 4);
    const sectorSize = be16(superblock, 102);
    const version = be16(superblock, 100) & VERSION_BITS;
    if (!isPowerOfTwo(blockSize) || !isPowerOfTwo(sectorSize)) return undefined;
    if (sectorSize < SMALLEST_SECTOR || sectorSize > LARGEST_SECTOR) return undefined;
    if (version >= 5 && !(await hasRightChecksum(source, sectorSize))) return undefined;
    return {
      type: 'xfs',
      label: text(superblock, 108, 12),
      uuid: uuid(superblock, 32),
      version: String(version),
      blockSize,
      sectorSize,
      size: be64(superblock, 8) * blockSize,
    };
  },
};

async function hasRightChecksum(source: ByteSource, sectorSize: number): Promise<boolean> {
  const sector = await readRange(source, 0, sectorSize);
  return sector !== undefined && ~crc32c(withZeros(sector, CHECKSUM, 4)) >>> 0 === le32(sector, CHECKSUM);
}
