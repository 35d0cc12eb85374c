/** Containers from an image with partitions for /, /home and /srv: where each mode writes to, and what the end leaves. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SpawnOptions } from '../../src/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, debian, debianTree } from '../support/tree.ts';
import { assertReleased, busyboxDisk, type DiskOptions, fingerprint, makeDisk, makes, ROOT, shell } from './images.ts';

const it = needs([root, busybox, ...makes('ext4')]);
/** Writes to each directory, and says where that is possible. */
const WRITE = 'for at in / /usr /var /home /srv; do (echo new >$at/written) 2>/dev/null && echo $at; done; true';
const READ = 'cd /; for at in . usr var home srv; do test -e $at/written && echo $at; done; true';
const MOUNTS =
  "sed -n 's,^/dev/loop[0-9]* \\([^ ]*\\) \\([^ ]*\\) \\([^,]*\\),\\1 \\2 \\3,p' /proc/mounts | cut -d, -f1,2";

const DISKS: [string, DiskOptions, string | undefined][] = [
  ['512-byte sectors', {}, undefined],
  ['4096-byte sectors', { sectorSize: 4096 }, undefined],
  ['a table by sgdisk', { maker: 'sgdisk' }, 'sgdisk'],
  ['a table by sfdisk', { maker: 'sfdisk' }, 'sfdisk'],
];

for (const [what, options, maker] of DISKS) {
  const onDisk = needs([root, busybox, ...makes('ext4'), ...(maker ? [tool(maker)] : [])]);
  onDisk(`${what}: all partitions are mounted and written to`, async () => {
    using directory = temporaryDirectory();
    const image = busyboxDisk(join(directory.path, 'disk.raw'), options);
    assert.is(await shell(image, MOUNTS), '/ ext4 rw,nodev\n/home ext4 rw,nodev\n/srv ext4 rw,nodev');
    await assertReleased(image);
    assert.is(
      await shell(image, `ls /home /srv; ${WRITE}`),
      '/home:\nhome\nlost+found\n\n/srv:\nlost+found\nsrv\n/\n/usr\n/var\n/home\n/srv',
    );
    await assertReleased(image);
    assert.is(await shell(image, READ), '.\nusr\nvar\nhome\nsrv');
    await assertReleased(image);
  });
}

needs([root, busybox, tool('systemd-repart'), ...makes('ext4')])('an image made by systemd-repart', async () => {
  using directory = temporaryDirectory();
  const image = join(directory.path, 'disk.raw');
  const partition = (type: string, size: number, files: string) =>
    `[Partition]\nType=${type}\nFormat=ext4\nSizeMinBytes=${size}M\nSizeMaxBytes=${size}M\n${files}`;
  writeFileSync(join(directory.path, '10-root.conf'), partition('root', 32, `CopyFiles=${busyboxTree()}:/\n`));
  writeFileSync(join(directory.path, '20-home.conf'), partition('home', 16, ''));
  const words = [`--definitions=${directory.path}`, '--empty=create', '--size=64M', '--dry-run=no', '--seed=random'];
  execFileSync('systemd-repart', [...words, image], { stdio: 'ignore' });
  assert.is(
    await shell(image, `${MOUNTS}; echo x >/home/written; cat /home/written`),
    '/ ext4 rw,nodev\n/home ext4 rw,nodev\nx',
  );
  await assertReleased(image);
});

/** Which directories can be written to; nothing of it stays. */
const UNCHANGING: [string, SpawnOptions, string][] = [
  ['--read-only', { readOnly: true }, ''],
  ['--volatile=yes', { volatile: 'yes' }, '/\n/var'],
  ['--volatile=state', { volatile: 'state' }, '/var'],
  ['--volatile=overlay', { volatile: 'overlay' }, '/\n/usr\n/var'],
  ['--ephemeral', { ephemeral: true }, '/\n/usr\n/var\n/home\n/srv'],
  ['--ephemeral --read-only', { ephemeral: true, readOnly: true }, ''],
];

for (const [name, options, written] of UNCHANGING) {
  it(`${name}: the image stays as it is, bit for bit`, async () => {
    using directory = temporaryDirectory();
    const image = busyboxDisk(join(directory.path, 'disk.raw'));
    // Mount points are made there the first time.
    await shell(image, 'true');
    const before = fingerprint(image);
    assert.is(await shell(image, WRITE, options), written);
    assert.is(await shell(image, 'ls /home /usr/bin/busybox', options), '/usr/bin/busybox\n\n/home:\nhome\nlost+found');
    assert.is(await shell(image, `${MOUNTS} | grep -v nodev; true`, options), '');
    assert.is(fingerprint(image), before);
    await assertReleased(image);
  });
}

it('device nodes in an image are useless, in an overlay of it, too', async () => {
  using directory = temporaryDirectory();
  const image = busyboxDisk(join(directory.path, 'disk.raw'));
  await shell(image, 'mknod /zero c 1 5; mknod /home/zero c 1 5');
  const script = 'for at in /zero /home/zero; do head -c 1 $at 2>&1; done; true';
  for (const options of [{}, { readOnly: true }, { volatile: 'overlay' } as const, { ephemeral: true }]) {
    assert.match(
      await shell(image, script, options),
      /^head: \/zero: Permission denied\nhead: \/home\/zero: Permission/,
    );
  }
});

needs([root, debian, ...makes('ext4')])('a Debian, in each mode', async () => {
  using directory = temporaryDirectory();
  using home = temporaryDirectory();
  const tree = debianTree();
  const partitions = [
    { type: ROOT, holds: 'ext4', tree, size: 250 },
    { type: 'home', holds: 'ext4', tree: home.path, size: 8 },
    { type: 'srv', holds: 'ext4', size: 8 },
  ];
  const image = makeDisk(join(directory.path, 'debian.raw'), partitions);
  for (const options of [
    {},
    { readOnly: true },
    { volatile: 'yes' },
    { volatile: 'state' },
    { volatile: 'overlay' },
    { ephemeral: true },
  ] as const) {
    const script = 'test -d /usr/lib/systemd && ls /srv && dpkg --print-architecture && mkdir -p /var/x; hostname';
    assert.match(
      await shell(image, script, options),
      /srv\namd64\n.*debian(-[0-9a-f]{16})?$/s,
      JSON.stringify(options),
    );
    await assertReleased(image);
  }
});

test.run();
