/** Images made to lead nspawn astray: nothing in them reaches the host, holds a start up, or is taken for what it is not. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { run, startError } from '../container/support.ts';
import { createImage, MIB, runTool } from '../gpt/support.ts';
import { needs, root } from '../support/needs.ts';
import { createRandom } from '../support/random.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { busyboxDisk, busyboxImage, loopsOf, makeDisk, makeFileSystem, makes, off, ROOT, shell } from './images.ts';

const it = needs([root, busybox, ...makes('ext4')]);
const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const at = (name: string) => join(directory.path, name);

/** A disk with a partition for /home, and a root in which /home is something else. */
function diskWithHome(name: string, make: (home: string, tree: string) => void): string {
  using tree = copyTree(busyboxTree());
  const home = join(tree.path, 'home');
  rmSync(home, { recursive: true });
  make(home, tree.path);
  const partitions = [
    { type: ROOT, holds: 'ext4', tree: tree.path },
    { type: 'home', holds: 'ext4' },
  ];
  return makeDisk(at(name), partitions);
}

it("a mount point that is a symlink leads to the image's own directory, never to the host's", async () => {
  using victim = temporaryDirectory();
  for (const target of ['/etc', '../../../../etc', '/proc/1/root/etc', '/proc/self/root/etc']) {
    const image = diskWithHome('link.raw', home => symlinkSync(target, home));
    const outcome = run({ ...off, image, command: ['/bin/sh', '-c', 'ls /etc/home; touch /etc/made'] });
    const said = await outcome.then(
      ({ stdout }) => stdout,
      (error: Error) => error.message,
    );
    // /proc in the image is empty when partitions are mounted: the directory is made there.
    assert.match(said, target.startsWith('/proc') ? /^$|home/ : /^\/etc\/home$/, target);
    assert.not.ok(readdirSync('/etc').includes('made'));
    assert.equal(loopsOf(image), []);
  }
  const image = diskWithHome('outside.raw', home => symlinkSync(victim.path, home));
  await shell(image, 'touch /home/made');
  assert.equal(readdirSync(victim.path), []);
});

it('a mount point that goes round in circles, or is no directory, is named', async () => {
  const cases: [string, (home: string) => void, RegExp][] = [
    ['a fifo', home => void execFileSync('mkfifo', [home]), /on \/home: it is a directory, but \/home is a fifo$/],
    ['a file', home => writeFileSync(home, ''), /on \/home: it is a directory, but \/home is a regular file$/],
    ['a node', home => void execFileSync('mknod', [home, 'b', '7', '0']), /but \/home is a block device$/],
    ['a circle', home => symlinkSync('home', home), /mounting partition 2 \(home, ext4\) of .* on \/home: .*ELOOP/],
  ];
  for (const [name, make, message] of cases) {
    const image = diskWithHome('no-directory.raw', make);
    assert.match(await startError({ ...off, image }), message, name);
    assert.equal(loopsOf(image), []);
  }
});

it('what is taken from an image stays in it', async () => {
  using tree = copyTree(busyboxTree());
  symlinkSync('/etc', join(tree.path, 'absolute'));
  symlinkSync('../../../../etc', join(tree.path, 'relative'));
  rmSync(join(tree.path, 'usr/share'), { recursive: true });
  const image = makeFileSystem(at('taken.raw'), 'ext4', tree.path);
  const hostname = readFileSync('/etc/hostname', 'utf8');
  for (const source of ['+/absolute', '+/relative', '+/../etc']) {
    const binds = [{ source, destination: '/mnt', readOnly: false, recursive: true }];
    const said = await shell(image, 'cat /mnt/hostname; touch /mnt/made', { binds });
    assert.is(said, 'busybox', source);
    assert.not.equal(said, hostname.trim());
  }
  assert.not.ok(readdirSync('/etc').includes('made'));
});

it('/usr of a root that is a symlink leads nowhere else', async () => {
  using tree = temporaryDirectory();
  symlinkSync('/usr', join(tree.path, 'usr'));
  const circle = makeFileSystem(at('circle.raw'), 'ext4', tree.path);
  assert.match(await startError({ ...off, image: circle, volatile: 'yes' }), /opening \/usr of the tree/);
  rmSync(join(tree.path, 'usr'));
  symlinkSync('../../..', join(tree.path, 'usr'));
  mkdirSync(join(tree.path, 'bin'));
  const itself = makeFileSystem(at('itself.raw'), 'ext4', tree.path);
  // The root itself: there is no /usr/sh in it to be run.
  await startError({ ...off, image: itself, volatile: 'yes', command: ['/usr/bin/sh'] });
  for (const image of [circle, itself]) assert.equal(loopsOf(image), []);
});

it('a table that points outside of the file', async () => {
  const image = makeDisk(at('outside-table.raw'), [{ type: ROOT, holds: 'ext4', tree: busyboxTree() }]);
  execFileSync('truncate', ['--size=8M', image]);
  assert.match(await startError({ ...off, image }), /^reading the image .*: /);
  assert.equal(loopsOf(image), []);
});

it('a root that ends before its file system does', async () => {
  const image = busyboxImage(at('short.raw'));
  execFileSync('truncate', ['--size=8M', image]);
  assert.match(await startError({ ...off, image }), `opening the ext4 of ${image}: `);
  assert.equal(loopsOf(image), []);
});

it('damaged images end in an error or a container, and leave no device', async () => {
  const seed = Number(process.env['SEED'] ?? 1);
  const random = createRandom(seed);
  const whole = busyboxDisk(at('whole.raw'));
  const image = at('damaged.raw');
  for (let times = 0; times < 20; times++) {
    copyFileSync(whole, image);
    const file = openSync(image, 'r+');
    // Most of it into the table and the first superblock.
    for (let count = 0; count < 10; count++) {
      const place = random.below(2) ? random.below(34 * 512) : MIB + random.below(8192);
      writeSync(file, Uint8Array.of(random.below(256)), 0, 1, place);
    }
    closeSync(file);
    const options = { ...off, image, readOnly: true, command: ['/bin/true'] };
    await run(options).catch((error: Error) => assert.not.match(error.message, /\n/, `seed ${seed}`));
    assert.equal(loopsOf(image), [], `seed ${seed}`);
  }
});

it('an image of holes only is read quickly', async () => {
  const image = createImage(at('huge.raw'), 2 ** 40);
  assert.match(await startError({ ...off, image }), 'there is no partition table');
  assert.is(runTool(['losetup', '-j', image]).stdout, '');
});

test.run();
