import { AmbiguousError, DamagedTableError } from './error.ts';
import { decodeHeader, type GptHeader, isHeader, SECTOR_SIZES, verifyChecksum } from './gpt-header.ts';
import { decodeEntries, type GptPartition } from './gpt-partition.ts';
import { type MbrPartition, primaryPartitions } from './mbr.ts';
import { PROTECTIVE } from './mbr-types.ts';
import { type ByteSource, readRange } from './source.ts';

/** A GUID Partition Table. */
export interface GptTable {
  kind: 'gpt';
  /** The disk's GUID, in lower case. */
  id: string;
  sectorSize: number;
  /** Which of the two copies was read: the backup only if the primary is damaged, and `faults` tell in which way. */
  copy: 'primary' | 'backup';
  firstUsableSector: number;
  lastUsableSector: number;
  /** How many entries there is room for. */
  entryCount: number;
  entrySize: number;
  partitions: GptPartition[];
  /** What is wrong with what was read, a line each. The other copy is not looked at without need: see checkGpt. */
  faults: string[];
  /** The MBR in front of it: one entry to protect the disk from old tools, or also partitions for them to see. */
  mbr: 'protective' | 'hybrid';
  /** The partitions that a hybrid MBR shows. */
  hybridPartitions: MbrPartition[];
}

/** One of the two copies, of which both checksums are right. */
export interface GptCopy {
  sectorSize: number;
  header: GptHeader;
  entries: Uint8Array;
}

/** What became of reading a copy. */
export interface Attempt {
  sectorSize: number;
  copy?: GptCopy;
  /** Without a copy: why. */
  fault?: string;
  /** Where the other copy is, when as much is known. */
  otherSector?: number;
}

/**
 * Reads the GPT of a disk; `mbr` is its first 512 bytes.
 *
 * @throws DamagedTableError if neither copy is whole; AmbiguousError if there are two for sectors of unlike sizes.
 */
export async function readGpt(source: ByteSource, mbr: Uint8Array): Promise<GptTable> {
  const primary = await findPrimary(source);
  if (primary.copy) return tableOf(source, mbr, primary.copy, 'primary', []);
  const backup = await findBackup(source, primary);
  const faults = [`primary copy: ${primary.fault}`];
  if (backup.copy) return tableOf(source, mbr, backup.copy, 'backup', faults);
  throw new DamagedTableError(`reading the GPT: ${[...faults, `backup copy: ${backup.fault}`].join('; ')}`);
}

/** Reads the header in sector 1 and its entries, whatever size sectors have. */
export async function findPrimary(source: ByteSource): Promise<Attempt> {
  const attempts: Attempt[] = [];
  for (const sectorSize of SECTOR_SIZES) attempts.push(await readCopy(source, sectorSize, 1));
  return theOne(attempts, 'primary');
}

/** Reads the copy at the end of the disk, or where the primary says that it is. */
export async function findBackup(source: ByteSource, primary: Attempt): Promise<Attempt> {
  const attempts: Attempt[] = [];
  if (primary.otherSector !== undefined) {
    attempts.push(await readCopy(source, primary.sectorSize, primary.otherSector));
    if (attempts[0]!.copy) return attempts[0]!;
  }
  for (const sectorSize of SECTOR_SIZES) {
    const last = Math.floor(source.size / sectorSize) - 1;
    if (last > 1) attempts.push(await readCopy(source, sectorSize, last));
  }
  return theOne(attempts, 'backup');
}

/** The attempt that succeeded, else one that found a damaged header, else any. */
function theOne(attempts: Attempt[], which: string): Attempt {
  const found = attempts.filter(attempt => attempt.copy);
  if (found.length > 1) {
    const sizes = found.map(attempt => attempt.sectorSize).join(' and of ');
    throw new AmbiguousError(`reading the GPT: there are two, a ${which} copy for sectors of ${sizes} bytes`);
  }
  const none = { sectorSize: 512, fault: 'the disk is too small' };
  return found[0] ?? attempts.find(attempt => attempt.fault !== NO_HEADER) ?? attempts[0] ?? none;
}

const NO_HEADER = 'there is no header';

async function readCopy(source: ByteSource, sectorSize: number, sector: number): Promise<Attempt> {
  const bytes = await readRange(source, sector * sectorSize, sectorSize);
  if (!bytes || !isHeader(bytes)) return { sectorSize, fault: NO_HEADER };
  let otherSector: number | undefined;
  try {
    const header = decodeHeader(bytes, sector);
    otherSector = header.otherSector;
    const entries = await readEntries(source, header, sectorSize);
    return { sectorSize, otherSector, copy: { sectorSize, header, entries } };
  } catch (error) {
    if (!(error instanceof DamagedTableError)) throw error;
    return { sectorSize, fault: error.message, ...(otherSector !== undefined && { otherSector }) };
  }
}

async function readEntries(source: ByteSource, header: GptHeader, sectorSize: number): Promise<Uint8Array> {
  const length = header.entryCount * header.entrySize;
  const entries = await readRange(source, header.entriesSector * sectorSize, length);
  if (!entries) throw new DamagedTableError(`its entries, in sector ${header.entriesSector}, are not within the disk`);
  verifyChecksum('entries', entries, header.entriesCrc);
  return entries;
}

function tableOf(
  source: ByteSource,
  mbr: Uint8Array,
  { header, entries, sectorSize }: GptCopy,
  copy: 'primary' | 'backup',
  faults: string[],
): GptTable {
  const decoded = decodeEntries(entries, header, sectorSize, source.size);
  const hybridPartitions = primaryPartitions(mbr, sectorSize).filter(({ type }) => type !== PROTECTIVE);
  const lastSector = Math.floor(source.size / sectorSize) - 1;
  const cutShort = `the disk ends in sector ${lastSector}, it is cut short: ${header.lastUsableSector} should be usable`;
  return {
    kind: 'gpt',
    id: header.diskId,
    sectorSize,
    copy,
    firstUsableSector: header.firstUsableSector,
    lastUsableSector: header.lastUsableSector,
    entryCount: header.entryCount,
    entrySize: header.entrySize,
    partitions: decoded.partitions,
    faults: [...faults, ...(header.lastUsableSector > lastSector ? [cutShort] : []), ...decoded.faults],
    mbr: hybridPartitions.length > 0 ? 'hybrid' : 'protective',
    hybridPartitions,
  };
}
