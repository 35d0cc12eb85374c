/** Superblocks for which the tools want block devices or aren't in Debian: made here, and held against mdadm and blkid. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AmbiguousError, bytesSource, encodeGpt, findSuperblocks, readSuperblock } from '../../gpt/index.ts';
import { needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  bcachefs,
  DEVICE_UUID,
  DISK_SIZE,
  lvmLabel,
  md0,
  md1,
  squashfs,
  UUID,
  uberblocks,
  zfsPairs,
} from './crafted.ts';
import { blkid, createImage, fileSource, MIB, runOk, writeChunks } from './support.ts';

/** A file with those blocks at those places. */
function image(path: string, blocks: Record<number, Uint8Array>, size = DISK_SIZE): string {
  createImage(path, size);
  writeChunks(
    path,
    Object.entries(blocks).map(([offset, bytes]) => ({ offset: Number(offset), bytes })),
  );
  return path;
}

for (const [version, offset] of [
  ['1.0', DISK_SIZE - 8192],
  ['1.1', 0],
  ['1.2', 4096],
] as const) {
  needs([tool('blkid'), tool('mdadm')])(`a RAID member of version ${version}`, async () => {
    using directory = temporaryDirectory();
    const path = image(join(directory.path, 'md'), { [offset]: md1(offset) });
    assert.match(runOk(['mdadm', '--examine', path]), /Checksum : \w+ - correct/, 'what this test made is right');
    const { UUID: uuid, UUID_SUB: deviceUuid, LABEL: label, VERSION, TYPE } = blkid(path);
    assert.is(VERSION, version);
    assert.equal(await readSuperblock(fileSource(path)), {
      type: TYPE,
      label,
      uuid,
      deviceUuid,
      version,
      size: 4 * MIB,
      usage: 'raid',
      offset,
    });
  });
}

for (const bigEndian of [false, true]) {
  const order = bigEndian ? 'big' : 'little';
  needs([tool('blkid'), tool('mdadm')])(`a RAID member of version 0.90, ${order}-endian`, async () => {
    using directory = temporaryDirectory();
    const path = image(join(directory.path, 'md'), { [DISK_SIZE - 65536]: md0(bigEndian) });
    if (!bigEndian) assert.match(runOk(['mdadm', '--examine', path]), /Checksum : \w+ - correct/);
    const { UUID: uuid, VERSION: version } = blkid(path);
    const found = await readSuperblock(fileSource(path));
    assert.equal([found?.uuid, found?.version, found?.size], [uuid, version, 4 * MIB]);
    assert.is(uuid, UUID);
  });
}

test('a RAID member of version 0.90 in the last partition is not the whole disk', async () => {
  const disk = new Uint8Array(DISK_SIZE);
  disk.set(md0(), DISK_SIZE - 65536);
  // One partition from 1 MiB to the end.
  disk.set([0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 8, 0, 0, 0, 0x38, 0, 0], 446);
  disk.set([0x55, 0xaa], 510);
  assert.is(await readSuperblock(bytesSource(disk)), undefined);
  assert.is(
    (await readSuperblock(bytesSource(disk.subarray(MIB))))?.type,
    'linux_raid_member',
    'in the partition it is',
  );
});

for (const sector of [0, 1, 3]) {
  needs([tool('blkid')])(`a physical volume with its label in sector ${sector}`, async () => {
    using directory = temporaryDirectory();
    const path = image(join(directory.path, 'pv'), { [sector * 512]: lvmLabel(sector) });
    const { UUID: uuid, VERSION: version, TYPE: type } = blkid(path);
    assert.is(type, 'LVM2_member');
    const found = await readSuperblock(fileSource(path));
    assert.equal([found?.uuid, found?.version, found?.type, found?.size], [uuid, version, type, DISK_SIZE]);
  });
}

needs([tool('blkid')])('a device of a ZFS pool', async () => {
  using directory = temporaryDirectory();
  const pairs = { version: 5000n, name: 'tank', state: 0n, pool_guid: 12345678901234567890n, guid: 42n };
  // blkid looks for it from 64 MiB on.
  const path = image(join(directory.path, 'zfs'), { 16384: zfsPairs(pairs), 131072: uberblocks() }, 64 * MIB);
  const { UUID: uuid, UUID_SUB: deviceUuid, VERSION: version, LABEL: label, TYPE: type } = blkid(path);
  assert.is(type, 'zfs_member');
  const found = await readSuperblock(fileSource(path));
  assert.equal(found, { type, label, uuid, deviceUuid, version, usage: 'raid', offset: 16384 });
});

