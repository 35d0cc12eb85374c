import { hasBytes, le32, le64 } from './bytes.ts';
import { crc32, withZeros } from './crc32.ts';
import { DamagedTableError } from './error.ts';
import { readGuid } from './guid.ts';

/** UEFI 2.10, 5.3.2. */
export const SIGNATURE = 'EFI PART';
export const REVISION = 0x0001_0000;
export const HEADER_SIZE = 92;
/** Where the fields of the header are: UEFI 2.10, table 5.5. */
export const HEADER = {
  revision: 8,
  headerSize: 12,
  headerCrc: 16,
  sector: 24,
  otherSector: 32,
  firstUsableSector: 40,
  lastUsableSector: 48,
  diskId: 56,
  entriesSector: 72,
  entryCount: 80,
  entrySize: 84,
  entriesCrc: 88,
} as const;

/** Where the fields of an entry are: UEFI 2.10, table 5.6. An entry can be longer, and has nothing there then. */
export const ENTRY = { type: 0, id: 16, firstSector: 32, lastSector: 40, attributes: 48, name: 56 } as const;
export const ENTRY_SIZE = 128;
/** Bytes of the name, in UTF-16. */
export const NAME_SIZE = 72;

/** Sizes of a logical sector that disks and disc drives have. */
export const SECTOR_SIZES = [512, 1024, 2048, 4096];

/**
 * The most bytes that the entries may have. UEFI sets no limit; this one is for 32768 partitions, and is there so that
 * an invented number of entries can't make us read and hold gigabytes.
 */
export const ENTRIES_LIMIT = 4 * 1024 * 1024;

/** A header as it stands on disk. Sectors are counted from the start of the disk. */
export interface GptHeader {
  sector: number;
  /** Where the other copy of the header is. */
  otherSector: number;
  firstUsableSector: number;
  lastUsableSector: number;
  diskId: string;
  entriesSector: number;
  entryCount: number;
  entrySize: number;
  entriesCrc: number;
}

export const isHeader = (bytes: Uint8Array): boolean => hasBytes(bytes, 0, SIGNATURE);

/**
 * Reads the header in `bytes`, which are the whole sector of that number and begin with the signature.
 *
 * @throws DamagedTableError if it has a wrong checksum, or says what can't be.
 */
export function decodeHeader(bytes: Uint8Array, sector: number): GptHeader {
  const headerSize = le32(bytes, HEADER.headerSize);
  if (headerSize < HEADER_SIZE || headerSize > bytes.length) {
    throw new DamagedTableError(
      `the header says it has ${headerSize} bytes, where ${HEADER_SIZE} to ${bytes.length} can be`,
    );
  }
  verifyChecksum(
    'header',
    withZeros(bytes.subarray(0, headerSize), HEADER.headerCrc, 4),
    le32(bytes, HEADER.headerCrc),
  );
  const header: GptHeader = {
    sector: le64(bytes, HEADER.sector),
    otherSector: le64(bytes, HEADER.otherSector),
    firstUsableSector: le64(bytes, HEADER.firstUsableSector),
    lastUsableSector: le64(bytes, HEADER.lastUsableSector),
    diskId: readGuid(bytes, HEADER.diskId),
    entriesSector: le64(bytes, HEADER.entriesSector),
    entryCount: le32(bytes, HEADER.entryCount),
    entrySize: le32(bytes, HEADER.entrySize),
    entriesCrc: le32(bytes, HEADER.entriesCrc),
  };
  verifyFields(header, sector);
  return header;
}

/** @throws DamagedTableError if the bytes have another checksum. */
export function verifyChecksum(what: string, bytes: Uint8Array, expected: number): void {
  const actual = crc32(bytes);
  if (actual === expected) return;
  const [is, should] = [actual, expected].map(crc => crc.toString(16).padStart(8, '0'));
  throw new DamagedTableError(`the checksum of the ${what} is ${is}, it should be ${should}`);
}

function verifyFields(header: GptHeader, sector: number): void {
  const { entryCount, entrySize } = header;
  if (header.sector !== sector) {
    throw new DamagedTableError(`the header says it is in sector ${header.sector}, it is in ${sector}`);
  }
  if (entrySize < ENTRY_SIZE || entrySize % 8 !== 0) {
    throw new DamagedTableError(`an entry of ${entrySize} bytes can't be: they have 128, 256, 512, …`);
  }
  if (entryCount * entrySize > ENTRIES_LIMIT) {
    throw new DamagedTableError(
      `${entryCount} entries of ${entrySize} bytes are more than the ${ENTRIES_LIMIT} bytes allowed`,
    );
  }
}
