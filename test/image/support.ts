/** Disks for dissecting: tables by gpt's writer, read back, and contents as if they had been read. */
import { bytesSource, encodeGpt, type PartitionDescription, type SuperblockType } from '../../gpt/index.ts';
import { USAGES } from '../../gpt/superblock.ts';
import { type Content, type Disk, readDisk } from '../../src/image/disk.ts';
import type { Host } from '../../src/image/dissect.ts';
import { MIB } from '../gpt/support.ts';

export const HOST: Host = { architecture: 'x86-64', machineId: '3d1219c7c4c5404aaa1f6d2a48adfda4' };

/** A partition of 1 MiB, and what it holds: ext4 unless told otherwise. */
export interface Made extends PartitionDescription {
  holds?: SuperblockType | 'nothing' | Content;
}

/** A disk with a GPT. */
export async function gptDisk(...partitions: Made[]): Promise<Disk> {
  const bytes = new Uint8Array((partitions.length + 3) * MIB);
  const sized = partitions.map(partition => ({ size: MIB, ...partition }));
  for (const chunk of encodeGpt({ size: bytes.length, partitions: sized })) bytes.set(chunk.bytes, chunk.offset);
  const disk = await readDisk(bytesSource(bytes));
  for (const [index, { holds = 'ext4' }] of partitions.entries()) disk.partitions[index]!.content = contentOf(holds);
  return disk;
}

/** A partition of an MBR of 1 MiB, or of none with type 0. */
export interface MbrMade {
  type: number;
  bootable?: boolean;
  holds?: SuperblockType | 'nothing';
}

/** A disk with an MBR. */
export async function mbrDisk(...partitions: MbrMade[]): Promise<Disk> {
  const bytes = new Uint8Array((partitions.length + 1) * MIB);
  const view = new DataView(bytes.buffer);
  for (const [index, { type, bootable }] of partitions.entries()) {
    bytes.set([bootable ? 0x80 : 0, 0, 0, 0, type], 446 + 16 * index);
    view.setUint32(446 + 16 * index + 8, ((index + 1) * MIB) / 512, true);
    view.setUint32(446 + 16 * index + 12, MIB / 512, true);
  }
  bytes.set([0x55, 0xaa], 510);
  const disk = await readDisk(bytesSource(bytes));
  for (const [index, { holds = 'ext4' }] of partitions.entries()) disk.partitions[index]!.content = contentOf(holds);
  return disk;
}

/** An image without a table. */
export const bareDisk = (holds: SuperblockType | 'nothing' | Content): Disk => ({
  size: MIB,
  whole: contentOf(holds),
  partitions: [],
});

export function contentOf(holds: SuperblockType | 'nothing' | Content): Content {
  if (typeof holds === 'object') return holds;
  if (holds === 'nothing') return {};
  return { superblock: { type: holds, usage: USAGES[holds], offset: 0, version: '2' } };
}
