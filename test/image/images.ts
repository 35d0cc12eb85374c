/** Disk images to start containers from, made with the real tools, and what is left of them afterwards. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { encodeGpt, type PartitionDescription, partitionType, readPartitionTable } from '../../gpt/index.ts';
import type { SpawnOptions } from '../../src/index.ts';
import { run } from '../container/support.ts';
import { createImage, fileSource, MIB, runOk, runTool, writeChunks } from '../gpt/support.ts';
import { type Need, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busyboxTree } from '../support/tree.ts';

/** The type of a root partition for this machine. */
export const ROOT = process.arch === 'arm64' ? 'root-arm64' : 'root-x86-64';

/** What makes a file system of a tree in a file, and the size that it takes at least. */
const MAKERS: Record<string, { tool: string; size: number; command: (file: string, tree: string) => string[] }> = {
  ext4: { tool: 'mkfs.ext4', size: 16, command: (file, tree) => ['mkfs.ext4', '-q', '-b', '4096', '-d', tree, file] },
  'ext4 with small blocks': {
    tool: 'mkfs.ext4',
    size: 16,
    command: (file, tree) => ['mkfs.ext4', '-q', '-b', '1024', '-d', tree, file],
  },
  squashfs: {
    tool: 'mksquashfs',
    size: 0,
    command: (file, tree) => ['mksquashfs', tree, file, '-noappend', '-quiet', '-no-progress'],
  },
  erofs: { tool: 'mkfs.erofs', size: 0, command: (file, tree) => ['mkfs.erofs', file, tree] },
  // Always an empty one.
  vfat: { tool: 'mkfs.vfat', size: 1, command: file => ['mkfs.vfat', file] },
  // The smallest that mkfs makes. Most of it are holes.
  xfs: {
    tool: 'mkfs.xfs',
    size: 300,
    command(file, tree) {
      writeFileSync(`${file}.prototype`, prototype(tree));
      return ['mkfs.xfs', '-q', '-p', `${file}.prototype`, file];
    },
  },
  btrfs: { tool: 'mkfs.btrfs', size: 128, command: (file, tree) => ['mkfs.btrfs', '-q', '--rootdir', tree, file] },
};

/** For needs(): the tool that makes it is there, and the kernel can mount it. */
export const makes = (kind: string): Need[] => [tool(MAKERS[kind]!.tool), knows(kind.split(' ')[0]!)];

const knows =
  (type: string): Need =>
  () =>
    readFileSync('/proc/filesystems', 'utf8').split(/\s+/).includes(type) || runTool(['modprobe', type]).status === 0
      ? undefined
      : `this kernel has no ${type}`;

/** A file with a file system that has what is in `tree`; `size` is in MiB. */
export function makeFileSystem(path: string, kind: string, tree: string, size = MAKERS[kind]!.size): string {
  createImage(path, size * MIB);
  runOk(MAKERS[kind]!.command(path, tree));
  return path;
}

/** A tree in words, for mkfs.xfs: mkfs.xfs(8), "-p". */
function prototype(tree: string): string {
  const lines = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true }).flatMap(entry => {
      const path = join(directory, entry.name);
      if (entry.isSymbolicLink()) return [`${entry.name} l--777 0 0 ${readlinkSync(path)}`];
      const mode = (statSync(path).mode & 0o777).toString(8);
      if (entry.isDirectory()) return [`${entry.name} d--${mode} 0 0`, ...lines(path), '$'];
      return [`${entry.name} ---${mode} 0 0 ${path}`];
    });
  return ['/', '0 0', 'd--755 0 0', ...lines(tree), '$', ''].join('\n');
}

/** A busybox system on an ext4. */
export const busyboxImage = (path: string): string => makeFileSystem(path, 'ext4', busyboxTree());

/** A busybox system with partitions for /home and /srv. */
export function busyboxDisk(path: string, options: DiskOptions = {}): string {
  const partitions = [
    { type: ROOT, holds: 'ext4', tree: busyboxTree() },
    { type: 'home', holds: 'ext4', size: 4 },
    { type: 'srv', holds: 'ext4', size: 4 },
  ];
  return makeDisk(path, partitions, options);
}

export interface PartitionMade {
  type: string;
  /** The name of a kind; nothing is made if not given. */
  holds?: string;
  /** By default, an empty one with a file that has the partition's type for its name. */
  tree?: string;
  attributes?: PartitionDescription['attributes'];
  /** The partition's own GUID; only with a table of our own. */
  id?: string;
  /** In MiB. */
  size?: number;
}

export type TableMaker = 'own' | 'sgdisk' | 'sfdisk';

export interface DiskOptions {
  sectorSize?: 512 | 4096;
  maker?: TableMaker;
}

