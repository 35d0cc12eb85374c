/** `nspawn inspect --json` on images that real tools made: what it tells must be what sfdisk and blkid tell. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Report } from '../../src/inspect/report.ts';
import { squashfs } from '../gpt/crafted.ts';
import { blkid, createImage, fileSource, MIB, runOk, writeChunks } from '../gpt/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { EXT4, gptImage, inspect, reportOn, SMALL } from './support.ts';

const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const at = (name: string): string => join(directory.path, name);

/** The partitions as `sfdisk --json` has them. */
const asSfdisk = (path: string, { table, partitions }: Report): object[] =>
  partitions.map(({ number, offset, size, type, id, label, bootable }) => ({
    node: `${path}${/\d$/.test(path) ? 'p' : ''}${number}`,
    start: offset / table!.sectorSize,
    size: size / table!.sectorSize,
    ...(table!.kind === 'gpt'
      ? { type: type.toUpperCase(), uuid: id.toUpperCase(), ...(label !== null && { name: label }) }
      : { type: Number(type).toString(16), ...(bootable && { bootable }) }),
  }));

/** Holds the table against sfdisk, and each partition's contents against blkid. */
async function compare(path: string): Promise<Report> {
  const report = await reportOn(path);
  const theirs = JSON.parse(runOk(['sfdisk', '--json', path])).partitiontable;
  const partitions = (theirs.partitions ?? []).map(({ attrs, ...rest }: { attrs?: string }) => rest);
  assert.equal(asSfdisk(path, report), partitions);
  assert.is(report.table!.id, theirs.id.toLowerCase().replace('0x', ''));
  for (const { offset, size, content, number } of report.partitions) {
    const part = createImage(at('part'), size);
    writeChunks(part, [{ offset: 0, bytes: fileSource(path).read(offset, size) as Uint8Array }]);
    const { TYPE: type, LABEL: label, UUID: uuid, VERSION: version, USAGE: usage } = blkid(part);
    const ours = content && [content.type, content.label, content.uuid, content.usage];
    assert.equal(ours ?? undefined, type && [type, label ?? null, uuid ?? null, usage], `partition ${number}`);
    assert.is(content?.version ?? undefined, version);
  }
  return report;
}

const TOOLS = ['sfdisk', 'blkid', 'mke2fs'].map(tool);

needs([...TOOLS, ...['mkfs.vfat', 'mkfs.exfat', 'mkswap', 'cryptsetup'].map(tool)])(
  'a GPT, and all fields',
  async () => {
    const pbkdf = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
    const path = gptImage(at('gpt.img'), [
      { type: 'esp', name: 'EFI System', mkfs: ['mkfs.vfat', '-n', 'ESP'] },
      { type: 'root-x86-64', name: 'root', mkfs: [...EXT4, '-L', 'a root'], attributes: ['readOnly'] },
      { type: 'home', mkfs: ['mkfs.exfat', '-L', 'homes'] },
      { type: 'swap', mkfs: ['mkswap', '-q'] },
      { type: 'linux-luks', mkfs: ['cryptsetup', 'luksFormat', '-q', '--type', 'luks2', ...pbkdf], size: 20 * MIB },
      { type: '11111111-2222-3333-4444-555555555555' },
    ]);
    const report = await compare(path);
    assert.equal(Object.keys(report), [
      'path',
      'size',
      'table',
      'content',
      'partitions',
      'warnings',
      'architecture',
      'personality',
      'refusal',
      'mount',
    ]);
    const { partitions, table, ...rest } = report;
    assert.equal(rest, {
      path,
      size: 43 * MIB,
      content: null,
      warnings: [],
      architecture: 'x86-64',
      personality: null,
      refusal: null,
      mount: null,
    });
    assert.equal([table!.kind, table!.sectorSize, table!.copy], ['gpt', 512, 'primary']);
    const root = partitions[1]!;
    assert.equal(root, {
      number: 2,
      offset: 5 * MIB,
      size: SMALL,
      type: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
      typeName: 'root-x86-64',
      id: root.id,
      label: 'root',
      flags: ['readOnly'],
      bootable: false,
      content: {
        type: 'ext4',
        usage: 'filesystem',
        label: 'a root',
        uuid: root.content!.uuid,
        version: '1.0',
        blockSize: 1024,
        size: SMALL,
      },
      mount: { at: '/', fallback: null, readOnly: true, options: ['nodev'] },
      reason: null,
    });
    assert.equal(
      partitions.map(({ mount, reason }) => [mount?.at ?? null, mount?.fallback ?? null, reason]),
      [
        ['/efi', '/boot', null],
        ['/', null, null],
        ['/home', null, null],
        [null, null, 'a container has no swap of its own'],
        [null, null, 'of a type that is not mounted'],
        [null, null, 'of a type that is not mounted'],
      ],
    );
    assert.equal([partitions[5]!.typeName, partitions[5]!.content], [null, null]);
  },
);

needs(TOOLS)('sectors of 4096 bytes', async () => {
  const path = gptImage(at('large-sectors'), [{ type: 'root-x86-64', mkfs: EXT4 }, { type: 'srv' }], 4096);
  const { table, partitions } = await reportOn(path);
  assert.equal([table!.sectorSize, partitions[0]!.offset, partitions[0]!.content!.type], [4096, MIB, 'ext4']);
});

