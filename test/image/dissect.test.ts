/** What of a disk is mounted where, and why not: each rule, on tables that gpt's writer makes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bytesSource, type Chunk, encodeGpt, type SuperblockType } from '../../gpt/index.ts';
import { readDisk } from '../../src/image/disk.ts';
import { type Dissection, dissect, type Host } from '../../src/image/dissect.ts';
import { varUuid } from '../../src/image/var-uuid.ts';
import { MIB } from '../gpt/support.ts';
import { bareDisk, contentOf, gptDisk, HOST, type Made, mbrDisk } from './support.ts';

/** `1 on /`, `3 on /home ro`, … */
const mounts = ({ mounts }: Dissection): string[] =>
  mounts.map(({ number, mountPoint, readOnly }) => `${number ?? 'all'} on ${mountPoint}${readOnly ? ' ro' : ''}`);

/** By number, why not. */
const reasons = ({ notMounted }: Dissection): Record<number, string> =>
  Object.fromEntries(notMounted.map(({ number, reason }) => [number, reason]));

const dissected = async (...partitions: Made[]): Promise<Dissection> => dissect(await gptDisk(...partitions), HOST);

const ROOT: Made = { type: 'root-x86-64' };

test('every kind at its place, in the order of mounting', async () => {
  const id = varUuid(HOST.machineId!);
  const types = ['esp', 'xbootldr', 'tmp', 'var', 'srv', 'home', 'usr-x86-64', 'root-x86-64'];
  const partitions = types.map(type => ({
    type,
    ...(type === 'var' && { id }),
    ...(type === 'esp' && { holds: 'vfat' as const }),
  }));
  const found = await dissected(...partitions);
  assert.equal(mounts(found), [
    '8 on /',
    '7 on /usr',
    '6 on /home',
    '5 on /srv',
    '4 on /var',
    '3 on /var/tmp',
    '2 on /boot',
    '1 on /efi',
  ]);
  assert.equal([found.notMounted, found.refusal, found.architecture], [[], undefined, 'x86-64']);
  assert.equal(found.mounts[0], {
    number: 8,
    offset: 8 * MIB,
    size: MIB,
    flags: [],
    designator: 'root',
    mountPoint: '/',
    readOnly: false,
    fileSystem: 'ext4',
    options: ['nodev'],
  });
});

test('boot partitions are for no one to run or follow anything on', async () => {
  const { mounts } = await dissected(ROOT, { type: 'esp', holds: 'vfat' }, { type: 'xbootldr' }, { type: 'tmp' });
  const closed = ['nodev', 'nosuid', 'noexec', 'nosymfollow'];
  assert.equal(
    mounts.map(({ designator, options, fallback }) => [designator, options, fallback]),
    [
      ['root', ['nodev'], undefined],
      ['tmp', ['nodev', 'nosuid'], undefined],
      ['xbootldr', closed, undefined],
      ['esp', [...closed, 'umask=0077'], '/boot'],
    ],
  );
});

test('the first by number is taken', async () => {
  const found = await dissected({ ...ROOT, name: 'os_1' }, { ...ROOT, name: 'os_2' }, { type: 'srv' }, { type: 'srv' });
  assert.equal(mounts(found), ['1 on /', '3 on /srv']);
  assert.equal(reasons(found), {
    2: 'partition 1 (root-x86-64) comes first',
    4: 'partition 3 (srv) comes first',
  });
});

test('no-auto is heeded, and the next one taken', async () => {
  for (const type of ['root-x86-64', 'usr-x86-64', 'home', 'srv', 'tmp', 'xbootldr', 'linux-generic']) {
    const others: Made[] = ['root-x86-64', 'linux-generic'].includes(type) ? [] : [ROOT];
    const found = await dissected({ type, attributes: ['noAuto'] }, { type }, ...others);
    assert.ok(
      mounts(found).some(line => line.startsWith('2 on ')),
      type,
    );
    assert.equal(reasons(found), { 1: 'it is marked as not to be mounted (no-auto)' }, type);
  }
});

