import { attributesOf, type Flag } from './attributes.ts';
import { isPowerOfTwo } from './bytes.ts';
import { crc32 } from './crc32.ts';
import { InvalidDescriptionError } from './error.ts';
import {
  ENTRIES_LIMIT,
  ENTRY,
  ENTRY_SIZE,
  HEADER,
  HEADER_SIZE,
  NAME_SIZE,
  REVISION,
  SECTOR_SIZES,
  SIGNATURE,
} from './gpt-header.ts';
import { isGuid, randomGuid, writeGuid } from './guid.ts';
import { BOOT_SIGNATURE, BOOT_SIGNATURE_AT, ENTRIES, MBR_SIZE } from './mbr.ts';
import { PROTECTIVE } from './mbr-types.ts';
import { partitionType } from './partition-types.ts';

/** What a GPT is made from. */
export interface GptDescription {
  /** Of the whole disk, in bytes; a multiple of the sector size. */
  size: number;
  /** 512 if not given. */
  sectorSize?: number;
  /** The disk's GUID; a random one if not given. */
  id?: string;
  /** In the order of their numbers. */
  partitions: readonly PartitionDescription[];
  /** Where partitions without an offset start, in bytes: at multiples of it. 1 MiB if not given. */
  alignment?: number;
  /** How many entries there is room for; 128, or as many as there are partitions, if not given. */
  entryCount?: number;
  /** Bytes of an entry: 128 (if not given), 256, 512, … Many tools know 128 only. */
  entrySize?: number;
}

export interface PartitionDescription {
  /** A GUID, or a name that partitionType() knows. */
  type: string;
  /** The partition's own GUID; a random one if not given. */
  id?: string;
  /** Up to 36 UTF-16 units. */
  name?: string;
  /** Bytes from the start of the disk; after the partition described before it, if not given. */
  offset?: number;
  /** In bytes; up to the end of the usable part of the disk, if not given. */
  size?: number;
  /** All 64 bits, or the names of those to set. */
  attributes?: bigint | readonly Flag[];
}

/** Bytes and the place on the disk where they belong. */
export interface Chunk {
  offset: number;
  bytes: Uint8Array;
}

/** Sizes and places, worked out; in sectors but for the sizes of a sector and of an entry. */
interface Layout {
  sectorSize: number;
  sectors: number;
  entryCount: number;
  entrySize: number;
  entriesSectors: number;
  firstUsable: number;
  lastUsable: number;
}

interface Place {
  first: number;
  last: number;
}

/**
 * Makes the GPT of a disk: what to write at its start (protective MBR, header, entries) and at its end (entries,
 * header). Nothing else of the disk changes.
 *
 * @throws InvalidDescriptionError if the partitions do not fit, overlap, or are misnamed.
 */
export function encodeGpt(description: GptDescription): Chunk[] {
  const layout = layoutOf(description);
  const { sectorSize, sectors, entriesSectors } = layout;
  const entries = encodeEntries(description, layout);
  const diskId = description.id ?? randomGuid();

  const start = new Uint8Array((2 + entriesSectors) * sectorSize);
  start.set(encodeProtectiveMbr(sectors), 0);
  start.set(encodeHeader(layout, diskId, entries, 1, sectors - 1, 2), sectorSize);
  start.set(entries, 2 * sectorSize);

  const end = new Uint8Array((entriesSectors + 1) * sectorSize);
  const endSector = sectors - 1 - entriesSectors;
  end.set(entries, 0);
  end.set(encodeHeader(layout, diskId, entries, sectors - 1, 1, endSector), entriesSectors * sectorSize);

  return [
    { offset: 0, bytes: start },
    { offset: endSector * sectorSize, bytes: end },
  ];
}

function layoutOf({ size, sectorSize = 512, entrySize = ENTRY_SIZE, ...rest }: GptDescription): Layout {
  const entryCount = rest.entryCount ?? Math.max(128, rest.partitions.length);
  const sectors = size / sectorSize;
  // UEFI 2.10, 5.3.1: at least 16 KiB are kept for the entries.
  const entriesSectors = Math.ceil(Math.max(entryCount * entrySize, 16384) / sectorSize);
  const firstUsable = 2 + entriesSectors;
  const lastUsable = sectors - 2 - entriesSectors;
  if (!SECTOR_SIZES.includes(sectorSize)) fail(`a sector of ${sectorSize} bytes can't be`);
  if (!Number.isSafeInteger(sectors)) fail(`a size of ${size} bytes is not a whole number of sectors of ${sectorSize}`);
  if (entrySize < ENTRY_SIZE || !isPowerOfTwo(entrySize)) fail(`an entry of ${entrySize} bytes can't be`);
  if (!(entryCount >= rest.partitions.length && entryCount * entrySize <= ENTRIES_LIMIT)) {
    fail(`${entryCount} entries are too few or too many for ${rest.partitions.length} partitions`);
  }
  if (lastUsable < firstUsable) fail(`${size} bytes are too few for a GPT`);
  return { sectorSize, sectors, entryCount, entrySize, entriesSectors, firstUsable, lastUsable };
}

