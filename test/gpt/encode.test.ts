/** The writer of GPTs: byte for byte what sfdisk writes, nothing that sfdisk or sgdisk complain of, and read back. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  bytesSource,
  checkGpt,
  encodeGpt,
  FLAGS,
  type Flag,
  type GptDescription,
  type GptTable,
  InvalidDescriptionError,
  type PartitionDescription,
  partitionType,
  readPartitionTable,
} from '../../gpt/index.ts';
import { needs, tool } from '../support/needs.ts';
import { type Random, withSeed } from '../support/random.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { createImage, MIB, runOk, runTool, writeChunks } from './support.ts';

const DISK_ID = '11111111-2222-3333-4444-555555555555';

/** The bytes of a whole disk with that table. */
function disk(description: GptDescription): Uint8Array {
  const bytes = new Uint8Array(description.size);
  for (const { offset, bytes: chunk } of encodeGpt(description)) bytes.set(chunk, offset);
  return bytes;
}

const read = async (bytes: Uint8Array) => (await readPartitionTable(bytesSource(bytes))) as GptTable;

function randomGuid(random: Random): string {
  const digits = Array.from({ length: 32 }, () => random.below(16).toString(16)).join('');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

const TYPES = ['root-x86-64', 'usr-arm64-verity', 'esp', 'swap', 'home', 'microsoft-basic-data', 'linux-lvm'];
const NAMES = ['root', 'with space', 'Größe', 'システム', 'x'.repeat(36), ''];
const ATTRIBUTES = [
  [],
  ['readOnly'],
  ['noAuto', 'growFileSystem'],
  ['requiredPartition', 'legacyBiosBootable'],
] as const;

/** A description in which nothing is left open. */
interface FullDescription {
  size: number;
  id: string;
  partitions: Required<PartitionDescription>[];
}

function randomDescription(random: Random, start: number): FullDescription {
  const partitions: Required<PartitionDescription>[] = [];
  for (let offset = start + 512 * random.below(8); partitions.length < random.below(9); ) {
    const size = 512 * (1 + random.below(2000));
    partitions.push({
      type: random.pick(TYPES),
      id: randomGuid(random),
      name: random.pick(NAMES),
      offset,
      size,
      attributes: random.pick(ATTRIBUTES),
    });
    offset += size + 512 * random.below(3);
  }
  return { size: 16 * MIB + 512 * random.below(100), id: randomGuid(random), partitions };
}

/** The same for sfdisk, in its words. */
function sfdiskScript({ id, partitions }: FullDescription): string {
  const lines = partitions.map(({ type, id, name, offset, size, attributes }) => {
    const words = (attributes as readonly Flag[]).map(flag => SFDISK_WORDS[flag] ?? `GUID:${FLAGS[flag]}`);
    const guid = partitionType(type)!.guid;
    return `start=${offset / 512}, size=${size / 512}, type=${guid}, uuid=${id}, name="${name}", attrs="${words.join(' ')}"`;
  });
  return ['label: gpt', `label-id: ${id}`, 'first-lba: 34', 'unit: sectors', '', ...lines, ''].join('\n');
}

const SFDISK_WORDS: Partial<Record<Flag, string>> = {
  requiredPartition: 'RequiredPartition',
  noBlockIo: 'NoBlockIOProtocol',
  legacyBiosBootable: 'LegacyBIOSBootable',
};

needs([tool('sfdisk')])('every byte is as sfdisk writes it', () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'disk');
  for (let seed = 1; seed <= 8; seed++) {
    withSeed(seed, random => {
      const description = randomDescription(random, 20480);
      createImage(path, description.size);
      runOk(['sfdisk', '--quiet', path], sfdiskScript(description));
      const theirs = readFileSync(path);
      const ours = disk(description);
      if (theirs.equals(ours)) return;
      const difference = ours.findIndex((byte, index) => byte !== theirs[index]);
      assert.is(difference, -1, `byte ${difference} is ${ours[difference]}, sfdisk has ${theirs[difference]}`);
    });
  }
});

needs([tool('sfdisk'), tool('sgdisk')])('sfdisk and sgdisk find nothing wrong', () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'disk');
  for (let seed = 100; seed <= 105; seed++) {
    withSeed(seed, random => {
      // More entries need more room at the start.
      const entryCount = random.pick([128, 129, 200, 1024]);
      const description = { ...randomDescription(random, 300 * 512), entryCount };
      createImage(path, description.size);
      writeChunks(path, encodeGpt(description));
      const verified = runTool(['sfdisk', '--verify', path]);
      assert.match(verified.stdout, /^No errors detected\.$/m, verified.stdout + verified.stderr);
      assert.is(verified.stderr, '');
      const { stdout } = runTool(['sgdisk', '--verify', path]);
      assert.match(stdout, /^No problems found\./m, stdout);
      assert.not.match(stdout, /^(Warning|Problem)/im, stdout);
    });
  }
});