/** An image with a GPT, its partitions one after the other from the first MiB on. */
export function makeDisk(path: string, partitions: readonly PartitionMade[], options: DiskOptions = {}): string {
  using scratch = temporaryDirectory();
  const placed = place(partitions);
  createImage(path, (placed.reduce((sum, { size }) => sum + size, 0) + 2) * MIB);
  writeTable(path, placed, options);
  for (const [index, { holds, type, tree, offset, size }] of placed.entries()) {
    if (!holds) continue;
    const file = makeFileSystem(join(scratch.path, `${index}`), holds, tree ?? treeWith(scratch.path, type), size);
    copyInto(path, file, offset * MIB);
  }
  return path;
}

type Placed = PartitionMade & { offset: number; size: number };

function place(partitions: readonly PartitionMade[]): Placed[] {
  let offset = 1;
  return partitions.map(partition => {
    const size = partition.size ?? Math.max(1, MAKERS[partition.holds ?? '']?.size ?? 1);
    offset += size;
    return { ...partition, offset: offset - size, size };
  });
}

function treeWith(directory: string, name: string): string {
  const tree = join(directory, `tree of ${name}`);
  mkdirSync(tree, { recursive: true });
  closeSync(openSync(join(tree, name), 'w'));
  return tree;
}

/** What each tool calls the types. */
const SGDISK_TYPES: Record<string, string> = { 'root-x86-64': '8304', 'root-arm64': '8305', home: '8302', srv: '8306' };

function writeTable(path: string, placed: readonly Placed[], { sectorSize = 512, maker = 'own' }: DiskOptions): void {
  const { size } = statSync(path);
  const sectors = (mebibytes: number) => (mebibytes * MIB) / sectorSize;
  switch (maker) {
    case 'own':
      writeChunks(
        path,
        encodeGpt({
          size,
          sectorSize,
          partitions: placed.map(({ type, size, attributes = 0n, id }) => ({
            type,
            size: size * MIB,
            attributes,
            ...(id !== undefined && { id }),
          })),
        }),
      );
      return;
    case 'sgdisk':
      runOk([
        'sgdisk',
        ...placed.flatMap(({ type, offset, size }, i) => [
          `--new=${i + 1}:${sectors(offset)}:${sectors(offset + size) - 1}`,
          `--typecode=${i + 1}:${SGDISK_TYPES[type]}`,
        ]),
        path,
      ]);
      return;
    case 'sfdisk': {
      const lines = placed.map(
        ({ type, offset, size }) =>
          `start=${sectors(offset)}, size=${sectors(size)}, type=${partitionType(type)!.guid}`,
      );
      runOk(['sfdisk', '-q', path], ['label: gpt', ...lines, ''].join('\n'));
    }
  }
}

/** Copies what is not zero. */
function copyInto(image: string, file: string, offset: number): void {
  const bytes = readFileSync(file);
  const target = openSync(image, 'r+');
  const BLOCK = 4096;
  for (let at = 0; at < bytes.length; at += BLOCK) {
    const block = bytes.subarray(at, at + BLOCK);
    if (block.some(byte => byte !== 0)) writeSync(target, block, 0, block.length, offset + at);
  }
  closeSync(target);
}

/** The loop devices that have a file open. */
export const loopsOf = (path: string): string[] =>
  readdirSync('/sys/block').filter(device => {
    try {
      return readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8').trim() === path;
    } catch {
      return false; // Not in use, or no loop device.
    }
  });

/** Throws unless an image's ext4, or the ones in its partitions, are whole, were left cleanly, and are nobody's. */
export async function assertReleased(path: string): Promise<void> {
  assert.equal(loopsOf(path), []);
  const table = await readPartitionTable(fileSource(path));
  for (const { offset } of table?.partitions ?? [{ offset: 0 }]) {
    const { status, stdout, stderr } = runTool(['e2fsck', '-fn', `${path}?offset=${offset}`]);
    assert.is(status, 0, `${stdout}${stderr}`);
    const superblock = runOk(['dumpe2fs', '-h', `${path}?offset=${offset}`]);
    assert.match(superblock, /^Filesystem state: +clean$/m);
    assert.not.match(superblock, /needs_recovery/);
  }
}

/** What is in a file's blocks, to see whether it changes. */
export const fingerprint = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** For containers of which there is nothing to warn. */
export const off: SpawnOptions = { timezone: 'off', resolvConf: 'off' };

/** What a shell script in the image prints, which must not fail. */
export async function shell(image: string, script: string, options: SpawnOptions = {}): Promise<string> {
  const { status, stdout, stderr, log } = await run({ ...off, image, command: ['/bin/sh', '-c', script], ...options });
  assert.is(status, 0, `${stderr} ${stdout}`);
  assert.equal(
    log.filter(line => /^(warn|error)/.test(line)),
    [],
  );
  return stdout;
}
