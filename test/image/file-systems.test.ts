/** Roots on each file system, in an image without a table and in a partition. */
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../src/index.ts';
import { idle } from '../container/support.ts';
import { type Need, needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import {
  assertReleased,
  busyboxImage,
  fingerprint,
  loopsOf,
  makeDisk,
  makeFileSystem,
  makes,
  off,
  ROOT,
  shell,
} from './images.ts';

const ROOT_MOUNT = "sed -n 's,^/dev/loop[0-9]* / ,,p' /proc/mounts | cut -d, -f1,2";

for (const [kind, isWritable] of Object.entries({
  ext4: true,
  xfs: true,
  btrfs: true,
  squashfs: false,
  erofs: false,
})) {
  const it = needs([root, busybox, ...makes(kind)]);
  const type = `${kind} ${isWritable ? 'rw' : 'ro'},nodev`;

  it(`${kind} without a table`, async () => {
    using directory = temporaryDirectory();
    const image = makeFileSystem(join(directory.path, 'root.img'), kind, busyboxTree());
    assert.is(await shell(image, `${ROOT_MOUNT}; hostname`), `${type}\nroot`);
    const stays = isWritable ? 'stays' : '';
    await shell(image, 'echo stays >/written || true');
    assert.is(await shell(image, 'cat /written 2>/dev/null || true', { readOnly: true }), stays);
    assert.is(await shell(image, 'echo goes >/written; cat /written', { volatile: 'overlay' }), 'goes');
    assert.is(await shell(image, 'cat /written 2>/dev/null || true'), stays);
    assert.equal(loopsOf(image), []);
  });

  it(`${kind} without a table is not written to by a read-only container`, async () => {
    using directory = temporaryDirectory();
    const image = makeFileSystem(join(directory.path, 'root.img'), kind, busyboxTree());
    if (isWritable) await shell(image, 'true');
    const before = fingerprint(image);
    assert.is(await shell(image, ROOT_MOUNT, { readOnly: true }), `${kind} ro,nodev`);
    assert.is(fingerprint(image), before);
  });
}

for (const kind of ['ext4', 'ext4 with small blocks', 'squashfs', 'erofs']) {
  needs([root, busybox, ...makes(kind)])(`${kind} in a partition of a disk with sectors of 4096 bytes`, async () => {
    using directory = temporaryDirectory();
    const partition = { type: ROOT, holds: kind, tree: busyboxTree(), size: 24 };
    const image = makeDisk(join(directory.path, 'disk.raw'), [partition], { sectorSize: 4096 });
    assert.match(await shell(image, ROOT_MOUNT), kind.split(' ')[0]!);
    assert.equal(loopsOf(image), []);
  });
}

/** Linux 6.7 and later. */
const mountsTwins: Need = () => {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 7) ? undefined : `Linux ${release()} mounts no copy of a Btrfs`;
};

for (const kind of ['xfs', 'btrfs', 'ext4']) {
  needs([root, busybox, ...makes(kind), ...(kind === 'btrfs' ? [mountsTwins] : [])])(
    `a copy of an ${kind} beside its original, both mounted`,
    async () => {
      using directory = temporaryDirectory();
      const [first, second] = ['first.img', 'second.img'].map(name => join(directory.path, name));
      makeFileSystem(first!, kind, busyboxTree());
      execFileSync('cp', ['--sparse=always', first!, second!]);
      await using _ = await idle({ ...off, image: first! });
      await shell(second!, 'echo second >/written');
      assert.is(await shell(second!, 'cat /written'), 'second');
      const other = await idle({ ...off, image: second! });
      assert.is(loopsOf(second!).length, 1);
      other.kill();
      await other.exited;
      assert.equal(loopsOf(second!), []);
    },
  );
}

const onExt4 = needs([root, busybox, ...makes('ext4')]);

onExt4('an ext4 with a journal to be replayed is read as it is, and replayed when it may be written to', async () => {
  using directory = temporaryDirectory();
  const [running, dirty] = ['running.raw', 'dirty.raw'].map(name => join(directory.path, name));
  busyboxImage(running!);
  {
    await using container = await spawn({
      ...off,
      image: running!,
      command: ['/bin/sh', '-c', 'echo old >/written; sync; echo ready; exec sleep 1000'],
    });
    for await (const _ of container.stdout!) break;
    copyFileSync(running!, dirty!);
  }
  assert.match(execFileSync('dumpe2fs', ['-h', dirty!], { encoding: 'utf8', stdio: 'pipe' }), 'needs_recovery');
  const before = fingerprint(dirty!);
  await shell(dirty!, 'test -x /bin/busybox', { readOnly: true });
  await shell(dirty!, 'test -x /bin/busybox', { volatile: 'overlay' });
  assert.is(fingerprint(dirty!), before);
  assert.is(await shell(dirty!, 'cat /written'), 'old');
  await assertReleased(dirty!);
});

onExt4('what is deleted in an image gives its space back to the file', async () => {
  using directory = temporaryDirectory();
  const image = busyboxImage(join(directory.path, 'root.raw'));
  const blocks = () => Number(execFileSync('stat', ['-c', '%b', image], { encoding: 'utf8' }));
  await shell(image, 'true');
  const before = blocks();
  await shell(image, 'head -c 4000000 /dev/urandom >/big');
  assert.ok(blocks() > before + 7000);
  await shell(image, 'rm /big; sync');
  assert.ok(blocks() < before + 1000, `${before} blocks before, ${blocks()} now`);
});

test.run();
