/** Reading GPTs: those of the real tools, and damaged ones of our own. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32 } from '../../gpt/crc32.ts';
import {
  AmbiguousError,
  bytesSource,
  checkGpt,
  DamagedTableError,
  encodeGpt,
  type GptDescription,
  type GptTable,
  readPartitionTable,
} from '../../gpt/index.ts';
import { needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { createImage, fileSource, MIB, runOk, runTool } from './support.ts';

const SIZE = 4 * MIB;
const DISK_ID = '11111111-2222-3333-4444-555555555555';
const ROOT_ID = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee';
const HOME_ID = 'eeeeeeee-dddd-cccc-bbbb-aaaaaaaaaaaa';
const PARTITIONS = [
  { type: 'root-x86-64', id: ROOT_ID, name: 'root', size: MIB },
  { type: 'home', id: HOME_ID, name: 'home', size: 512 * 1024 },
];

/** A disk with two partitions. */
function disk(changes: Partial<GptDescription> = {}): Uint8Array {
  const description = { size: SIZE, id: DISK_ID, partitions: PARTITIONS, ...changes };
  const bytes = new Uint8Array(description.size);
  for (const { offset, bytes: chunk } of encodeGpt(description)) bytes.set(chunk, offset);
  return bytes;
}

const read = async (bytes: Uint8Array) => (await readPartitionTable(bytesSource(bytes))) as GptTable;

/** The error that reading raises. */
const refusal = (bytes: Uint8Array): Promise<Error> =>
  readPartitionTable(bytesSource(bytes)).then(
    () => assert.unreachable('it was read') as never,
    error => error,
  );

/** Changes a byte of a disk. */
function damage(bytes: Uint8Array, at: number): Uint8Array {
  bytes[at]! ^= 0x55;
  return bytes;
}

/** Puts the checksum of the header in `sector` right again. */
function sign(bytes: Uint8Array, sector: number, sectorSize = 512): Uint8Array {
  const header = bytes.subarray(sector * sectorSize, sector * sectorSize + 92);
  const view = new DataView(header.buffer, header.byteOffset);
  view.setUint32(16, 0, true);
  view.setUint32(16, crc32(header), true);
  return bytes;
}

const LAST = SIZE / 512 - 1;
/** Byte of a field of the header in a sector of 512 bytes. */
const field = (sector: number, at: number): number => sector * 512 + at;

/** What `sfdisk --json` says, and the same from what we read. */
function assertAsSfdisk(path: string, table: GptTable): void {
  const theirs = JSON.parse(runOk(['sfdisk', '--json', path])).partitiontable;
  const { sectorSize, firstUsableSector, lastUsableSector } = table;
  assert.equal(
    [table.id, firstUsableSector, lastUsableSector, sectorSize],
    [theirs.id.toLowerCase(), theirs.firstlba, theirs.lastlba, theirs.sectorsize],
  );
  const ours = table.partitions.map(({ number, offset, size, type, id, name }) => ({
    node: `${path}${number}`,
    start: offset / sectorSize,
    size: size / sectorSize,
    type: type.toUpperCase(),
    uuid: id.toUpperCase(),
    ...(name && { name }),
  }));
  for (const partition of theirs.partitions) delete partition.attrs;
  assert.equal(ours, theirs.partitions);
}

needs([tool('sfdisk')])('what sfdisk writes', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'disk'), 64 * MIB);
  runOk(
    ['sfdisk', '--quiet', path],
    `label: gpt
     size=2M, type=U, name="EFI"
     size=4M, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name="Wurzel ö", attrs="GUID:60 GUID:63"
     7: size=1M, type=S
     5: size=8M, type=R, attrs="RequiredPartition LegacyBIOSBootable"`,
  );
  const table = (await readPartitionTable(fileSource(path))) as GptTable;
  assertAsSfdisk(path, table);
  assert.equal([table.copy, table.mbr, table.faults], ['primary', 'protective', []]);
  assert.equal(
    table.partitions.map(({ number, designator }) => [number, designator]),
    [
      [1, 'esp'],
      [2, 'root'],
      [5, undefined],
      [7, 'swap'],
    ],
  );
  assert.equal(table.partitions[1]!.flags, ['readOnly', 'noAuto']);
  assert.equal(table.partitions[2]!.flags, ['requiredPartition', 'legacyBiosBootable']);
  assert.equal(await checkGpt(fileSource(path)), []);
});

