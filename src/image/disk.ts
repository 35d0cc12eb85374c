/** What a disk image holds, read through a ByteSource: its partition table, and what is in each partition. */
import {
  type ByteSource,
  GptError,
  type GptPartition,
  type MbrPartition,
  type PartitionTable,
  readPartitionTable,
  readSuperblock,
  type Superblock,
  section,
} from '../../gpt/index.ts';

export interface Disk {
  /** In bytes. */
  size: number;
  table?: PartitionTable | undefined;
  /** Why there is a table that can't be relied on. */
  tableFault?: string | undefined;
  /** What the image is when no table is heeded. */
  whole: Content;
  /** The table's partitions, by number. */
  partitions: DiskPartition[];
}

export interface DiskPartition {
  entry: GptPartition | MbrPartition;
  content: Content;
}

export const isGpt = (entry: DiskPartition['entry']): entry is GptPartition => 'attributes' in entry;

/** Empty when nothing known was found. */
export interface Content {
  superblock?: Superblock | undefined;
  /** Why it can't be told what it is: signatures of two things. */
  fault?: string | undefined;
}

/**
 * Reads the table, and some 70 KiB of the image and of each partition. What is wrong with the bytes becomes a fault in
 * the result; what the source throws comes through.
 */
export async function readDisk(source: ByteSource): Promise<Disk> {
  const table = await orFault(readPartitionTable(source));
  const disk: Disk = {
    size: source.size,
    table: table.value,
    tableFault: table.fault,
    whole: await readContent(source),
    partitions: [],
  };
  const entries: readonly (GptPartition | MbrPartition)[] = disk.table?.partitions ?? [];
  for (const entry of entries.toSorted((a, b) => a.number - b.number)) {
    disk.partitions.push({ entry, content: await readContent(section(source, entry.offset, entry.size)) });
  }
  return disk;
}

async function readContent(source: ByteSource): Promise<Content> {
  const { value, fault } = await orFault(readSuperblock(source));
  return { superblock: value, fault };
}

async function orFault<T>(reading: Promise<T>): Promise<{ value?: T; fault?: string }> {
  try {
    return { value: await reading };
  } catch (error) {
    if (!(error instanceof GptError)) throw error;
    return { fault: error.message };
  }
}
