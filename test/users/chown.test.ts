/** --private-users-ownership=chown: trees that are given to the users of a container. */
import { execFileSync } from 'node:child_process';
import { lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../container/support.ts';
import { busyboxDisk, makes, off, shell } from '../image/images.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { BASE } from './support.ts';

const check = needs([root, busybox]);
const given = (base: number) => ({ privateUsers: { base, count: 65536 }, usersOwnership: 'chown' as const });
const owners = (path: string) => execFileSync('find', [path, '-printf', '%P %U:%G %m\n'], { encoding: 'utf8' });

check('a tree is given away once, and to the host again by a base of 0', async () => {
  using tree = copyTree(busyboxTree());
  const options = { directory: tree.path, ...off, command: ['/bin/stat', '-c', '%u:%g', '/', '/bin/busybox'] };
  // Once without, as a start makes what is missing.
  await run({ ...options });
  const before = owners(tree.path);
  const { stdout } = await run({ ...options, ...given(BASE) });
  assert.is(stdout, '0:0\n0:0');
  assert.is(owners(tree.path), before.replaceAll(' 0:0 ', ` ${BASE}:${BASE} `));
  const changed = lstatSync(join(tree.path, 'bin/busybox')).ctimeMs;
  assert.is((await run({ ...options, ...given(BASE) })).stdout, '0:0\n0:0');
  assert.is(lstatSync(join(tree.path, 'bin/busybox')).ctimeMs, changed);
  await run({ ...options, ...given(0) });
  assert.is(owners(tree.path), before);
});

needs([root, busybox, tool('find'), ...makes('ext4')])('of a disk image all partitions are', async () => {
  using scratch = temporaryDirectory();
  const image = busyboxDisk(join(scratch.path, 'disk.raw'));
  const show = 'stat -c %u / /home /home/home /srv /bin/busybox';
  assert.is(await shell(image, show, given(BASE)), '0\n0\n0\n0\n0');
  // Now they are the host's ids that are on disk.
  assert.is(await shell(image, show), Array(5).fill(BASE).join('\n'));
  assert.is(await shell(image, show, { privateUsers: 'pick', usersOwnership: 'auto' }), '0\n0\n0\n0\n0');
});

check('an ephemeral root is shown as theirs, and the tree stays as it is', async () => {
  using tree = copyTree(busyboxTree());
  const command = ['/bin/stat', '-c', '%u:%g', '/', '/bin/busybox'];
  const { stdout } = await run({ directory: tree.path, ephemeral: true, command, ...given(BASE), ...off });
  assert.is(stdout, '0:0\n0:0');
  assert.is(statSync(tree.path).uid, 0);
});

test.run();
