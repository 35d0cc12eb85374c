import { DamagedTableError } from './error.ts';
import { type Attempt, findBackup, findPrimary, type GptCopy } from './gpt.ts';
import type { GptHeader } from './gpt-header.ts';
import { decodeEntries, type GptPartition } from './gpt-partition.ts';
import { decodeMbrEntries, type Entry, MBR_SIZE, protectiveEntry } from './mbr.ts';
import { PROTECTIVE } from './mbr-types.ts';
import { type ByteSource, readRange } from './source.ts';

/** What both copies must agree in. */
const SHARED: readonly (keyof GptHeader)[] = [
  'diskId',
  'firstUsableSector',
  'lastUsableSector',
  'entryCount',
  'entrySize',
  'entriesCrc',
];

/**
 * Looks at all of a GPT: both copies and whether they agree, the protective MBR, and the partitions. More is read than
 * readPartitionTable needs.
 *
 * @returns what is wrong, a line each; none if all is well.
 * @throws DamagedTableError if there is no protective MBR, and so no GPT.
 */
export async function checkGpt(source: ByteSource): Promise<string[]> {
  const mbr = await readRange(source, 0, MBR_SIZE);
  const protective = mbr && protectiveEntry(mbr);
  if (!protective) throw new DamagedTableError('checking the GPT: there is no protective MBR');
  const primary = await findPrimary(source);
  const backup = await findBackup(source, primary);
  const copy = primary.copy ?? backup.copy;
  return [
    ...attemptFaults('primary', primary),
    ...attemptFaults('backup', backup),
    ...(copy ? [...mbrFaults(mbr, protective, source, copy), ...partitionFaults(source, copy)] : []),
    ...(primary.copy && backup.copy ? disagreements(source, primary.copy, backup.copy) : []),
  ];
}

function attemptFaults(which: string, { fault }: Attempt): string[] {
  return fault === undefined ? [] : [`${which} copy: ${fault}`];
}

function disagreements(source: ByteSource, primary: GptCopy, backup: GptCopy): string[] {
  const last = Math.floor(source.size / primary.sectorSize) - 1;
  const faults = SHARED.filter(field => primary.header[field] !== backup.header[field]).map(
    field => `the copies disagree: ${field} is ${primary.header[field]}, and ${backup.header[field]} in the backup`,
  );
  if (primary.sectorSize !== backup.sectorSize) {
    faults.push(
      `the copies disagree: sectors have ${primary.sectorSize} bytes, and ${backup.sectorSize} in the backup`,
    );
  }
  if (backup.header.sector !== last) {
    faults.push(`the backup copy is in sector ${backup.header.sector}, not in the last one, ${last}`);
  }
  return faults;
}

/** UEFI 2.10, table 5.4. */
function mbrFaults(mbr: Uint8Array, { sectors }: Entry, source: ByteSource, { sectorSize }: GptCopy): string[] {
  const isHybrid = decodeMbrEntries(mbr).some(({ type }) => type !== 0 && type !== PROTECTIVE);
  const wanted = Math.min(Math.floor(source.size / sectorSize) - 1, 0xffff_ffff);
  // In a hybrid MBR it makes room for the others; some tools always write the largest number.
  if (isHybrid || sectors === wanted || sectors === 0xffff_ffff) return [];
  return [`the protective MBR covers ${sectors} sectors, not ${wanted}`];
}

function partitionFaults(source: ByteSource, { header, entries, sectorSize }: GptCopy): string[] {
  const { partitions, faults } = decodeEntries(entries, header, sectorSize, source.size);
  const sorted = partitions.toSorted((a, b) => a.offset - b.offset);
  for (const [index, partition] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next && next.offset < partition.offset + partition.size) {
      faults.push(`partitions ${partition.number} and ${next.number} overlap`);
    }
  }
  return [...faults, ...duplicates(partitions)];
}

function duplicates(partitions: readonly GptPartition[]): string[] {
  const seen = new Set<string>();
  const repeated = new Set<string>();
  for (const { id } of partitions) (seen.has(id) ? repeated : seen).add(id);
  return Array.from(repeated, id => `more than one partition has the GUID ${id}`);
}