needs([tool('sfdisk'), tool('sgdisk')])('what sgdisk writes, also with more entries', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'disk'), 64 * MIB);
  const command =
    'sgdisk --clear --resize-table=256 --new=1:0:+1M --new=2:0:+2M --new=200:0:0 --change-name=2:two --typecode=2:8309';
  runOk([...command.split(' '), path]);
  const table = (await readPartitionTable(fileSource(path))) as GptTable;
  assertAsSfdisk(path, table);
  assert.equal(
    [table.entryCount, table.partitions[1]!.typeName, table.partitions[2]!.number],
    [256, 'linux-luks', 200],
  );
  assert.equal(await checkGpt(fileSource(path)), []);
});

needs([tool('sgdisk')])('a hybrid MBR', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'disk'), 16 * MIB);
  runOk(['sgdisk', '--clear', '--new=1:0:+1M', '--typecode=1:ef00', '--new=2:0:+2M', '--hybrid=1:2', path]);
  const table = (await readPartitionTable(fileSource(path))) as GptTable;
  assert.is(table.mbr, 'hybrid');
  const shown = table.hybridPartitions.map(({ offset, size, typeName }) => ({ offset, size, typeName }));
  assert.equal(shown, [
    { offset: MIB, size: MIB, typeName: 'esp' },
    { offset: 2 * MIB, size: 2 * MIB, typeName: 'linux' },
  ]);
  assert.is(table.partitions.length, 2);
  assert.equal(await checkGpt(fileSource(path)), []);
});

needs([tool('fdisk')])('sectors of 4096 bytes', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'disk'), 64 * MIB);
  runTool(['fdisk', '--sector-size', '4096', path], 'g\nn\n1\n\n+4M\nn\n2\n\n+8M\nw\n');
  const theirs = runOk(['fdisk', '--sector-size', '4096', '--list', '--output', 'Start,Sectors,UUID', '--bytes', path]);
  const table = (await readPartitionTable(fileSource(path))) as GptTable;
  assert.is(table.sectorSize, 4096);
  const rows = Array.from(theirs.matchAll(/^ *(\d+) +(\d+) ([0-9A-F-]{36})$/gm), ([, ...row]) => row);
  const ours = table.partitions.map(({ offset, size, id }) => [`${offset / 4096}`, `${size / 4096}`, id.toUpperCase()]);
  assert.equal(ours, rows);
  assert.is(ours.length, 2);
  assert.equal(await checkGpt(fileSource(path)), []);
});

for (const [what, at, fault] of [
  ['signature', field(1, 0), 'there is no header'],
  ['revision, and so the checksum', field(1, 8), 'the checksum of the header is '],
  ['size of the header', field(1, 13), 'the header says it has 21852 bytes, where 92 to 512 can be'],
  ['checksum', field(1, 16), 'the checksum of the header is '],
  ['entries', field(2, 60), 'the checksum of the entries is '],
  ['last unused entry', field(33, 511), 'the checksum of the entries is '],
] as const) {
  test(`a damaged primary falls back to the backup: ${what}`, async () => {
    const { copy, faults, partitions, id } = await read(damage(disk(), at));
    assert.is(copy, 'backup');
    assert.is(faults.length, 1);
    assert.ok(faults[0]!.startsWith(`primary copy: ${fault}`), faults[0]);
    assert.equal([id, partitions.map(({ name }) => name)], [DISK_ID, ['root', 'home']]);
    assert.equal(await checkGpt(bytesSource(damage(disk(), at))), faults);
  });
}

for (const [what, at, value, fault] of [
  ['is in another sector', 24, 2, 'the header says it is in sector 2, it is in 1'],
  ['has entries that are outside', 72, 8190, 'its entries, in sector 8190, are not within the disk'],
  ['has 2^32 entries', 80, 0xffff_ffff, '4294967295 entries of 128 bytes are more than the 4194304 bytes allowed'],
  ['has entries of 2^32 bytes', 84, 0xffff_fff8, '128 entries of 4294967288 bytes are more than'],
  ['has entries that are too small', 84, 64, "an entry of 64 bytes can't be"],
] as const) {
  test(`a primary that says what can't be: it ${what}`, async () => {
    const bytes = disk();
    new DataView(bytes.buffer).setUint32(field(1, at), value, true);
    const { copy, faults } = await read(sign(bytes, 1));
    assert.is(copy, 'backup');
    assert.ok(faults[0]!.includes(fault), faults[0]);
  });
}