for (const members of ['v1', 'v2'] as const) {
  test(`bcachefs with members of ${members}`, async () => {
    const disk = new Uint8Array(DISK_SIZE);
    disk.set(bcachefs(members), 4096);
    const { uuid, deviceUuid, label, version, blockSize, size } = (await readSuperblock(bytesSource(disk)))!;
    assert.equal([uuid, deviceUuid, label, version], [UUID, DEVICE_UUID, 'bcachefs label', '1000']);
    assert.equal([blockSize, size], [4096, 2 * 100 * 256 * 512]);
  });
}

needs([tool('blkid'), tool('cryptsetup')])('the second header of LUKS2 stands in for the first one', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'luks'), 20 * MIB);
  const pbkdf = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
  runOk(['cryptsetup', 'luksFormat', '-q', '--type', 'luks2', ...pbkdf, '--label', 'two', path, '-'], 'password');
  writeChunks(path, [{ offset: 0, bytes: new Uint8Array(4096) }]);
  const { UUID: uuid, LABEL: label, TYPE: type } = blkid(path);
  assert.is(type, 'crypto_LUKS');
  const found = await readSuperblock(fileSource(path));
  assert.equal([found?.uuid, found?.label, found?.offset], [uuid, label, 0x4000]);
});

/** The bytes of what a tool makes in a file. */
function made(size: number, ...command: string[]): Uint8Array {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'image'), size);
  runOk([...command, path]);
  return fileSource(path).read(0, size) as Uint8Array;
}

needs([tool('blkid'), tool('mke2fs'), tool('mkfs.btrfs')])('two that exclude each other are an error', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'both'), 110 * MIB);
  runOk(['mkfs.btrfs', '-q', path]);
  // As if a tool that does not clear what was before had made an ext2.
  writeChunks(path, [{ offset: 0, bytes: made(DISK_SIZE, 'mke2fs', '-q', '-F').subarray(0, 4096) }]);
  assert.ok(blkid(path)['AMBIVALENT'], 'blkid refuses it');
  const found = await findSuperblocks(fileSource(path));
  assert.equal(found.map(({ type }) => type).sort(), ['btrfs', 'ext2']);
  const error = await readSuperblock(fileSource(path)).catch(error => error);
  assert.instance(error, AmbiguousError);
  assert.match(error.message, /signatures of ext2 \(at byte 1024\) and btrfs \(at byte 65536\)/);
  assert.equal(error.superblocks, found);
});

test('a RAID 1 goes before the file system that shows through', async () => {
  const disk = new Uint8Array(DISK_SIZE);
  disk.set(squashfs(), 0);
  disk.set(md1(DISK_SIZE - 8192), DISK_SIZE - 8192);
  const source = bytesSource(disk);
  assert.is((await readSuperblock(source))?.version, '1.0');
  assert.equal(
    (await findSuperblocks(source)).map(({ type }) => type),
    ['linux_raid_member', 'squashfs'],
  );
});

test('so it does when it is made of a physical volume', async () => {
  const disk = new Uint8Array(DISK_SIZE);
  disk.set(lvmLabel(1), 512);
  disk.set(md1(DISK_SIZE - 8192), DISK_SIZE - 8192);
  assert.is((await readSuperblock(bytesSource(disk)))?.type, 'linux_raid_member');
});

test('one that is not where it says it is does not count', async () => {
  const disk = new Uint8Array(DISK_SIZE);
  disk.set(md1(4096), 0);
  disk.set(lvmLabel(1), 1024);
  assert.equal(await findSuperblocks(bytesSource(disk)), []);
});