test('what was described is read back, whatever sizes sectors and entries have', async () => {
  for (const sectorSize of [512, 1024, 2048, 4096]) {
    for (const entrySize of [128, 256, 512, 4096]) {
      for (const entryCount of [4, 128, 500]) {
        const size = 16 * MIB;
        const partitions: PartitionDescription[] = [
          { type: 'esp', id: DISK_ID, name: 'first', offset: 4 * MIB, size: sectorSize },
          { type: 'root-riscv64', name: 'seconde 😀', size: 3 * MIB, attributes: ['readOnly', 'noAuto'] },
          { type: '01234567-89AB-CDEF-0123-456789ABCDEF', attributes: 0xffff_0000_0000_0007n },
        ];
        const bytes = disk({ size, sectorSize, entrySize, entryCount, id: DISK_ID, partitions });
        const table = await read(bytes);
        const what = `${sectorSize} ${entrySize} ${entryCount}`;
        assert.equal([table.sectorSize, table.entrySize, table.entryCount], [sectorSize, entrySize, entryCount], what);
        assert.equal(
          [table.kind, table.id, table.copy, table.mbr, table.faults],
          ['gpt', DISK_ID, 'primary', 'protective', []],
        );
        const [first, second, third] = table.partitions;
        const usableEnd = (table.lastUsableSector + 1) * sectorSize;
        assert.equal([first!.offset, first!.size, first!.designator, first!.id], [4 * MIB, sectorSize, 'esp', DISK_ID]);
        assert.equal([second!.offset, second!.size, second!.name], [5 * MIB, 3 * MIB, 'seconde 😀']);
        assert.equal([second!.designator, second!.architecture, second!.typeName], ['root', 'riscv64', 'root-riscv64']);
        assert.equal(second!.flags, ['readOnly', 'noAuto']);
        assert.equal([third!.offset, third!.size], [8 * MIB, usableEnd - 8 * MIB], 'up to the end');
        assert.equal([third!.type, third!.typeName], ['01234567-89ab-cdef-0123-456789abcdef', undefined]);
        assert.is(third!.attributes, 0xffff_0000_0000_0007n);
        assert.equal(
          third!.flags,
          ['requiredPartition', 'noBlockIo', 'legacyBiosBootable'],
          'its own bits have no name',
        );
        assert.equal(await checkGpt(bytesSource(bytes)), []);
      }
    }
  }
});

test('what is left open is filled in', async () => {
  const { id, partitions } = await read(
    disk({ size: 4 * MIB, partitions: [{ type: 'swap', size: MIB }, { type: 'home' }] }),
  );
  const ids = [id, ...partitions.map(partition => partition.id)];
  for (const each of ids) assert.match(each, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.is(new Set(ids).size, 3);
  assert.equal(
    partitions.map(({ offset }) => offset),
    [MIB, 2 * MIB],
  );
});

test('many partitions get the entries they need', async () => {
  const partitions = Array.from({ length: 300 }, (_, index) => ({
    type: 'linux-generic',
    name: `p${index}`,
    size: 512,
  }));
  const table = await read(disk({ size: 4 * MIB, alignment: 512, partitions }));
  assert.is(table.entryCount, 300);
  assert.equal(
    table.partitions.map(({ name }) => name),
    partitions.map(({ name }) => name),
  );
});

for (const [why, wrong] of Object.entries({
  'too few for a GPT': { size: 512 * 60 },
  'not a whole number of sectors': { size: MIB + 1 },
  "a sector of 520 bytes can't be": { sectorSize: 520 },
  "an entry of 192 bytes can't be": { entrySize: 192 },
  'too few or too many': { entryCount: 1e9 },
  '1 entries are too few': { entryCount: 1, partitions: [{ type: 'esp', size: 512 }, { type: 'esp' }] },
  'partition 2 overlaps partition 1': {
    partitions: [
      { type: 'esp', size: MIB },
      { type: 'esp', offset: MIB },
    ],
  },
  'is not within 34 to 8158': { partitions: [{ type: 'esp', offset: 512 * 33 }] },
  'sectors 2048 to 8159': { partitions: [{ type: 'esp', size: 512 * 6112 }] },
  'sectors 2048 to 2047': { partitions: [{ type: 'esp', size: 0 }] },
  'does not start and end between sectors': { partitions: [{ type: 'esp', size: 100 }] },
  '"rooot" is neither': { partitions: [{ type: 'rooot' }] },
  '"me" is not a GUID': { partitions: [{ type: 'esp', id: 'me' }] },
  'longer than 36 characters': { partitions: [{ type: 'esp', name: 'x'.repeat(37) }] },
} satisfies Record<string, Partial<GptDescription>>)) {
  test(`refused: ${why}`, () => {
    const description = { size: 4 * MIB, partitions: [], ...wrong };
    assert.throws(
      () => encodeGpt(description),
      (error: Error) => error instanceof InvalidDescriptionError && error.message.includes(why),
    );
  });
}

test.run();
