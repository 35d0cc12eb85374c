/** Which mounts that a tree brings along are taken away, told from a mount table. */
import { mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mountPointsBelow, mountsToHide } from '../../src/plan/submounts.ts';
import { viewRoot } from '../../src/root-view.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Lines of proc_pid_mountinfo(5) for mounts on these paths. */
const mountinfo = (...paths: string[]) =>
  paths.map((path, i) => `${i + 20} 1 0:${i} / ${path} rw,relatime shared:${i} - tmpfs tmpfs rw\n`).join('');

/** A tree with these entries (`name` a directory, `name -> target` a symlink), its path and what is to be hidden. */
function hidden(entries: string[], points: string[]): string[] {
  using directory = temporaryDirectory();
  const root = realpathSync(directory.path);
  for (const entry of entries) {
    const [name, target] = entry.split(' -> ') as [string, string?];
    if (target === undefined) mkdirSync(join(root, name), { recursive: true });
    else symlinkSync(target, join(root, name));
  }
  using tree = viewRoot(root);
  return mountsToHide(
    root,
    tree,
    mountinfo('/', '/proc', '/dev', ...points.map(point => (point.startsWith('@') ? root + point.slice(1) : point))),
  );
}

test('mount points below a directory, with what the kernel has escaped', () => {
  const table = mountinfo(
    '/',
    '/tree',
    '/tree/a',
    '/treetop',
    '/tree/with\\040space\\011tab\\134backslash\\012newline',
  );
  assert.equal(mountPointsBelow('/tree', table), ['/tree/a', '/tree/with space\ttab\\backslash\nnewline']);
  assert.equal(mountPointsBelow('/', mountinfo('/', '/proc')), ['/', '/proc']);
  assert.equal(mountPointsBelow('/none', table), []);
});

test('mounts on and below /dev, /proc, /run and /sys go, innermost and latest first', () => {
  const points = ['@/proc', '@/sys', '@/dev', '@/dev/pts', '@/run', '@/run/user/0', '@/dev'];
  assert.equal(hidden(['dev', 'proc', 'run', 'sys'], points), [
    '/dev',
    '/run/user/0',
    '/run',
    '/dev/pts',
    '/dev',
    '/sys',
    '/proc',
  ]);
});

test('other mounts stay, also where a name only begins alike', () => {
  assert.equal(hidden(['dev'], ['@', '@/home', '@/devices', '@/var/run', '@/running/x', '/dev/shm', '/home']), []);
  assert.equal(hidden(['dev'], []), []);
});

test('a symlink of the tree is followed, but never out of it', () => {
  assert.equal(hidden(['mine', 'dev -> /mine'], ['@/mine', '@/mine/pts', '@/dev']), ['/mine/pts', '/mine']);
  assert.equal(hidden(['mine', 'dev -> mine'], ['@/mine']), ['/mine']);
  assert.equal(hidden(['mine', 'dev -> ../../../mine'], ['@/mine']), ['/mine']);
  assert.equal(hidden(['a/b', 'c -> a', 'run -> c/b'], ['@/a/b/x', '@/a']), ['/a/b/x']);
  assert.equal(hidden(['dev -> /proc/self/fd/3'], ['@/x']), []);
  assert.equal(hidden(['dev -> dev'], ['@/x', '@/dev']), ['/dev']);
});

test('what is missing in the tree is looked for by its name', () => {
  assert.equal(hidden([], ['@/run/later', '@/proc']), ['/proc', '/run/later']);
});

test("the host's own root directory", () => {
  using tree = viewRoot('/');
  const table = mountinfo('/', '/proc', '/sys', '/dev', '/dev/pts', '/home', '/tmp');
  assert.equal(mountsToHide('/', tree, table), ['/dev/pts', '/dev', '/sys', '/proc']);
});

test.run();
