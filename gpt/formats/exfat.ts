import { hasBytes, le32, le64, u8, utf16 } from '../bytes.ts';
import { BOOT_SIGNATURE, BOOT_SIGNATURE_AT } from '../mbr.ts';
import { type ByteSource, readRange } from '../source.ts';
import type { Format } from '../superblock.ts';
import { serialNumber } from './fat.ts';
import { directoryPieces } from './fat-chain.ts';

/** Microsoft, exFAT file system specification: 3 (boot region), 7.3 (volume label). */
const BOOT_SECTORS = 11;
/** VolumeFlags and PercentInUse change without a new checksum: 3.4. */
const NOT_SUMMED = [106, 107, 112];
const ENTRY = 32;
const LABEL_ENTRY = 0x83;
const LABEL_LENGTH = 11;

export const EXFAT: Format = {
  length: 512,
  signatures: [{ superblock: 0, at: 3, bytes: ['EXFAT   '] }],
  async read(sector, source) {
    const sectorShift = u8(sector, 108);
    const clusterShift = sectorShift + u8(sector, 109);
    if (!hasBytes(sector, BOOT_SIGNATURE_AT, BOOT_SIGNATURE)) return undefined;
    if (sectorShift < 9 || sectorShift > 12 || clusterShift > 25) return undefined;
    if (!(await hasRightChecksum(source, 1 << sectorShift))) return undefined;
    return {
      type: 'exfat',
      label: await findLabel(sector, source, 1 << sectorShift, 1 << clusterShift),
      uuid: serialNumber(sector, 100),
      version: `${u8(sector, 105)}.${u8(sector, 104)}`,
      blockSize: 1 << clusterShift,
      sectorSize: 1 << sectorShift,
      size: le64(sector, 72) * 2 ** sectorShift,
    };
  },
};

/** 3.4: the sum of the boot sectors is in the one after them. */
async function hasRightChecksum(source: ByteSource, sectorSize: number): Promise<boolean> {
  const region = await readRange(source, 0, (BOOT_SECTORS + 1) * sectorSize);
  if (!region) return false;
  let sum = 0;
  for (let at = 0; at < BOOT_SECTORS * sectorSize; at++) {
    if (!NOT_SUMMED.includes(at)) sum = (((sum << 31) | (sum >>> 1)) + region[at]!) >>> 0;
  }
  return le32(region, BOOT_SECTORS * sectorSize) === sum;
}

async function findLabel(sector: Uint8Array, source: ByteSource, sectorSize: number, clusterSize: number) {
  const clusters = {
    heap: le32(sector, 88) * sectorSize,
    clusterSize,
    fat: le32(sector, 80) * sectorSize,
    mask: 0xffff_ffff,
  };
  for await (const piece of directoryPieces(source, clusters, le32(sector, 96))) {
    for (let at = 0; at < piece.length; at += ENTRY) {
      if (piece[at] === 0) return undefined;
      if (piece[at] === LABEL_ENTRY) return utf16(piece, at + 2, Math.min(u8(piece, at + 1), LABEL_LENGTH) * 2);
    }
  }
  return undefined;
}
