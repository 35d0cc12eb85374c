/**
 * What disks and images hold, for any JavaScript runtime: partition tables (GPT and MBR) and the superblocks of file
 * systems, read through a ByteSource; and a writer of GPTs.
 */
export { FLAGS, type Flag } from './attributes.ts';
export { checkGpt } from './check.ts';
export type { Architecture, Designator } from './discoverable-types.ts';
export { type Chunk, encodeGpt, type GptDescription, type PartitionDescription } from './encode.ts';
export {
  AmbiguousError,
  DamagedTableError,
  GptError,
  InvalidDescriptionError,
  ShortReadError,
} from './error.ts';
export type { GptTable } from './gpt.ts';
export type { GptPartition } from './gpt-partition.ts';
export type { MbrPartition, MbrTable } from './mbr.ts';
export { type PartitionTable, readPartitionTable } from './partition-table.ts';
export { discoverableType, type PartitionType, partitionType, partitionTypes } from './partition-types.ts';
export { type ByteSource, bytesSource, section } from './source.ts';
export {
  findSuperblocks,
  readSuperblock,
  type Superblock,
  type SuperblockType,
  type Usage,
} from './superblock.ts';