test('the backup of each size of sector is found', async () => {
  for (const sectorSize of [512, 1024, 2048, 4096]) {
    const { copy, sectorSize: found, partitions } = await read(damage(disk({ sectorSize }), sectorSize));
    assert.equal([copy, found, partitions.length], ['backup', sectorSize, 2]);
  }
});

test('the backup is found where the primary says, when the disk has grown', async () => {
  const grown = new Uint8Array(SIZE + MIB);
  grown.set(disk());
  const source = bytesSource(grown);
  assert.is((await read(grown)).copy, 'primary');
  assert.match(
    (await checkGpt(source)).join('\n'),
    /^the protective MBR covers 8191 .*\n.* backup copy is in sector 8191, not in the last one, 10239$/,
  );
  damage(grown, field(2, 0));
  assert.is((await read(grown)).copy, 'backup');
});

test('two damaged copies are an error that says what is wrong with each', async () => {
  const error = await refusal(damage(damage(disk(), field(1, 60)), field(LAST, 60)));
  assert.instance(error, DamagedTableError);
  assert.match(
    error.message,
    /^reading the GPT: primary copy: the checksum of the header.*; backup copy: the checksum of the header/,
  );
  assert.match(
    (await refusal(disk().subarray(0, 512))).message,
    /primary copy: there is no header; backup copy: the disk is too small/,
  );
});

test('two tables for sectors of unlike sizes are an error', async () => {
  const bytes = disk({ sectorSize: 4096, partitions: [] });
  bytes.set(disk({ entryCount: 4, partitions: [] }).subarray(512, 1024), 512);
  // The entries of both are zeros, here in sector 2 for the one and in sector 16 for the other.
  const error = await refusal(sign(bytes, 1));
  assert.instance(error, AmbiguousError);
  assert.match(error.message, /a primary copy for sectors of 512 and of 4096 bytes/);
});

test('without a protective MBR there is no GPT', async () => {
  const bytes = disk();
  bytes.fill(0, 0, 512);
  assert.is(await readPartitionTable(bytesSource(bytes)), undefined);
  const relabelled = disk();
  relabelled[446 + 4] = 0x83;
  assert.is((await readPartitionTable(bytesSource(relabelled)))?.kind, 'mbr');
});

test('an image that is cut short says so, and shows what is whole', async () => {
  const { copy, faults, partitions } = await read(disk().subarray(0, 2 * MIB + 512 * 100));
  assert.equal([copy, partitions.map(({ number }) => number)], ['primary', [1]]);
  assert.equal(faults, [
    'the disk ends in sector 4195, it is cut short: 8158 should be usable',
    'partition 2 ends in sector 5119, the disk ends in 4195',
  ]);
});

test('partitions that are nowhere are left out, with a fault', async () => {
  const bytes = disk();
  const view = new DataView(bytes.buffer);
  view.setBigUint64(field(2, 32), 5n, true);
  view.setBigUint64(field(2, 128 + 40), 1n, true);
  view.setUint32(field(1, 88), crc32(bytes.subarray(1024, 1024 + 16384)), true);
  const { faults, partitions } = await read(sign(bytes, 1));
  assert.equal(partitions, []);
  assert.equal(faults, [
    'partition 1 is in sectors 5 to 4095, outside of the usable 34 to 8158',
    'partition 2 ends in sector 1, before it starts in 4096',
  ]);
});

test('checkGpt finds what reading does not need to look at', async () => {
  const check = (bytes: Uint8Array) => checkGpt(bytesSource(bytes));
  assert.match((await check(damage(disk(), field(LAST, 60)))).join(), /^backup copy: the checksum of the header/);
  const other = disk();
  other.set(disk({ id: ROOT_ID }).subarray(LAST * 512), LAST * 512);
  assert.equal(await check(other), [`the copies disagree: diskId is ${DISK_ID}, and ${ROOT_ID} in the backup`]);
  const overlapping = disk();
  const view = new DataView(overlapping.buffer);
  view.setBigUint64(field(2, 128 + 32), 3000n, true);
  overlapping.copyWithin(field(2, 128 + 16), field(2, 16), field(2, 32));
  view.setUint32(field(1, 88), crc32(overlapping.subarray(1024, 1024 + 16384)), true);
  assert.match(
    (await check(sign(overlapping, 1))).join('\n'),
    /partitions 1 and 2 overlap\nmore than one partition has the GUID aaaaaaaa/,
  );
  const error = await check(new Uint8Array(MIB)).catch(error => error);
  assert.instance(error, DamagedTableError);
});

test.run();
