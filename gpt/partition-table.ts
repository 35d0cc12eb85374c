import { hasBytes } from './bytes.ts';
import { hasFatParameters } from './formats/fat.ts';
import { type GptTable, readGpt } from './gpt.ts';
import { canBeMbr, hasBootSignature, MBR_SIZE, type MbrTable, protectiveEntry, readMbr } from './mbr.ts';
import { type ByteSource, readRange, withHead } from './source.ts';

export type PartitionTable = GptTable | MbrTable;

/** What is read at once: the MBR, and a GPT of the usual 128 entries in sectors of 512 bytes. */
const HEAD = 34 * 512;

/**
 * Reads the partition table of a disk; undefined if there is none.
 *
 * A GPT counts only behind an MBR with a protective entry, as the kernel has it: a disk that was given a file system, or
 * an MBR, by a tool that does not know of GPT still has the old GPT at its end.
 *
 * @throws DamagedTableError if there is a table but it can't be relied on; AmbiguousError if there are two GPTs.
 */
export async function readPartitionTable(source: ByteSource): Promise<PartitionTable | undefined> {
  const disk = await withHead(source, HEAD);
  const sector = await readRange(disk, 0, MBR_SIZE);
  if (!sector || !hasBootSignature(sector)) return undefined;
  if (protectiveEntry(sector)) return readGpt(disk, sector);
  return canBeMbr(sector) && !isFileSystem(sector) ? readMbr(disk, sector) : undefined;
}

/** True for the first sectors of file systems that end like an MBR. */
function isFileSystem(sector: Uint8Array): boolean {
  return hasBytes(sector, 3, 'NTFS    ') || hasBytes(sector, 3, 'EXFAT   ') || hasFatParameters(sector);
}
