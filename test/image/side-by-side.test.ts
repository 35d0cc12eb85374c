/** What is mounted where, beside systemd-dissect on the same images: it has the code that systemd-nspawn mounts with. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { discoverableType, encodeGpt } from '../../gpt/index.ts';
import { readDisk } from '../../src/image/disk.ts';
import { dissect } from '../../src/image/dissect.ts';
import { thisHost } from '../../src/image/host.ts';
import { varUuid } from '../../src/image/var-uuid.ts';
import { createImage, fileSource, MIB, runOk, runTool, writeChunks } from '../gpt/support.ts';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import type { Made } from './support.ts';

const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const TOOLS = ['mke2fs', 'mkfs.vfat', 'mkswap', 'mksquashfs', 'sfdisk', 'systemd-dissect'].map(tool);

const SIZE = 4 * MIB;
const tree = join(directory.path, 'tree');
mkdirSync(join(tree, 'usr'), { recursive: true });
const MAKERS = {
  // systemd-dissect mounts the root and /usr to read names and ids, but makes no mount points.
  ext4: ['mke2fs', '-q', '-F', '-t', 'ext4', '-d', tree],
  vfat: ['mkfs.vfat'],
  swap: ['mkswap', '-q'],
} as const;
const made = new Map<string, Uint8Array>();

/** The bytes of what a tool makes in a file of 4 MiB. */
function contents(kind: keyof typeof MAKERS): Uint8Array {
  const known = made.get(kind);
  if (known) return known;
  const path = createImage(join(directory.path, kind), SIZE);
  runOk([...MAKERS[kind], path]);
  const bytes = fileSource(path).read(0, SIZE) as Uint8Array;
  made.set(kind, bytes);
  return bytes;
}

/** Fills the partitions that sfdisk sees. */
function fill(path: string, kinds: readonly (keyof typeof MAKERS | 'nothing')[]): string {
  const { partitions = [] } = JSON.parse(runOk(['sfdisk', '--json', path])).partitiontable;
  for (const [index, { start }] of partitions.entries()) {
    const kind = kinds[index] ?? 'ext4';
    if (kind !== 'nothing') writeChunks(path, [{ offset: start * 512, bytes: contents(kind) }]);
  }
  return path;
}

let images = 0;
const newPath = (): string => join(directory.path, `image-${++images}`);

function gptImage(...partitions: Made[]): string {
  const size = (partitions.length + 1) * 2 * SIZE;
  const path = createImage(newPath(), size);
  writeChunks(path, encodeGpt({ size, partitions: partitions.map(each => ({ size: SIZE, ...each })) }));
  return fill(
    path,
    partitions.map(({ holds }) => (holds ?? 'ext4') as 'ext4'),
  );
}

interface Line {
  designator: string;
  partno: number | null;
  fstype: string;
  rw: string;
  architecture: string | null;
}

/** What is mounted, as systemd-dissect lists it; `refused` if it fails. */
function theirs(path: string): unknown {
  const { status, stdout } = runTool(['systemd-dissect', '--json=short', path]);
  if (status !== 0) return 'refused';
  const { mounts } = JSON.parse(stdout) as { mounts: Line[] };
  const mounted = mounts.filter(({ designator }) => !/swap|verity/.test(designator));
  return mounted.map(({ designator, partno, fstype, rw, architecture }) => [
    ...[designator, partno, fstype, rw],
    // It names it for what has one; here it is told once, of the root.
    ...(designator === 'root' || designator === 'usr' ? [architecture] : []),
  ]);
}

async function ours(path: string): Promise<unknown> {
  const { mounts, refusal, architecture } = dissect(await readDisk(fileSource(path)), thisHost());
  if (refusal !== undefined) return 'refused';
  return mounts.map(({ designator, number, fileSystem, readOnly }) => [
    ...[designator, number ?? null, fileSystem, readOnly ? 'ro' : 'rw'],
    ...(designator === 'root' || designator === 'usr' ? [architecture ?? null] : []),
  ]);
}

const byDesignator = (lines: unknown): unknown =>
  Array.isArray(lines) ? lines.toSorted((a, b) => String(a).localeCompare(String(b))) : lines;

/** It needs loop devices that can be had. */
const dissects: Need = () => {
  const missing = [root, ...TOOLS].map(need => need()).find(reason => reason !== undefined);
  if (missing !== undefined) return missing;
  return theirs(gptImage({ type: 'linux-generic' })) === 'refused' ? 'systemd-dissect can not run here' : undefined;
};
const machineId: Need = () => (thisHost().machineId === undefined ? 'this machine has no id' : undefined);
const it = needs([dissects]);

const ROOT: Made = { type: 'root-x86-64' };
const NOTHING = { holds: 'nothing' as const };

