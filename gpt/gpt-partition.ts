import { type Flag, flagsOf } from './attributes.ts';
import { le64, le64bits, utf16 } from './bytes.ts';
import type { Architecture, Designator } from './discoverable-types.ts';
import { ENTRY, type GptHeader, NAME_SIZE } from './gpt-header.ts';
import { readGuid } from './guid.ts';
import { partitionType } from './partition-types.ts';

/** One partition of a GPT. */
export interface GptPartition {
  /** As in the names of device nodes: from 1, with gaps where entries are unused. */
  number: number;
  /** Bytes from the start of the disk. */
  offset: number;
  /** In bytes. */
  size: number;
  /** Type GUID, in lower case. */
  type: string;
  /** The name of the type, if it has one: `root-x86-64`, `microsoft-reserved`, … */
  typeName?: string;
  /** What it is for, if its type is in the Discoverable Partitions Specification: `root`, `usr-verity`, … */
  designator?: Designator;
  architecture?: Architecture;
  /** The partition's own GUID, in lower case. */
  id: string;
  /** Empty if it has none. */
  name: string;
  attributes: bigint;
  /** Those of the attributes that have a name. */
  flags: Flag[];
}

/** The partitions that the entries tell of. Those outside of the disk or of its usable part are left out, with a fault. */
export function decodeEntries(
  entries: Uint8Array,
  header: GptHeader,
  sectorSize: number,
  diskSize: number,
): { partitions: GptPartition[]; faults: string[] } {
  const partitions: GptPartition[] = [];
  const faults: string[] = [];
  for (let index = 0; index < header.entryCount; index++) {
    const at = index * header.entrySize;
    if (isUnused(entries, at)) continue;
    const entry = entries.subarray(at, at + header.entrySize);
    const first = le64(entry, ENTRY.firstSector);
    const last = le64(entry, ENTRY.lastSector);
    const fault = placeFault(first, last, header, Math.floor(diskSize / sectorSize));
    if (fault) faults.push(`partition ${index + 1} ${fault}`);
    else partitions.push(decodeEntry(entry, index + 1, first * sectorSize, (last - first + 1) * sectorSize));
  }
  return { partitions, faults };
}

/** The type of an entry that is not used is zero. Most are not used. */
function isUnused(entries: Uint8Array, at: number): boolean {
  for (let i = 0; i < 16; i++) if (entries[at + i] !== 0) return false;
  return true;
}

function placeFault(first: number, last: number, header: GptHeader, sectors: number): string | undefined {
  const { firstUsableSector, lastUsableSector } = header;
  if (last < first) return `ends in sector ${last}, before it starts in ${first}`;
  if (last >= sectors) return `ends in sector ${last}, the disk ends in ${sectors - 1}`;
  if (first >= firstUsableSector && last <= lastUsableSector) return undefined;
  return `is in sectors ${first} to ${last}, outside of the usable ${firstUsableSector} to ${lastUsableSector}`;
}

function decodeEntry(entry: Uint8Array, number: number, offset: number, size: number): GptPartition {
  const type = readGuid(entry, ENTRY.type);
  const known = partitionType(type);
  const attributes = le64bits(entry, ENTRY.attributes);
  return {
    number,
    offset,
    size,
    type,
    ...(known && { typeName: known.name }),
    ...(known?.designator && { designator: known.designator }),
    ...(known?.architecture && { architecture: known.architecture }),
    id: readGuid(entry, ENTRY.id),
    name: utf16(entry, ENTRY.name, NAME_SIZE) ?? '',
    attributes,
    flags: flagsOf(type, attributes),
  };
}
