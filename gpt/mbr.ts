import { hasBytes, le32, u8 } from './bytes.ts';
import { DamagedTableError } from './error.ts';
import { EXTENDED, MBR_TYPES, PROTECTIVE } from './mbr-types.ts';
import { type ByteSource, readRange } from './source.ts';

/** A partition table of the kind that PCs had before GPT; fdisk calls it dos. */
export interface MbrTable {
  kind: 'mbr';
  /** The disk's signature: eight hexadecimal digits, which may all be zero. */
  id: string;
  sectorSize: number;
  partitions: MbrPartition[];
  /** What is wrong with it, a line each. */
  faults: string[];
}

/** One partition of an MBR. */
export interface MbrPartition {
  /** As in the names of device nodes: 1 to 4, and logical ones from 5 on. */
  number: number;
  /** Bytes from the start of the disk. */
  offset: number;
  /** In bytes. */
  size: number;
  type: number;
  /** The name of the type, if it has one here: `linux`, `esp`, … */
  typeName?: string;
  bootable: boolean;
  /** An extended partition holds nothing but the logical ones. */
  role: 'primary' | 'extended' | 'logical';
  /** What the kernel makes of the disk's signature and the number: `12345678-01`. */
  id: string;
}

/** The offsets are in UEFI 2.10, table 5.1 and 5.2. */
export const MBR_SIZE = 512;
export const DISK_ID = 440;
export const ENTRIES = 446;
export const MBR_ENTRY_SIZE = 16;
export const BOOT_SIGNATURE = '\x55\xaa';
export const BOOT_SIGNATURE_AT = 510;

/** Linux knows no more than this of one disk: DISK_MAX_PARTS, linux/blkdev.h. */
const MOST_PARTITIONS = 256;

/** An entry as it stands in an MBR or in a link of the chain of logical partitions. Sectors count from that place. */
export interface Entry {
  status: number;
  type: number;
  start: number;
  sectors: number;
}

export const hasBootSignature = (sector: Uint8Array): boolean => hasBytes(sector, BOOT_SIGNATURE_AT, BOOT_SIGNATURE);

/** The four entries, the unused ones too. */
export function decodeMbrEntries(sector: Uint8Array): Entry[] {
  return [0, 1, 2, 3].map(index => {
    const at = ENTRIES + index * MBR_ENTRY_SIZE;
    return {
      status: u8(sector, at),
      type: u8(sector, at + 4),
      start: le32(sector, at + 8),
      sectors: le32(sector, at + 12),
    };
  });
}

/** True if the first sector can be an MBR. Boot sectors of file systems have the signature, too, but code or text there. */
export function canBeMbr(sector: Uint8Array): boolean {
  return decodeMbrEntries(sector).every(({ status }) => status === 0 || status === 0x80);
}

/** The entry that protects a GPT, if there is one: from sector 1 on, as pmbr_part_valid() in linux/block/partitions/efi.c. */
export const protectiveEntry = (sector: Uint8Array): Entry | undefined =>
  decodeMbrEntries(sector).find(({ type, start }) => type === PROTECTIVE && start === 1);

/**
 * Reads the partitions of an MBR, which `sector` is, and the chains in its extended partitions.
 *
 * @throws DamagedTableError if a chain comes back to where it was, or does not end.
 */
export async function readMbr(source: ByteSource, sector: Uint8Array): Promise<MbrTable> {
  const sectorSize = source.sectorSize ?? 512;
  const partitions = primaryPartitions(sector, sectorSize);
  const table: MbrTable = { kind: 'mbr', id: diskIdOf(sector), sectorSize, partitions, faults: [] };
  for (const extended of partitions.filter(({ role }) => role === 'extended')) {
    await readChain(source, table, extended);
  }
  const outside = table.partitions.filter(({ offset, size }) => offset + size > source.size);
  table.faults.push(...outside.map(({ number }) => `partition ${number} reaches beyond the end of the disk`));
  return { ...table, partitions: table.partitions.filter(partition => !outside.includes(partition)) };
}

/** The partitions in the four entries of an MBR. */
export function primaryPartitions(sector: Uint8Array, sectorSize: number): MbrPartition[] {
  const id = diskIdOf(sector);
  return decodeMbrEntries(sector).flatMap((entry, index) => {
    const role = EXTENDED.includes(entry.type) ? 'extended' : 'primary';
    return isUsed(entry) ? [partitionOf(entry, index + 1, 0, sectorSize, role, id)] : [];
  });
}

const diskIdOf = (sector: Uint8Array): string => le32(sector, DISK_ID).toString(16).padStart(8, '0');

const isUsed = ({ type, sectors }: Entry): boolean => type !== 0 && sectors !== 0;

function partitionOf(
  entry: Entry,
  number: number,
  base: number,
  sectorSize: number,
  role: MbrPartition['role'],
  diskId: string,
): MbrPartition {
  const typeName = MBR_TYPES[entry.type];
  return {
    number,
    offset: (base + entry.start) * sectorSize,
    size: entry.sectors * sectorSize,
    type: entry.type,
    ...(typeName !== undefined && { typeName }),
    bootable: entry.status === 0x80,
    role,
    id: `${diskId}-${number.toString(16).padStart(2, '0')}`,
  };
}

/**
 * Adds the logical partitions. Each link of the chain is a sector like an MBR, with two entries: a partition, from this
 * sector on, and the next link, from the start of the extended partition on.
 */
async function readChain(source: ByteSource, table: MbrTable, extended: MbrPartition): Promise<void> {
  const { sectorSize } = table;
  const base = extended.offset / sectorSize;
  const seen = new Set<number>();
  for (let at = base; ; ) {
    if (seen.has(at)) refuse(`the logical partitions go round in a circle at sector ${at}`);
    seen.add(at);
    if (seen.size > MOST_PARTITIONS) refuse(`there are more than ${MOST_PARTITIONS} logical partitions`);
    const sector = await readRange(source, at * sectorSize, MBR_SIZE);
    if (!sector || !hasBootSignature(sector)) {
      table.faults.push(`the logical partitions break off: there is no link in sector ${at}`);
      return;
    }
    const entries = decodeMbrEntries(sector).filter(isUsed);
    const entry = entries.find(({ type }) => !EXTENDED.includes(type));
    if (entry) addLogical(table, extended, entry, at);
    const link = entries.find(({ type }) => EXTENDED.includes(type));
    if (!link) return;
    at = base + link.start;
  }
}

function addLogical(table: MbrTable, extended: MbrPartition, entry: Entry, at: number): void {
  const number = Math.max(4, ...table.partitions.map(partition => partition.number)) + 1;
  const partition = partitionOf(entry, number, at, table.sectorSize, 'logical', table.id);
  table.partitions.push(partition);
  if (partition.offset + partition.size > extended.offset + extended.size) {
    table.faults.push(`partition ${number} reaches beyond the extended partition ${extended.number}`);
  }
}

function refuse(why: string): never {
  throw new DamagedTableError(`reading the MBR: ${why}`);
}
