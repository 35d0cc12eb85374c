/** Images of real tools for `nspawn inspect`, and the report on them. */
import { join } from 'node:path';
import { encodeGpt, type PartitionDescription } from '../../gpt/index.ts';
import type { Report } from '../../src/inspect/report.ts';
import { nspawn, type Outcome } from '../cli/support.ts';
import { createImage, fileSource, MIB, runOk, writeChunks } from '../gpt/support.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** A partition of 4 MiB unless told otherwise, and the words that make its contents, before the path. */
export interface Made extends PartitionDescription {
  mkfs?: readonly string[];
}

export const EXT4 = ['mke2fs', '-q', '-F', '-t', 'ext4'];
export const SMALL = 4 * MIB;

/** Makes an image with a GPT at that path. */
export function gptImage(path: string, partitions: readonly Made[], sectorSize = 512): string {
  const sized = partitions.map(partition => ({ size: SMALL, ...partition }));
  const size = sized.reduce((sum, each) => sum + each.size, 3 * MIB);
  createImage(path, size);
  writeChunks(path, encodeGpt({ size, sectorSize, partitions: sized }));
  let offset = MIB;
  for (const partition of sized) {
    if (partition.mkfs) writeChunks(path, [{ offset, bytes: contents(partition.mkfs, partition.size) }]);
    offset += partition.size;
  }
  return path;
}

function contents(mkfs: readonly string[], size: number): Uint8Array {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'contents'), size);
  runOk([...mkfs, path], 'password');
  return fileSource(path).read(0, size) as Uint8Array;
}

/** What `nspawn inspect --json` tells. */
export async function reportOn(path: string): Promise<Report> {
  const { status, stdout, stderr } = await inspect('--json', path);
  if (status !== 0) throw new Error(`status ${status}: ${stderr}`);
  return JSON.parse(stdout) as Report;
}

/** Runs `nspawn inspect`, 80 columns wide. */
export const inspect = (...args: string[]): Promise<Outcome> => nspawn(['inspect', ...args], { env: { COLUMNS: '' } });
