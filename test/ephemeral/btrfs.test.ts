/** --ephemeral of a btrfs subvolume: a snapshot, with the subvolumes in it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { idle, run, shell } from '../container/support.ts';
import { loopMount, mounted } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import { fingerprint, hiddenIn } from './support.ts';

const check = needs([root, busybox, tool('btrfs'), loopMount('btrfs')]);
const ephemeral = (directory: string) => ({ directory, ephemeral: true, timezone: 'off', resolvConf: 'off' }) as const;
const btrfs = (...words: string[]) => execFileSync('btrfs', words, { encoding: 'utf8' });
const ROOT_TYPE = 'awk \'$2 == "/" { print $3 }\' /proc/mounts';

/** A file system with a subvolume that has a tree, and in it two more. */
function subvolume() {
  const disk = mounted('btrfs', '300M');
  const tree = join(disk.path, 'tree');
  for (const path of [tree, `${tree}/inner`, `${tree}/inner/most`]) {
    btrfs('subvolume', 'create', path);
    if (path === tree) execFileSync('cp', ['--archive', `${busyboxTree()}/.`, tree]);
  }
  writeFileSync(`${tree}/inner/most/file`, 'original\n');
  const list = () =>
    btrfs('subvolume', 'list', disk.path)
      .trim()
      .split('\n')
      .map(line => line.replace(/.* path /, ''));
  return { ...disk, tree, list };
}
const TREES = ['tree', 'tree/inner', 'tree/inner/most'];

check('it is a snapshot, which can be written to and goes at the end with the subvolumes in it', async () => {
  using disk = subvolume();
  const before = fingerprint(disk.tree);
  const script = `cat /inner/most/file; echo new >/inner/most/file; touch /new; stat -c %i / /inner/most; ${ROOT_TYPE}`;
  const lines = (await shell(script, ephemeral(disk.tree))).split('\n');
  assert.equal(lines.slice(0, 3), ['original', '256', '256']);
  assert.is(lines.at(-1), 'btrfs');
  assert.is(fingerprint(disk.tree), before);
  assert.is(readFileSync(join(disk.tree, 'inner/most/file'), 'utf8'), 'original\n');
  assert.equal(disk.list(), TREES);
  assert.equal(hiddenIn(disk.path), []);
});

check('the tree may have a container that writes to it, and several snapshots', async () => {
  using disk = subvolume();
  await using _writer = await idle({ directory: disk.tree });
  await using _one = await idle(ephemeral(disk.tree));
  await using _two = await idle(ephemeral(disk.tree));
  assert.is(disk.list().filter(path => path.startsWith('.#')).length, 6);
  assert.is(await shell('echo fine', ephemeral(disk.tree)), 'fine');
});

check('subvolumes made in the container go, too, read-only ones as well', async () => {
  using disk = subvolume();
  const container = await idle(ephemeral(disk.tree));
  const snapshot = join(disk.path, hiddenIn(disk.path)[0]!, 'snapshot');
  btrfs('subvolume', 'create', join(snapshot, 'var/made'));
  writeFileSync(join(snapshot, 'var/made/file'), '');
  btrfs('subvolume', 'snapshot', '-r', join(snapshot, 'var/made'), join(snapshot, 'var/made/read-only'));
  await container[Symbol.asyncDispose]();
  assert.equal(disk.list(), TREES);
  assert.equal(hiddenIn(disk.path), []);
});

check('with --read-only the container can write nothing', async () => {
  using disk = subvolume();
  const { status, stderr } = await run({ ...ephemeral(disk.tree), readOnly: true, command: ['/bin/touch', '/x'] });
  assert.is(status, 1);
  assert.match(stderr, 'Read-only file system');
});

check('a subvolume that is mounted by itself has its snapshots in it, and they are not in each other', async () => {
  using disk = subvolume();
  const point = join(disk.path, '../point');
  mkdirSync(point);
  const device = execFileSync('findmnt', ['-no', 'SOURCE', disk.path], { encoding: 'utf8' }).trim();
  execFileSync('mount', ['-o', 'subvol=tree', device, point]);
  try {
    await using _ = await idle(ephemeral(point));
    const script = 'ls -A / | grep "^[.]#" ; cat /inner/most/file';
    const [left, text, inIt] = (await shell(`${script}; ls -A /.#*/snapshot | wc -l`, ephemeral(point))).split('\n');
    // That of the other container, without what is in it.
    assert.match(left!, /^\.#nspawn-[0-9a-f]{16}$/);
    assert.equal([text, inIt], ['original', '0']);
    assert.is(disk.list().filter(path => path.includes('.#nspawn-')).length, 3);
  } finally {
    execFileSync('umount', [point]);
  }
  assert.equal(disk.list(), TREES);
});

check('a directory that is no subvolume is run from by an overlay', async () => {
  using disk = subvolume();
  const tree = join(disk.path, 'plain');
  execFileSync('cp', ['--archive', busyboxTree(), tree]);
  const lines = (await shell(`touch /new; ${ROOT_TYPE}`, ephemeral(tree))).split('\n');
  assert.is(lines.at(-1), 'overlay');
  assert.not.ok(existsSync(join(tree, 'new')));
  assert.equal(hiddenIn(disk.path), []);
});

test.run();