test('an ESP knows no-block-io instead', async () => {
  const found = await dissected(
    ROOT,
    { type: 'esp', holds: 'vfat', attributes: ['noBlockIo'] },
    { type: 'esp', holds: 'vfat', attributes: ['noAuto', 'readOnly'] },
  );
  assert.equal(mounts(found), ['1 on /', '3 on /efi']);
  assert.equal(reasons(found), { 2: 'it is marked as not for firmware (no-block-io)' });
});

test('read-only by attribute, or as the file system is', async () => {
  const found = await dissected(
    { ...ROOT, attributes: ['readOnly'] },
    { type: 'usr-x86-64', holds: 'erofs' },
    { type: 'home', attributes: ['growFileSystem', 'legacyBiosBootable'] },
    { type: 'srv', holds: 'squashfs' },
  );
  assert.equal(mounts(found), ['1 on / ro', '2 on /usr ro', '3 on /home', '4 on /srv ro']);
  assert.equal(found.mounts[2]!.flags, ['legacyBiosBootable', 'growFileSystem']);
});

test('a native root goes before the others, then the secondary architecture', async () => {
  const on = async (host: Host['architecture'], ...types: string[]) => {
    const { mounts, architecture, personality } = dissect(await gptDisk(...types.map(type => ({ type }))), {
      architecture: host,
    });
    return [mounts[0]?.number, architecture, personality];
  };
  assert.equal(await on('x86-64', 'root-arm64', 'root-x86', 'root-x86-64'), [3, 'x86-64', undefined]);
  assert.equal(await on('x86-64', 'root-arm64', 'root-x86'), [2, 'x86', 'x86']);
  assert.equal(await on('x86-64', 'root-riscv64', 'root-arm64'), [1, 'riscv64', undefined]);
  assert.equal(await on('arm64', 'root-x86-64', 'root-arm'), [2, 'arm', 'arm']);
  assert.equal(await on('arm64', 'root-arm', 'root-arm64'), [2, 'arm64', undefined]);
  assert.equal(await on('x86-64', 'usr-x86'), [1, 'x86', 'x86'], 'so it is with /usr alone');
});

test('/usr is of the architecture of the root', async () => {
  const found = await dissected({ type: 'root-x86' }, { type: 'usr-x86-64' }, { type: 'usr-x86' });
  assert.equal(mounts(found), ['1 on /', '3 on /usr']);
  assert.equal(reasons(found), { 2: 'it is for x86-64, and partition 1 (root-x86) for x86' });
});

test('/usr alone is enough', async () => {
  const found = await dissected({ type: 'linux-generic' }, { type: 'usr-x86-64' });
  assert.equal([mounts(found), found.refusal], [['2 on /usr'], undefined]);
  assert.equal(reasons(found), { 1: 'generic, and partition 2 (usr-x86-64) is marked for what it is' });
});

test('/var is for one machine', async () => {
  const id = varUuid(HOST.machineId!);
  assert.is(id, '24e43059-9734-49cd-a32e-bcae30d648ed', 'as systemd-id128 machine-id --app-specific= has it');
  for (const digit of '0123456789abcdef') {
    const other = varUuid(HOST.machineId!.slice(1) + digit);
    assert.match(other, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'of version 4');
  }
  assert.equal(mounts(await dissected(ROOT, { type: 'var', id })), ['1 on /', '2 on /var']);
  const other = await dissected(ROOT, { type: 'var' }, { type: 'var', id });
  assert.equal(mounts(other), ['1 on /', '3 on /var']);
  assert.equal(reasons(other), { 2: 'it is for a machine with another machine id' });
  const unknown = dissect(await gptDisk(ROOT, { type: 'var', id }), { architecture: 'x86-64' });
  assert.equal(reasons(unknown), { 2: 'it is for one machine, and this one has no machine id' });
});

test('what is never mounted', async () => {
  const found = await dissected(
    ROOT,
    { type: 'swap', holds: 'swap' },
    { type: 'user-home' },
    { type: 'microsoft-basic-data' },
    { type: '11111111-2222-3333-4444-555555555555' },
  );
  assert.equal(mounts(found), ['1 on /']);
  assert.equal(reasons(found), {
    2: 'a container has no swap of its own',
    3: 'the home directory of one user',
    4: 'of a type that is not mounted',
    5: 'of a type that is not mounted',
  });
  assert.is(found.refusal, undefined);
});