/** UEFI 2.10, table 5.4: one entry from sector 1 on, as large as 32 bits can tell, with the largest CHS address. */
function encodeProtectiveMbr(sectors: number): Uint8Array {
  const mbr = new Uint8Array(MBR_SIZE);
  mbr.set([0, 0x00, 0x02, 0x00, PROTECTIVE, 0xff, 0xff, 0xff], ENTRIES);
  const view = new DataView(mbr.buffer);
  view.setUint32(ENTRIES + 8, 1, true);
  view.setUint32(ENTRIES + 12, Math.min(sectors - 1, 0xffff_ffff), true);
  mbr.set(latin1(BOOT_SIGNATURE), BOOT_SIGNATURE_AT);
  return mbr;
}

function encodeHeader(
  layout: Layout,
  diskId: string,
  entries: Uint8Array,
  sector: number,
  otherSector: number,
  entriesSector: number,
): Uint8Array {
  const header = new Uint8Array(HEADER_SIZE);
  const view = new DataView(header.buffer);
  header.set(latin1(SIGNATURE), 0);
  view.setUint32(HEADER.revision, REVISION, true);
  view.setUint32(HEADER.headerSize, HEADER_SIZE, true);
  view.setBigUint64(HEADER.sector, BigInt(sector), true);
  view.setBigUint64(HEADER.otherSector, BigInt(otherSector), true);
  view.setBigUint64(HEADER.firstUsableSector, BigInt(layout.firstUsable), true);
  view.setBigUint64(HEADER.lastUsableSector, BigInt(layout.lastUsable), true);
  writeGuid(header, HEADER.diskId, diskId);
  view.setBigUint64(HEADER.entriesSector, BigInt(entriesSector), true);
  view.setUint32(HEADER.entryCount, layout.entryCount, true);
  view.setUint32(HEADER.entrySize, layout.entrySize, true);
  view.setUint32(HEADER.entriesCrc, crc32(entries), true);
  view.setUint32(HEADER.headerCrc, crc32(header), true);
  return header;
}

function encodeEntries({ partitions, alignment = 1024 * 1024 }: GptDescription, layout: Layout): Uint8Array {
  const entries = new Uint8Array(layout.entryCount * layout.entrySize);
  const places: Place[] = [];
  for (const [index, partition] of partitions.entries()) {
    const place = placeOf(partition, places.at(-1), alignment / layout.sectorSize, layout, index + 1);
    const overlapped = places.findIndex(({ first, last }) => first <= place.last && place.first <= last);
    if (overlapped >= 0) fail(`partition ${index + 1} overlaps partition ${overlapped + 1}`);
    places.push(place);
    entries.set(encodeEntry(partition, place), index * layout.entrySize);
  }
  return entries;
}

function placeOf(
  { offset, size }: PartitionDescription,
  before: Place | undefined,
  alignment: number,
  { sectorSize, firstUsable, lastUsable }: Layout,
  number: number,
): Place {
  const free = before ? before.last + 1 : firstUsable;
  const first = offset === undefined ? Math.ceil(free / alignment) * alignment : offset / sectorSize;
  const last = size === undefined ? lastUsable : first + size / sectorSize - 1;
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last)) {
    fail(`partition ${number} does not start and end between sectors of ${sectorSize} bytes`);
  }
  if (first >= firstUsable && first <= last && last <= lastUsable) return { first, last };
  return fail(`partition ${number}, in sectors ${first} to ${last}, is not within ${firstUsable} to ${lastUsable}`);
}

function encodeEntry(
  { type, id, name = '', attributes = 0n }: PartitionDescription,
  { first, last }: Place,
): Uint8Array {
  const entry = new Uint8Array(ENTRY_SIZE);
  const view = new DataView(entry.buffer);
  const guid = partitionType(type)?.guid ?? type;
  if (!isGuid(guid)) fail(`"${type}" is neither a partition type nor a GUID`);
  if (name.length > NAME_SIZE / 2) fail(`the name "${name}" is longer than ${NAME_SIZE / 2} characters`);
  writeGuid(entry, ENTRY.type, guid);
  writeGuid(entry, ENTRY.id, id ?? randomGuid());
  view.setBigUint64(ENTRY.firstSector, BigInt(first), true);
  view.setBigUint64(ENTRY.lastSector, BigInt(last), true);
  view.setBigUint64(ENTRY.attributes, typeof attributes === 'bigint' ? attributes : attributesOf(attributes), true);
  for (let i = 0; i < name.length; i++) view.setUint16(ENTRY.name + 2 * i, name.charCodeAt(i), true);
  return entry;
}

const latin1 = (text: string): number[] => Array.from(text, character => character.charCodeAt(0));

function fail(why: string): never {
  throw new InvalidDescriptionError(`making a GPT: ${why}`);
}
