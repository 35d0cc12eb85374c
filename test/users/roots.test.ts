/** Users of the container's own on other roots than a tree that is mapped: images, ephemeral roots, trees that are changed. */
import { chownSync, lstatSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SpawnOptions } from '../../src/index.ts';
import { BUSY_BASE } from '../../src/users/range.ts';
import { commandLine, run, shell, startError } from '../container/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { BASE, imageOfTree } from './support.ts';

const check = needs([root, busybox]);
const onImage = needs([root, busybox, tool('mkfs.ext4')]);

const WRITES =
  'stat -c %u / /etc/passwd; touch /made; stat -c %u /made; rm -r /home && mkdir /home && stat -c %u /home';
const pick: SpawnOptions = { privateUsers: 'pick', usersOwnership: 'auto' };
const hidden = (path: string) => readdirSync(dirname(path)).filter(name => name.startsWith('.#nspawn-'));

for (const volatile of ['no', 'overlay', 'yes', 'state'] as const) {
  onImage(`a disk image with --volatile=${volatile}`, async () => {
    using image = imageOfTree(busyboxTree());
    const script =
      volatile === 'state'
        ? 'stat -c %u / /etc/passwd; touch /var/x; stat -c %u /var/x'
        : 'stat -c %u / /usr; touch /x; stat -c %u /x';
    assert.is(await shell(script, { image: image.path, volatile, ...pick }), '0\n0\n0');
  });
}

onImage('an overlay of what is in a disk image', async () => {
  using image = imageOfTree(busyboxTree());
  const overlays = [{ lower: ['+/usr'], upper: '', destination: '/usr', readOnly: false }];
  const script = 'echo above > /usr/x; cat /usr/x; stat -c %u /usr/x /usr/bin';
  assert.is(await shell(script, { image: image.path, overlays, ...pick }), 'above\n0\n0');
});

onImage('an ephemeral disk image', async () => {
  using image = imageOfTree(busyboxTree());
  assert.is(await shell(WRITES, { image: image.path, ephemeral: true, ...pick }), '0\n0\n0\n0');
  assert.equal(hidden(image.path), []);
});

onImage('a disk image whose files are given away', async () => {
  using image = imageOfTree(busyboxTree());
  const users = { base: BASE, count: 65536 };
  assert.is(await shell(WRITES, { image: image.path, privateUsers: users, usersOwnership: 'chown' }), '0\n0\n0\n0');
  const map = 'cat /proc/self/uid_map; stat -c %u /etc';
  assert.match(await shell(map, { image: image.path, privateUsers: 'yes' }), new RegExp(`^ +0 +${BASE} +65536\n0$`));
});

check('an ephemeral root', async () => {
  using copy = copyTree(busyboxTree());
  const before = readdirSync(copy.path);
  assert.is(await shell(WRITES, { directory: copy.path, ephemeral: true, ...pick }), '0\n0\n0\n0');
  assert.is(
    await shell('stat -c %u /mnt/bin; :', {
      directory: copy.path,
      ephemeral: true,
      ...pick,
      binds: [{ source: '+/usr', destination: '/mnt', readOnly: false, recursive: true }],
    }),
    '0',
  );
  assert.equal(readdirSync(copy.path), before);
  assert.equal(hidden(copy.path), []);
});

check('an ephemeral root of a tree that belongs to other ids', async () => {
  using copy = copyTree(busyboxTree());
  const given: SpawnOptions = {
    directory: copy.path,
    privateUsers: { base: BASE, count: 65536 },
    usersOwnership: 'chown',
  };
  assert.is(await shell('id -u', given), '0');
  const other = { base: BASE + 0x10000, count: 65536 };
  const map = `${WRITES}; cat /proc/self/uid_map`;
  assert.match(
    await shell(map, { directory: copy.path, ephemeral: true, privateUsers: other, usersOwnership: 'auto' }),
    new RegExp(`^0\n0\n0\n0\n +0 +${other.base} `),
  );
});

check('a tree whose files are given away, and taken back', async () => {
  using copy = copyTree(busyboxTree());
  const owner = () => lstatSync(join(copy.path, 'usr/bin/busybox')).uid;
  const chown = (base: number): SpawnOptions => ({
    directory: copy.path,
    privateUsers: { base, count: 65536 },
    usersOwnership: 'chown',
  });
  assert.is(await shell(WRITES, chown(BASE)), '0\n0\n0\n0');
  assert.is(owner(), BASE);
  // What was changed is not mapped as well.
  const { stdout } = await run({
    directory: copy.path,
    ...pick,
    command: ['/bin/sh', '-c', 'cat /proc/self/uid_map; stat -c %u /etc'],
  });
  assert.match(stdout, new RegExp(`^ +0 +${BASE} +65536\n0$`));
  assert.match(
    await startError({ directory: copy.path, privateUsers: 'yes', usersOwnership: 'map', command: ['true'] }),
    `its files belong to the user ids from ${BASE} on already`,
  );
  await shell(':', chown(0));
  assert.is(owner(), 0);
});

check('a tree that was left half given away is not taken as it is', async () => {
  using copy = copyTree(busyboxTree());
  chownSync(copy.path, BUSY_BASE, BUSY_BASE);
  const left = (options: SpawnOptions) => startError({ directory: copy.path, command: ['true'], ...options });
  for (const options of [{ privateUsers: 'yes' }, { ...pick, ephemeral: true }] as const) {
    assert.match(await left(options), /giving its files to others was broken off; start it with -U .* to finish that$/);
  }
  // To finish it is what -U does by itself.
  assert.is(await shell(WRITES, { directory: copy.path, ...pick }), '0\n0\n0\n0');
});

check('what can neither be mapped nor given away is refused, with the reason', async () => {
  const { status, stderr } = commandLine(
    'mount -t tmpfs none /mnt; mkdir /mnt/u /mnt/w /mnt/m; mount -t overlay none -o lowerdir=/var/cache,upperdir=/mnt/u,workdir=/mnt/w /mnt/m',
    ...['-D', `/mnt/m/${relative('/var/cache', busyboxTree())}`, '-U', '--read-only', '--', '/bin/true'],
  );
  assert.is(status, 1);
  assert.match(
    stderr,
    /^giving the files of .*: this container writes nothing to them; .* is on the file system overlay, which can't/,
  );
});

check('what is not written to is not given away', async () => {
  const options: SpawnOptions = {
    directory: busyboxTree(),
    volatile: 'overlay',
    privateUsers: { base: BASE, count: 65536 },
  };
  const message = await startError({
    ...options,
    volatile: 'no',
    readOnly: true,
    usersOwnership: 'chown',
    command: ['true'],
  });
  assert.is(message, '--private-users-ownership=chown and --read-only may not be combined');
});

test.run();