needs([tool('blkid'), tool('mkswap')])('swap of a machine of the other byte order', async () => {
  using directory = temporaryDirectory();
  const path = createImage(join(directory.path, 'swap'), MIB);
  runOk(['mkswap', '-q', '-L', 'other', path]);
  const header = fileSource(path).read(1024, 12) as Uint8Array;
  for (const at of [0, 4, 8]) header.subarray(at, at + 4).reverse();
  writeChunks(path, [{ offset: 1024, bytes: header }]);
  const { TYPE: type, LABEL: label, UUID: uuid, VERSION: version } = blkid(path);
  assert.is(type, 'swap');
  const found = await readSuperblock(fileSource(path));
  assert.equal(
    [found?.type, found?.label, found?.uuid, found?.version, found?.size],
    [type, label, uuid, version, MIB],
  );
});

for (const signature of ['S1SUSPEND\0', 'S2SUSPEND\0', 'ULSUSPEND\0', 'LINHIB0001']) {
  needs([tool('blkid'), tool('mkswap')])(`swap of a hibernated machine: ${signature.slice(0, 9)}`, async () => {
    using directory = temporaryDirectory();
    const path = createImage(join(directory.path, 'swap'), MIB);
    runOk(['mkswap', '-q', '-L', 'asleep', path]);
    writeChunks(path, [{ offset: 4086, bytes: Buffer.from(signature, 'latin1') }]);
    const { TYPE: type, LABEL: label, UUID: uuid, VERSION: version, USAGE: usage } = blkid(path);
    assert.is(type, 'swsuspend');
    const found = await readSuperblock(fileSource(path));
    assert.equal(
      [found?.type, found?.label, found?.uuid, found?.version, found?.usage, found?.size],
      [type, label, uuid, version, usage, MIB],
    );
  });
}

test('two that could both be the outermost are an error', async () => {
  const disk = new Uint8Array(DISK_SIZE);
  disk.set(lvmLabel(1), 512);
  disk.set(bcachefs('v1'), 4096);
  assert.is((await readSuperblock(bytesSource(disk)))?.type, 'LVM2_member', 'before a file system');
  disk.set(zfsPairs({ version: 5000n, guid: 1n }), 16384);
  let message = '';
  await readSuperblock(bytesSource(disk)).catch(error => (message = error.message));
  assert.match(message, /LVM2_member .* and zfs_member/);
});

needs([tool('mke2fs'), tool('mkfs.xfs'), tool('mkfs.btrfs'), tool('mkfs.f2fs'), tool('mkfs.exfat')])(
  'a superblock with a wrong checksum does not count',
  async () => {
    for (const [size, at, ...command] of [
      [DISK_SIZE, 1024 + 120, 'mke2fs', '-q', '-F', '-t', 'ext4', '-O', 'metadata_csum'],
      [300 * MIB, 108, 'mkfs.xfs', '-q'],
      [110 * MIB, 65536 + 299, 'mkfs.btrfs', '-q'],
      [64 * MIB, 1024 + 124, 'mkfs.f2fs', '-q', '-O', 'extra_attr,sb_checksum'],
      [DISK_SIZE, 100, 'mkfs.exfat'],
    ] as [number, number, ...string[]][]) {
      using directory = temporaryDirectory();
      const path = createImage(join(directory.path, 'image'), size);
      runOk([...command, path]);
      assert.ok(await readSuperblock(fileSource(path)), `${command[0]}: before`);
      writeChunks(path, [{ offset: at, bytes: Uint8Array.of(0x41) }]);
      assert.is(await readSuperblock(fileSource(path)), undefined, `${command[0]}: after`);
    }
  },
);

test('nor does that of a RAID member', async () => {
  const disk = new Uint8Array(DISK_SIZE);
  disk.set(md1(4096), 4096);
  disk[4096 + 40] = 0x41;
  assert.is(await readSuperblock(bytesSource(disk)), undefined);
});

test('nothing is nothing', async () => {
  assert.is(await readSuperblock(bytesSource(new Uint8Array(0))), undefined);
  assert.is(await readSuperblock(bytesSource(new Uint8Array(511).fill(0xff))), undefined);
  assert.is(await readSuperblock(bytesSource(new Uint8Array(2 * MIB))), undefined);
  const disk = new Uint8Array(DISK_SIZE);
  for (const { offset, bytes } of encodeGpt({ size: DISK_SIZE, partitions: [] })) disk.set(bytes, offset);
  assert.is(await readSuperblock(bytesSource(disk)), undefined, 'a partition table is no superblock');
});

test.run();
