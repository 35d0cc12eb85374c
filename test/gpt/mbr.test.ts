/** Reading MBRs, with the chains of logical partitions: those that sfdisk writes, and some that nobody should. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bytesSource, DamagedTableError, type MbrTable, readPartitionTable } from '../../gpt/index.ts';
import { needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { createImage, fileSource, MIB, runOk } from './support.ts';

const SCRIPTS: Record<string, string> = {
  'four primary partitions': `label: dos
    label-id: 0x00c0ffee
    size=1M, type=ef
    size=2M, type=83, bootable
    size=1M, type=82
    type=7`,
  'gaps, and out of order': `label: dos
    4: start=2048, size=100, type=c
    2: start=8192, size=1, type=da`,
  'logical partitions': `label: dos
    size=1M, type=83
    size=20M, type=5
    size=1M, type=83
    size=2M, type=8e, bootable
    size=3M, type=fd
    size=1M, type=82`,
  'one logical partition that fills the extended one': `label: dos
    type=f
    type=83`,
  'an extended partition with nothing in it': `label: dos
    size=4M, type=5`,
  'many logical partitions': `label: dos
    type=5
    ${'size=512, type=83\n'.repeat(25)}`,
  'no partitions': 'label: dos',
};

for (const [what, script] of Object.entries(SCRIPTS)) {
  needs([tool('sfdisk')])(`what sfdisk writes: ${what}`, async () => {
    using directory = temporaryDirectory();
    const path = createImage(join(directory.path, 'disk'), 64 * MIB);
    runOk(['sfdisk', '--quiet', path], `${script}\n`);
    const theirs = JSON.parse(runOk(['sfdisk', '--json', path])).partitiontable;
    const table = (await readPartitionTable(fileSource(path))) as MbrTable;
    assert.equal([table.kind, table.id, table.faults], ['mbr', theirs.id.slice(2), []]);
    const ours = table.partitions.map(({ number, offset, size, type, bootable }) => ({
      node: `${path}${number}`,
      start: offset / 512,
      size: size / 512,
      type: type.toString(16),
      ...(bootable && { bootable }),
    }));
    assert.equal(ours, theirs.partitions ?? []);
    const roles = table.partitions.map(({ number, role }) => [number > 4, role === 'logical']);
    for (const [isAboveFour, isLogical] of roles) assert.is(isLogical, isAboveFour);
  });
}

type Entry = [type: number, start: number, sectors: number, status?: number];

/** A sector with the entries and the signature of an MBR. */
function sector(...entries: Entry[]): Uint8Array {
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  for (const [index, [type, start, sectors, status = 0]] of entries.entries()) {
    const at = 446 + index * 16;
    bytes[at] = status;
    bytes[at + 4] = type;
    view.setUint32(at + 8, start, true);
    view.setUint32(at + 12, sectors, true);
  }
  bytes.set([0x55, 0xaa], 510);
  return bytes;
}

/** A disk of a MiB with sectors at those places. */
function disk(sectors: Record<number, Uint8Array>, size = MIB): Uint8Array {
  const bytes = new Uint8Array(size);
  for (const [number, each] of Object.entries(sectors)) bytes.set(each, Number(number) * 512);
  return bytes;
}

const read = async (bytes: Uint8Array) => (await readPartitionTable(bytesSource(bytes))) as MbrTable;
const refusal = (bytes: Uint8Array): Promise<Error> =>
  read(bytes).then(
    () => assert.unreachable('it was read') as never,
    error => error,
  );

test('identifiers are as the kernel makes them', async () => {
  const bytes = disk({ 0: sector([0x83, 8, 8], [5, 100, 100]), 100: sector([0x83, 2, 8]) });
  new DataView(bytes.buffer).setUint32(440, 0xc0ffee, true);
  const { id, partitions } = await read(bytes);
  assert.equal(
    [id, partitions.map(partition => partition.id)],
    ['00c0ffee', ['00c0ffee-01', '00c0ffee-02', '00c0ffee-05']],
  );
  assert.equal(
    partitions.map(({ role, typeName }) => [role, typeName]),
    [
      ['primary', 'linux'],
      ['extended', 'extended'],
      ['logical', 'linux'],
    ],
  );
});

for (const [what, sectors, place] of [
  ['a link to itself', { 0: sector([5, 100, 100]), 100: sector([0x83, 1, 1], [5, 0, 50]) }, 100],
  [
    'back to an earlier link',
    {
      0: sector([5, 100, 900]),
      100: sector([0x83, 1, 1], [5, 50, 50]),
      150: sector([0x83, 1, 1], [5, 60, 50]),
      160: sector([5, 50, 50]),
    },
    150,
  ],
] as const) {
  test(`a chain that goes round in a circle is refused: ${what}`, async () => {
    const error = await refusal(disk(sectors));
    assert.instance(error, DamagedTableError);
    assert.match(error.message, `in a circle at sector ${place}`);
  });
}

test('a chain without end is refused', async () => {
  const links: Record<number, Uint8Array> = { 0: sector([5, 1, 2000]) };
  for (let link = 1; link < 1500; link++) links[link] = sector([0x83, 1, 1], [5, link, 1]);
  const error = await refusal(disk(links));
  assert.instance(error, DamagedTableError);
  assert.match(error.message, 'more than 256 logical partitions');
});

test('a chain that breaks off shows what is before, with a fault', async () => {
  const chain = { 0: sector([0x83, 1, 1], [5, 100, 900]), 100: sector([0x83, 1, 1], [5, 50, 50]) };
  const { partitions, faults } = await read(disk(chain));
  assert.equal(
    partitions.map(({ number }) => number),
    [1, 2, 5],
  );
  assert.equal(faults, ['the logical partitions break off: there is no link in sector 150']);
  const outside = { ...chain, 100: sector([0x83, 1, 1], [5, 0xffff_ff00, 50]) };
  assert.equal((await read(disk(outside))).faults.length, 1);
});

test('what is beyond the end is left out, with a fault', async () => {
  const { partitions, faults } = await read(
    disk({ 0: sector([0x83, 8, 4096], [0x83, 8, 8], [5, 100, 100]), 100: sector([0x83, 1, 200]) }),
  );
  assert.equal(
    partitions.map(({ number }) => number),
    [2, 3, 5],
  );
  assert.equal(faults, [
    'partition 5 reaches beyond the extended partition 3',
    'partition 1 reaches beyond the end of the disk',
  ]);
});

test('sectors count as the source says', async () => {
  const bytes = disk({ 0: sector([0x83, 8, 8]) });
  const { sectorSize, partitions } = (await readPartitionTable({
    ...bytesSource(bytes),
    sectorSize: 4096,
  })) as MbrTable;
  assert.equal([sectorSize, partitions[0]!.offset, partitions[0]!.size], [4096, 32768, 32768]);
});

test('what only ends like an MBR is none', async () => {
  assert.is(await read(disk({ 0: sector([0x83, 8, 8, 0x12]) })), undefined, 'code where the entries are');
  const unsigned = disk({ 0: sector([0x83, 8, 8]) });
  unsigned[511] = 0;
  assert.is(await read(unsigned), undefined);
  assert.is(await read(new Uint8Array(100)), undefined);
});

needs([tool('mkfs.vfat'), tool('sfdisk')])('a FAT has no partition table', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'fat'), 4 * MIB);
  runOk(['mkfs.vfat', path]);
  assert.is(await readPartitionTable(fileSource(path)), undefined);
  runOk(['mkfs.vfat', '--mbr=y', path]);
  assert.is(await readPartitionTable(fileSource(path)), undefined, 'nor if it pretends');
});

test.run();