needs(TOOLS)('an MBR', async () => {
  const path = createImage(at('mbr'), 64 * MIB);
  const script = 'size=4M, type=83, bootable\nsize=4M, type=82\nsize=40M, type=5\nsize=4M, type=8e\nsize=4M, type=83\n';
  runOk(['sfdisk', '--quiet', path], `label: dos\nlabel-id: 0x00c0ffee\n${script}`);
  runOk([...EXT4, '-E', `offset=${MIB}`, path, '4096']);
  const report = await compare(path);
  assert.equal([report.table!.kind, report.table!.copy, report.refusal, report.warnings], ['mbr', null, null, []]);
  assert.equal(
    report.partitions.map(({ number, mount, reason }) => [number, mount?.at ?? reason]),
    [
      [1, '/'],
      [2, 'of a type that is not mounted'],
      [3, 'it holds the logical partitions'],
      [4, 'of a type that is not mounted'],
      [5, 'it is not marked as bootable'],
    ],
  );
});

needs(TOOLS)('a file system without a table', async () => {
  const path = createImage(at('bare'), SMALL);
  runOk([...EXT4, '-L', 'bare', path]);
  const { table, content, partitions, mount, refusal } = await reportOn(path);
  const { TYPE, UUID, LABEL } = blkid(path);
  assert.equal([content!.type, content!.uuid, content!.label, content!.size], [TYPE, UUID, LABEL, SMALL]);
  assert.equal([table, partitions, refusal], [null, [], null]);
  assert.equal(mount, { at: '/', fallback: null, readOnly: false, options: ['nodev'] });
});

needs(TOOLS)('what is wrong with an image', async () => {
  const path = gptImage(at('damaged'), [{ type: 'root-x86-64', mkfs: EXT4 }]);
  writeChunks(path, [{ offset: 512 + 60, bytes: Uint8Array.of(1, 2, 3) }]);
  const damaged = await reportOn(path);
  assert.is(damaged.table!.copy, 'backup');
  assert.match(damaged.warnings[0]!, /^primary copy: .*checksum/);
  assert.is(damaged.warnings[1], 'the backup copy of the GPT was read');
  assert.is(damaged.refusal, null);

  const overlapping = createImage(at('overlapping'), 16 * MIB);
  runOk(['sfdisk', '--quiet', '--force', overlapping], 'label: dos\nstart=2048, size=8192\nstart=16384, size=2048\n');
  // The second one is moved to sector 4096, where the first one still is.
  writeChunks(overlapping, [{ offset: 446 + 16 + 8, bytes: Uint8Array.of(0, 16, 0, 0) }]);
  assert.equal((await reportOn(overlapping)).warnings, ['partitions 1 and 2 overlap']);

  const cut = createImage(at('cut'), 64 * MIB);
  runOk([...EXT4, cut]);
  runOk(['truncate', '-s', '32M', cut]);
  assert.equal((await reportOn(cut)).warnings, [
    `it is cut short: its ext4 has ${64 * MIB} bytes, and ${32 * MIB} are there`,
  ]);
});

needs(TOOLS)('signatures of two file systems', async () => {
  const path = gptImage(at('two'), [{ type: 'root-x86-64', mkfs: EXT4 }]);
  writeChunks(path, [{ offset: MIB, bytes: squashfs() }]);
  const { warnings, refusal, partitions } = await reportOn(path);
  assert.match(warnings[0]!, /^partition 1: .*signatures of ext4 .* and squashfs/);
  assert.match(refusal!, /^partition 1 \(root-x86-64\): .*signatures of ext4/);
  assert.is(partitions[0]!.content, null);
});

needs(TOOLS)('a hybrid MBR, and a file system in the place of the whole disk', async () => {
  const path = gptImage(at('hybrid'), [{ type: 'root-x86-64', mkfs: EXT4 }]);
  const entry = Uint8Array.of(0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 32, 0, 0);
  writeChunks(path, [{ offset: 446 + 16, bytes: entry }]);
  assert.equal((await reportOn(path)).warnings, [
    'the MBR is a hybrid one: systems that know no GPT see other partitions',
  ]);
  writeChunks(path, [{ offset: 0, bytes: squashfs().subarray(0, 96) }]);
  const { warnings, mount, partitions } = await reportOn(path);
  assert.is(warnings.at(-1), 'there is a partition table, and the image as a whole is squashfs');
  assert.equal([mount?.at, partitions[0]!.reason], ['/', 'the image as a whole is squashfs']);
});

needs([...TOOLS, root, tool('losetup')])('a block device, of sectors of 4096 bytes', async () => {
  const path = gptImage(at('disk-in-file'), [{ type: 'root-x86-64', mkfs: EXT4 }, { type: 'home' }], 4096);
  const device = runOk(['losetup', '--find', '--show', '--read-only', '--sector-size=4096', path]).trim();
  try {
    const [theirs, ours] = [await reportOn(path), await reportOn(device)];
    assert.equal({ ...ours, path }, theirs);
    assert.match((await inspect(device)).stdout, /1 root-x86-64/);
  } finally {
    runOk(['losetup', '--detach', device]);
  }
});

test('what is no image has a report, too', async () => {
  const path = createImage(at('zeros'), MIB);
  const { table, content, refusal } = await reportOn(path);
  assert.equal([table, content], [null, null]);
  assert.is(refusal, 'there is no partition table, and it holds no known file system');
  assert.is((await inspect(path)).status, 0);
});

test.run();