const GPTS: Record<string, Made[]> = {
  'a root': [ROOT],
  'a root with all that goes with it': [
    { type: 'esp', holds: 'vfat' },
    { type: 'xbootldr' },
    ROOT,
    { type: 'usr-x86-64' },
    { type: 'home' },
    { type: 'srv' },
    { type: 'tmp' },
    { type: 'swap', holds: 'swap' },
  ],
  'two of each': [ROOT, ROOT, { type: 'home' }, { type: 'home' }],
  'marked as not to be mounted': [
    { ...ROOT, attributes: ['noAuto'] },
    ROOT,
    { type: 'home', attributes: ['noAuto'] },
    { type: 'esp', holds: 'vfat', attributes: ['noBlockIo'] },
    { type: 'esp', holds: 'vfat', attributes: ['noAuto'] },
  ],
  'marked as read-only, or to grow': [
    { ...ROOT, attributes: ['readOnly'] },
    { type: 'home', attributes: ['growFileSystem'] },
    { type: 'srv', attributes: ['readOnly', 'growFileSystem'] },
  ],
  'a root of the secondary architecture': [{ type: 'root-arm64' }, { type: 'root-x86' }],
  'a native root after another': [{ type: 'root-x86' }, ROOT, { type: 'usr-x86' }],
  'a root of another architecture': [{ type: 'root-riscv64' }, { type: 'root-arm64' }],
  'a root and a /usr of two architectures': [{ type: 'root-x86' }, { type: 'usr-x86-64' }],
  '/usr alone': [{ type: 'usr-x86-64' }, { type: 'linux-generic' }],
  'one generic partition': [{ type: 'linux-generic', attributes: ['readOnly'] }, { type: 'microsoft-basic-data' }],
  'one generic partition of two that may be mounted': [
    { type: 'linux-generic', attributes: ['noAuto'] },
    { type: 'linux-generic' },
  ],
  'two generic partitions': [{ type: 'linux-generic' }, { type: 'linux-generic' }],
  'no root': [{ type: 'home' }],
  'no partition': [],
  'verity data of a root': [{ type: 'root-x86-64-verity', ...NOTHING }, ROOT],
  'verity data without a root': [{ type: 'root-x86-64-verity', ...NOTHING }],
  'verity data without a native root': [{ type: 'root-x86-64-verity', ...NOTHING }, { type: 'root-x86' }],
  'verity data without /usr': [ROOT, { type: 'usr-x86-64-verity', ...NOTHING }],
  'a signature without verity data': [ROOT, { type: 'root-x86-64-verity-sig', ...NOTHING }],
  'a root that holds nothing': [{ ...ROOT, ...NOTHING }],
  'a root that holds swap': [{ ...ROOT, holds: 'swap' }],
};
for (const [name, partitions] of Object.entries(GPTS)) {
  it(`a GPT with ${name}`, async () => {
    const path = gptImage(...partitions);
    assert.equal(byDesignator(await ours(path)), byDesignator(theirs(path)));
  });
}

const MBRS: Record<string, string> = {
  'one bootable partition': 'size=4M, type=83\nsize=4M, type=83, bootable\n',
  'the partition of a boot loader': 'size=4M, type=83, bootable\nsize=4M, type=ea\nsize=4M, type=ef\n',
  'no bootable partition': 'size=4M, type=83\n',
  'a bootable logical partition': 'size=4M, type=c\nsize=40M, type=5\nsize=4M, type=83\nsize=4M, type=83, bootable\n',
};
for (const [name, script] of Object.entries(MBRS)) {
  it(`an MBR with ${name}`, async () => {
    const path = createImage(newPath(), 64 * MIB);
    runOk(['sfdisk', '--quiet', path], `label: dos\n${script}`);
    const { partitions } = JSON.parse(runOk(['sfdisk', '--json', path])).partitiontable as {
      partitions: { start: number; type: string }[];
    };
    for (const { start, type } of partitions) {
      if (type !== '5') writeChunks(path, [{ offset: start * 512, bytes: contents('ext4') }]);
    }
    assert.equal(byDesignator(await ours(path)), byDesignator(theirs(path)));
  });
}

it('file systems without a table', async () => {
  const ext4 = newPath();
  copyFileSync(join(directory.path, 'ext4'), ext4);
  const squashfs = newPath();
  runOk(['mksquashfs', ext4, squashfs, '-quiet', '-no-progress']);
  const nothing = createImage(newPath(), MIB);
  for (const path of [ext4, squashfs, nothing]) assert.equal(await ours(path), theirs(path));
});

needs([dissects, tool('mkfs.btrfs')])('a table on a disk that is a file system', async () => {
  const path = createImage(newPath(), 120 * MIB);
  runOk(['mkfs.btrfs', '-q', path]);
  runOk(['sfdisk', '--quiet', '--wipe=never', path], 'label: gpt\nsize=4M\n');
  assert.equal(await ours(path), theirs(path));
});

needs([tool('systemd-id128'), machineId])("this machine's /var", () => {
  const type = discoverableType('var', 'x86-64');
  const theirs = runOk(['systemd-id128', 'machine-id', '--uuid', `--app-specific=${type}`]).trim();
  assert.is(varUuid(thisHost().machineId!), theirs);
});

test.run();