test('one generic Linux partition is the root', async () => {
  const found = await dissected({ type: 'esp', holds: 'vfat' }, { type: 'linux-generic', attributes: ['readOnly'] });
  assert.equal(mounts(found), ['2 on / ro', '1 on /efi']);
  assert.equal([found.mounts[0]!.designator, found.architecture], ['root', undefined]);
});

test('two are one too many', async () => {
  const found = await dissected({ type: 'linux-generic' }, { type: 'linux-generic' }, { type: 'home' });
  assert.is(
    found.refusal,
    "there is no root partition, and which of the generic Linux partitions 1, 2 it is isn't clear",
  );
  assert.equal(reasons(found), { 1: found.refusal, 2: found.refusal });
});

test('a disk without a root is refused, with what comes nearest', async () => {
  const found = await dissected({ type: 'home' }, { type: 'swap', holds: 'swap' });
  assert.is(found.refusal, 'there is no root partition');
  const near = await dissected({ ...ROOT, attributes: ['noAuto'] });
  assert.is(
    near.refusal,
    'there is no root partition; partition 1 (root-x86-64): it is marked as not to be mounted (no-auto)',
  );
  assert.is((await dissected()).refusal, 'there is no root partition', 'an empty table');
});

for (const [holds, why] of [
  ['crypto_LUKS', 'it is encrypted (LUKS2), which is not supported'],
  ['LVM2_member', 'it holds LVM2_member, which is no file system'],
  ['swap', 'it holds swap, which is no file system'],
  ['DM_verity_hash', 'it holds DM_verity_hash, which is no file system'],
  ['nothing', 'it holds no known file system'],
] as [SuperblockType | 'nothing', string][]) {
  test(`${holds} where a file system should be refuses the image and names the partition`, async () => {
    const root = await dissected({ ...ROOT, holds }, { type: 'home' });
    assert.is(root.refusal, `partition 1 (root-x86-64): ${why}`);
    assert.equal([mounts(root), reasons(root)], [['2 on /home'], { 1: why }]);
    const home = await dissected(ROOT, { type: 'home', holds });
    assert.is(home.refusal, `partition 2 (home): ${why}`, 'a home that is missing is not passed over');
    assert.is(
      dissect(await mbrDisk({ type: 0x83, bootable: true, holds }), HOST).refusal,
      `partition 1 (linux): ${why}`,
    );
  });
}

test('of several that refuse it the first one in the order of mounting is named', async () => {
  const found = await dissected({ type: 'home', holds: 'swap' }, { ...ROOT, holds: 'nothing' });
  assert.is(found.refusal, 'partition 2 (root-x86-64): it holds no known file system');
  assert.equal(Object.keys(reasons(found)), ['1', '2']);
});

test('so do two signatures, and an ESP that is not vfat', async () => {
  const two = await dissected({ ...ROOT, holds: { fault: 'signatures of two' } });
  assert.is(two.refusal, 'partition 1 (root-x86-64): signatures of two');
  const esp = await dissected(ROOT, { type: 'esp' });
  assert.is(esp.refusal, 'partition 2 (esp): it holds ext4, and an EFI system partition is vfat');
});

test('verity data is left alone, and what it protects mounted', async () => {
  const found = await dissected(ROOT, { type: 'root-x86-64-verity', holds: 'DM_verity_hash' });
  assert.equal(mounts(found), ['1 on /']);
  assert.equal(reasons(found), { 2: 'dm-verity is not supported: nothing is verified' });
});

test('a signed root is not written to', async () => {
  const signature = { type: 'root-x86-64-verity-sig', holds: 'nothing' as const };
  const found = await dissected(ROOT, { type: 'root-x86-64-verity', holds: 'DM_verity_hash' }, signature);
  assert.equal(mounts(found), ['1 on / ro']);
});

