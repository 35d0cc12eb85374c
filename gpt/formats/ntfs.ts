import { hasBytes, isPowerOfTwo, le16, le32, le64, le64bits, u8, utf16 } from '../bytes.ts';
import { readRange } from '../source.ts';
import type { Format } from '../superblock.ts';

/** NTFS boot sector, file records and attributes: linux/fs/ntfs3/ntfs.h. */
const LARGEST_CLUSTER = 2 * 1024 * 1024;
/** The volume's own file, MFT_REC_VOL. */
const VOLUME_RECORD = 3;
const ATTRIBUTE_VOLUME_NAME = 0x60;
const ATTRIBUTE_VOLUME_INFORMATION = 0x70;
const ATTRIBUTES_END = 0xffff_ffff;
const RECORD_LIMIT = 64 * 1024;

export const NTFS: Format = {
  length: 512,
  signatures: [{ superblock: 0, at: 3, bytes: ['NTFS    '] }],
  async read(sector, source) {
    const sectorSize = le16(sector, 11);
    const clusterSize = sectorSize * unit(u8(sector, 13));
    if (!isPowerOfTwo(sectorSize) || sectorSize < 256 || sectorSize > 4096) return undefined;
    if (!isPowerOfTwo(clusterSize) || clusterSize > LARGEST_CLUSTER) return undefined;
    const recordSize = sizeOfRecord(u8(sector, 64), clusterSize);
    if (recordSize > RECORD_LIMIT) return undefined;
    const place = le64(sector, 48) * clusterSize + VOLUME_RECORD * recordSize;
    const record = await readRange(source, place, recordSize);
    if (!record || !hasBytes(record, 0, 'FILE')) return undefined;
    return {
      type: 'ntfs',
      ...decodeVolume(withFixups(record)),
      uuid: le64bits(sector, 72).toString(16).padStart(16, '0').toUpperCase(),
      blockSize: clusterSize,
      sectorSize,
      size: le64(sector, 40) * sectorSize,
    };
  },
};

/** Above 0x80, sizes are negative powers of two: Windows 10 has clusters of up to 2 MiB. */
const unit = (value: number): number => (value > 0x80 ? 2 ** (256 - value) : value);

/** In clusters, or (above 0x80) a negative power of two in bytes. */
const sizeOfRecord = (value: number, clusterSize: number): number =>
  value > 0x80 ? 2 ** (256 - value) : value * clusterSize;

/** The last two bytes of each 512 of a record are kept in its head, and a check value stands in their place. */
function withFixups(record: Uint8Array): Uint8Array {
  const fixed = record.slice();
  const array = le16(record, 4);
  for (let index = 1; index < le16(record, 6) && index * 512 <= record.length; index++) {
    fixed[index * 512 - 2] = u8(record, array + index * 2);
    fixed[index * 512 - 1] = u8(record, array + index * 2 + 1);
  }
  return fixed;
}

function decodeVolume(record: Uint8Array): { label?: string | undefined; version?: string } {
  let label: string | undefined;
  let version: string | undefined;
  for (let at = le16(record, 20); at < record.length; ) {
    const [type, length] = [le32(record, at), le32(record, at + 4)];
    if (type === ATTRIBUTES_END || length === 0) break;
    const value = at + le16(record, at + 20);
    if (type === ATTRIBUTE_VOLUME_NAME) label = utf16(record, value, le32(record, at + 16));
    if (type === ATTRIBUTE_VOLUME_INFORMATION) version = `${u8(record, value + 8)}.${u8(record, value + 9)}`;
    at += length;
  }
  return { label, ...(version !== undefined && { version }) };
}
