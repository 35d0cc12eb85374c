/** What `nspawn inspect` tells of an image, as data: what --json prints, and what the text is made from. */
import type { Architecture, Flag, MbrPartition, Superblock } from '../../gpt/index.ts';
import { mbrType } from '../image/candidates.ts';
import { type Content, type Disk, type DiskPartition, isGpt } from '../image/disk.ts';
import type { Dissection, Mount } from '../image/dissect.ts';

/** All fields are always there; null is for what does not apply or is unknown. Sizes and offsets are in bytes. */
export interface Report {
  path: string;
  size: number;
  /** Null if there is no table, or none that can be relied on. */
  table: ReportedTable | null;
  /** What spans the whole image; a table that is there as well is then not heeded. */
  content: ReportedContent | null;
  /** By number. */
  partitions: ReportedPartition[];
  /** What is wrong or doubtful, a line each. */
  warnings: string[];
  /** Of the root; null where its partition doesn't tell. */
  architecture: Architecture | null;
  /** What --personality= becomes, unless it is given. */
  personality: Architecture | null;
  /** Why -i refuses the image. */
  refusal: string | null;
  /** Where the content of the whole image is mounted. */
  mount: ReportedMount | null;
}

interface ReportedTable {
  kind: 'gpt' | 'mbr';
  /** The disk's GUID; of an MBR its signature, eight hexadecimal digits. */
  id: string;
  sectorSize: number;
  /** Which copy of a GPT was read; null for an MBR. */
  copy: 'primary' | 'backup' | null;
}

interface ReportedContent {
  /** As mount(8) or blkid(8) call it. */
  type: string;
  usage: string;
  label: string | null;
  uuid: string | null;
  version: string | null;
  blockSize: number | null;
  /** Of the file system, which may differ from the partition's. */
  size: number | null;
}

interface ReportedMount {
  at: string;
  /** Where it goes if the tree lacks `at`, and has this as an empty directory. */
  fallback: string | null;
  readOnly: boolean;
  options: readonly string[];
}

interface ReportedPartition {
  number: number;
  offset: number;
  size: number;
  /** GUID, or for an MBR `0x83`. */
  type: string;
  typeName: string | null;
  /** The partition's own GUID; of an MBR the disk's signature and the number. */
  id: string;
  /** Of a GPT. */
  label: string | null;
  flags: readonly Flag[];
  /** Of an MBR. */
  bootable: boolean;
  content: ReportedContent | null;
  mount: ReportedMount | null;
  /** Why it isn't mounted; null if it is. */
  reason: string | null;
}

/** @param faults - what was found wrong with the table, besides what reading it has told */
export function reportOf(path: string, disk: Disk, dissection: Dissection, faults: readonly string[]): Report {
  const { table, size, whole } = disk;
  return {
    path,
    size,
    table: table
      ? { kind: table.kind, id: table.id, sectorSize: table.sectorSize, copy: 'copy' in table ? table.copy : null }
      : null,
    content: contentOf(whole),
    partitions: disk.partitions.map(partition => partitionOf(partition, dissection)),
    warnings: warningsOf(disk, faults),
    architecture: dissection.architecture ?? null,
    personality: dissection.personality ?? null,
    refusal: dissection.refusal ?? null,
    mount: mountOf(dissection.mounts.find(({ number }) => number === undefined)),
  };
}

function partitionOf({ entry, content }: DiskPartition, { mounts, notMounted }: Dissection): ReportedPartition {
  const { number, offset, size, id } = entry;
  const mount = mounts.find(each => each.number === number);
  return {
    number,
    offset,
    size,
    ...(isGpt(entry)
      ? { type: entry.type, typeName: entry.typeName ?? null, id, label: entry.name || null, flags: entry.flags }
      : { type: mbrType(entry), typeName: entry.typeName ?? null, id, label: null, flags: [] }),
    bootable: !isGpt(entry) && entry.bootable,
    content: contentOf(content),
    mount: mountOf(mount),
    reason: notMounted.find(each => each.number === number)?.reason ?? null,
  };
}

function contentOf({ superblock }: Content): ReportedContent | null {
  if (!superblock) return null;
  const { type, usage, label, uuid, version, blockSize, size } = superblock;
  return {
    type,
    usage,
    label: label ?? null,
    uuid: uuid ?? null,
    version: version ?? null,
    blockSize: blockSize ?? null,
    size: size ?? null,
  };
}

function mountOf(mount: Mount | undefined): ReportedMount | null {
  if (!mount) return null;
  const { mountPoint, fallback, readOnly, options } = mount;
  return { at: mountPoint, fallback: fallback ?? null, readOnly, options };
}

function warningsOf({ size, table, tableFault, whole, partitions }: Disk, faults: readonly string[]): string[] {
  const inTable = [...(table?.faults ?? []), ...faults];
  return [
    ...(tableFault === undefined ? [] : [tableFault]),
    ...new Set(inTable),
    ...(table && 'copy' in table && table.copy === 'backup' ? ['the backup copy of the GPT was read'] : []),
    ...(table && 'hybridPartitions' in table && table.mbr === 'hybrid' ? [HYBRID] : []),
    ...(table && whole.superblock
      ? [`there is a partition table, and the image as a whole is ${whole.superblock.type}`]
      : []),
    ...(table?.kind === 'mbr' ? overlaps(table.partitions) : []),
    ...contentWarnings('', whole, size),
    ...partitions.flatMap(({ entry, content }) => contentWarnings(`partition ${entry.number}: `, content, entry.size)),
  ];
}

/** Extended partitions hold others. For a GPT it is checkGpt that tells. */
function overlaps(partitions: readonly MbrPartition[]): string[] {
  const sorted = partitions.filter(({ role }) => role !== 'extended').toSorted((a, b) => a.offset - b.offset);
  return sorted.flatMap((partition, index) => {
    const next = sorted[index + 1];
    return next && next.offset < partition.offset + partition.size
      ? [`partitions ${partition.number} and ${next.number} overlap`]
      : [];
  });
}

const HYBRID = 'the MBR is a hybrid one: systems that know no GPT see other partitions';

function contentWarnings(where: string, { superblock, fault }: Content, size: number): string[] {
  if (fault !== undefined) return [where + fault];
  return superblock && reachesBeyond(superblock, size)
    ? [`${where}it is cut short: its ${superblock.type} has ${superblock.size} bytes, and ${size} are there`]
    : [];
}

/** A file system on several devices tells the size of all of them. */
function reachesBeyond({ usage, deviceUuid, size: needed }: Superblock, size: number): boolean {
  return usage === 'filesystem' && deviceUuid === undefined && needed !== undefined && needed > size;
}