test('verity data without what it protects is refused', async () => {
  for (const [type, other] of [
    ['root-x86-64-verity', 'root-arm64'],
    ['root-x86-64-verity-sig', 'root-x86'],
    ['root-x86-verity', 'root-arm64'],
    ['usr-x86-64-verity', 'root-x86-64'],
    ['usr-x86-64-verity', 'home'],
  ] as const) {
    const { refusal } = await dissected({ type, holds: 'nothing' }, { type: other });
    assert.is(refusal, `partition 1 (${type}): what it is the verity data of is missing`);
  }
  const unhashed = await dissected(ROOT, { type: 'root-x86-64-verity-sig', holds: 'nothing' });
  assert.is(unhashed.refusal, 'partition 2 (root-x86-64-verity-sig): what it is the verity data of is missing');
  const marked = await dissected(ROOT, { type: 'usr-x86-64-verity', holds: 'nothing', attributes: ['noAuto'] });
  assert.is(marked.refusal, undefined, 'no-auto holds for it, too');
});

test('an MBR: one bootable partition of Linux, and that of the boot loader', async () => {
  const disk = await mbrDisk({ type: 0x83 }, { type: 0x83, bootable: true }, { type: 0xea }, { type: 0xef });
  const found = dissect(disk, HOST);
  assert.equal(mounts(found), ['2 on /', '3 on /boot']);
  assert.equal(reasons(found), { 1: 'it is not marked as bootable', 4: 'of a type that is not mounted' });
  const none = dissect(await mbrDisk({ type: 0x83 }), HOST);
  assert.is(none.refusal, 'there is no root partition; partition 1 (linux): it is not marked as bootable');
  const two = dissect(await mbrDisk({ type: 0x83, bootable: true }, { type: 0x83, bootable: true }), HOST);
  assert.match(two.refusal!, /generic Linux partitions 1, 2/);
});

test('a file system without a table is the root', () => {
  const found = dissect(bareDisk('ext4'), HOST);
  assert.equal(mounts(found), ['all on /']);
  assert.equal([found.mounts[0]!.offset, found.mounts[0]!.size], [0, MIB]);
  assert.equal(mounts(dissect(bareDisk('squashfs'), HOST)), ['all on / ro']);
});

test('what is no file system either is refused', () => {
  const refusal = (...args: Parameters<typeof bareDisk>) => dissect(bareDisk(...args), HOST).refusal;
  assert.is(refusal('crypto_LUKS'), 'it is encrypted (LUKS2), which is not supported');
  assert.is(refusal('DM_verity_hash'), 'it holds DM_verity_hash, which is no file system');
  assert.is(refusal('swap'), 'there is no partition table, and it holds swap, which is no file system');
  assert.is(refusal('nothing'), 'there is no partition table, and it holds no known file system');
  assert.is(refusal({ fault: 'signatures of two' }), 'signatures of two');
});

test('a file system on all of the disk goes before the table', async () => {
  const found = dissect({ ...(await gptDisk(ROOT)), whole: contentOf('iso9660') }, HOST);
  assert.equal(mounts(found), ['all on / ro']);
  assert.equal(reasons(found), { 1: 'the image as a whole is iso9660' });
});

test('a damaged table is refused', async () => {
  const bytes = new Uint8Array(4 * MIB);
  bytes.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff], 446);
  bytes.set([0x55, 0xaa], 510);
  const { refusal, mounts } = dissect(await readDisk(bytesSource(bytes)), HOST);
  assert.match(refusal!, /^reading the GPT: primary copy: .*; backup copy: /);
  assert.equal(mounts, []);
});

test('reading a disk reads little of it', async () => {
  const size = 3072 * MIB;
  const partitions = [{ type: 'root-x86-64', size: 1024 * MIB }, { type: 'home' }];
  const [{ bytes: start }] = encodeGpt({ size, partitions }) as [Chunk, Chunk];
  let total = 0;
  const disk = await readDisk({
    size,
    read(offset, length) {
      total += length;
      const bytes = new Uint8Array(length);
      if (offset < start.length) bytes.set(start.subarray(offset, offset + length));
      return bytes;
    },
  });
  assert.is(disk.partitions.length, 2);
  assert.ok(total < MIB, `${total} bytes`);
});

test.run();
