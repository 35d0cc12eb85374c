/** --ephemeral of disk images: overlays over their file systems, which go with the containers. */
import { chmodSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nspawn } from '../cli/support.ts';
import {
  assertReleased,
  busyboxDisk,
  fingerprint,
  loopsOf,
  makeFileSystem,
  makes,
  off,
  shell,
} from '../image/images.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { hiddenIn } from './support.ts';

const it = needs([root, busybox, ...makes('ext4')]);

it('many run from one image at a time, and each finds what it has written alone', async () => {
  using directory = temporaryDirectory();
  const image = busyboxDisk(join(directory.path, 'disk.raw'));
  await shell(image, 'true');
  const before = fingerprint(image);
  const script = 'echo $$ $(hostname) >>/own; echo x >>/home/own; sleep 0.2; cat /own /home/own; ls -A /srv';
  const printed = await Promise.all(Array.from({ length: 5 }, () => shell(image, script, { ephemeral: true })));
  for (const text of printed) assert.match(text, /^1 disk-[0-9a-f]{16}\nx\nlost\+found\nsrv$/);
  assert.is(new Set(printed).size, 5);
  await assertReleased(image);
  assert.is(fingerprint(image), before);
  assert.equal(hiddenIn(directory.path), []);
});

it('devices and set-user-id programs count as they do in the image itself', async () => {
  using directory = temporaryDirectory();
  const image = busyboxDisk(join(directory.path, 'disk.raw'));
  const mounts = "grep -E '^[^ ]+ (/|/home|/srv) ' /proc/mounts | cut -d' ' -f2-4 | cut -d, -f1-2";
  assert.is(
    await shell(image, mounts, { ephemeral: true }),
    '/ overlay rw,nodev\n/home overlay rw,nodev\n/srv overlay rw,nodev',
  );
});

for (const kind of ['squashfs', 'erofs', 'xfs', 'btrfs']) {
  needs([root, busybox, ...makes(kind)])(`a root on ${kind} can be written to`, async () => {
    using directory = temporaryDirectory();
    const image = makeFileSystem(join(directory.path, 'root.img'), kind, busyboxTree());
    const script = 'echo new >>/usr/lib/os-release; rm -r /home; mkdir /home; tail -n 1 /etc/os-release; ls /home';
    assert.is(await shell(image, script, { ephemeral: true }), 'new');
    assert.equal(loopsOf(image), []);
    assert.equal(hiddenIn(directory.path), []);
  });
}

it('a container that restarts finds what it has written', async () => {
  using directory = temporaryDirectory();
  using tree = copyTree(busyboxTree());
  const init = join(tree.path, 'sbin/init');
  rmSync(init);
  const script = 'hostname >>/boots; [ $(wc -l </boots) = 3 ] && cat /boots && poweroff -f; reboot -f';
  writeFileSync(init, `#!/bin/sh\n${script}\n`);
  chmodSync(init, 0o755);
  const image = makeFileSystem(join(directory.path, 'root.raw'), 'ext4', tree.path);
  const words = ['-q', '-P', '-x', '-b', '-i', image, '--timezone=off', '--resolv-conf=off'];
  const { status, stdout, stderr } = await nspawn(words);
  assert.equal([status, stderr], [0, '']);
  const names = stdout.trim().split('\n');
  assert.equal([names.length, new Set(names).size], [3, 1]);
  await assertReleased(image);
  assert.equal(readdirSync(directory.path), ['root.raw']);
});

it('a start that fails leaves nothing', async () => {
  using directory = temporaryDirectory();
  const image = busyboxDisk(join(directory.path, 'disk.raw'));
  const { status, stderr } = await nspawn(['-x', '-i', image, '--timezone=off', '--resolv-conf=off', '/no/such']);
  assert.is(status, 1);
  assert.match(stderr, /has no \/no\/such\n$/);
  await assertReleased(image);
  assert.equal(hiddenIn(directory.path), []);
});

it('a user that only getent knows is asked of what the container sees', async () => {
  using directory = temporaryDirectory();
  using tree = copyTree(busyboxTree());
  const getent = join(tree.path, 'usr/bin/getent');
  writeFileSync(getent, '#!/bin/sh\necho far:x:5:6::/home/far:\n');
  chmodSync(getent, 0o755);
  const image = makeFileSystem(join(directory.path, 'root.raw'), 'ext4', tree.path);
  assert.is(await shell(image, 'id -u', { ...off, ephemeral: true, user: 'far' }), '5');
  await assertReleased(image);
});

test.run();
