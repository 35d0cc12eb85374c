/** The bind options idmap, rootidmap and owneridmap. */
import { chownSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { BindIdmap } from '../../src/options.ts';
import { bindMap } from '../../src/users/bind-idmap.ts';
import { commandLine, run, shell, startError, unchanging } from '../container/support.ts';
import { loopMount, mounted } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';

const check = needs([root, busybox, loopMount('ext4')]);
const OWNER = 1234;

/** A file system whose root directory and one file belong to OWNER, and others to root and user 5. */
function host() {
  const disk = mounted('ext4', '20M');
  for (const [name, uid] of [
    ['.', OWNER],
    ['own', OWNER],
    ['root', 0],
    ['five', 5],
  ] as const) {
    const path = join(disk.path, name);
    if (name !== '.') writeFileSync(path, '');
    chownSync(path, uid, uid);
  }
  return disk;
}

const bind = (source: string, idmap: BindIdmap, destination = '/mnt') => ({
  binds: [{ source, destination, readOnly: false, recursive: true, idmap }],
});
const SHOW = 'stat -c "%u:%g %n" /mnt /mnt/five /mnt/own /mnt/root; touch /mnt/new; stat -c "%u:%g %n" /mnt/new';

check('with rootidmap the owner of the source is root, and who else it belongs to is nobody', async () => {
  using disk = host();
  assert.is(
    await shell(SHOW, { ...unchanging(busyboxTree()), ...bind(disk.path, 'rootidmap') }),
    '0:0 /mnt\n65534:65534 /mnt/five\n0:0 /mnt/own\n65534:65534 /mnt/root\n0:0 /mnt/new',
  );
  const { uid, gid } = statSync(join(disk.path, 'new'));
  assert.equal([uid, gid], [OWNER, OWNER]);
});

check('with owneridmap it is the owner of what the mount covers, or root where that is made', async () => {
  using disk = host();
  using tree = copyTree(busyboxTree());
  mkdirSync(join(tree.path, 'home/someone'), { recursive: true });
  chownSync(join(tree.path, 'home/someone'), 77, 78);
  const options = { directory: tree.path, readOnly: true };
  const script = (path: string) => `stat -c "%u:%g" ${path} ${path}/own ${path}/five`;
  assert.is(
    await shell(script('/home/someone'), { ...options, ...bind(disk.path, 'owneridmap', '/home/someone') }),
    '77:77\n77:77\n65534:65534',
  );
  const fresh = { directory: tree.path, ...bind(disk.path, 'owneridmap', '/made') };
  assert.is(await shell(script('/made'), fresh), '0:0\n0:0\n65534:65534');
});

check('with idmap users keep their numbers', async () => {
  using disk = host();
  assert.is(
    await shell(SHOW, { ...unchanging(busyboxTree()), ...bind(disk.path, 'idmap') }),
    `${OWNER}:${OWNER} /mnt\n5:5 /mnt/five\n${OWNER}:${OWNER} /mnt/own\n0:0 /mnt/root\n0:0 /mnt/new`,
  );
});

const USERS = { privateUsers: { base: 7000 * 65536, count: 65536 } };

check('in a user namespace they are the users of the container', async () => {
  using disk = host();
  using tree = copyTree(busyboxTree());
  mkdirSync(join(tree.path, 'home/someone'), { recursive: true });
  const options = { directory: tree.path, ...USERS, usersOwnership: 'chown' as const };
  chownSync(join(tree.path, 'home/someone'), 77, 77);
  const show = (path: string) =>
    `stat -c '%u' ${path} ${path}/own ${path}/five ${path}/root; touch ${path}/new 2>/dev/null`;
  const shown = async (idmap: BindIdmap | undefined, path = '/mnt') => {
    const binds = [{ source: disk.path, destination: path, readOnly: false, recursive: true, ...(idmap && { idmap }) }];
    const { stdout } = await run({ ...options, binds, command: ['/bin/sh', '-c', show(path)] });
    return stdout.split('\n').map(Number);
  };
  assert.equal(await shown('idmap'), [OWNER, OWNER, 5, 0]);
  rmSync(join(disk.path, 'new'));
  assert.equal(await shown('rootidmap'), [0, 0, 65534, 65534]);
  assert.is(statSync(join(disk.path, 'new')).uid, OWNER);
  assert.equal(await shown('owneridmap', '/home/someone'), [77, 77, 65534, 65534]);
  assert.equal(await shown('owneridmap', '/made'), [0, 0, 65534, 65534]);
  assert.equal(await shown(undefined), [65534, 65534, 65534, 65534]);
});

check('what cannot be shown so is named', async () => {
  const message = await startError({ ...unchanging(busyboxTree()), ...bind('/proc', 'rootidmap') });
  assert.match(message, /^binding \/proc to \/mnt \(rootidmap\): mapping user ids: \/proc is on the file system proc/);
  const { status } = await run({ ...unchanging(busyboxTree()), ...bind('', 'rootidmap'), command: ['/bin/true'] });
  assert.is(status, 0, 'an empty one is in memory, and belongs to the container anyway');
});

needs([root, busybox, loopMount('ext4'), tool('unshare')])('mounts below are mapped too, or left out', () => {
  using disk = host();
  const below = join(disk.path, 'below');
  mkdirSync(below);
  const words = (option: string) => [
    ...['-D', busyboxTree(), '--volatile=overlay', '--timezone=off', '--console=pipe'],
    ...[`--bind=${disk.path}:/mnt:rootidmap${option}`, '--', '/bin/stat', '-c', '%u', '/mnt', '/mnt/below'],
  ];
  const tmpfs = `mount -t tmpfs -o uid=${OWNER} x ${below}`;
  assert.is(commandLine(tmpfs, ...words('')).stdout, '0\n0');
  const { stderr, status } = commandLine(`mount -t proc x ${below}`, ...words(''));
  assert.ok(status !== 0);
  assert.match(stderr, `${below} is on the file system proc, which can't have idmapped mounts`);
  assert.match(stderr, 'the bind option norbind leaves it out');
  assert.is(commandLine(`mount -t proc x ${below}`, ...words(',norbind')).stdout, '0\n65534');
});

test('maps are what systemd-nspawn(1) says of them', () => {
  const ids = { base: 1000 * 65536, count: 65536 };
  assert.equal(bindMap('idmap', ids, OWNER, 5), { inside: 0, outside: ids.base, count: ids.count });
  assert.equal(bindMap('rootidmap', ids, OWNER, 5), { inside: OWNER, outside: ids.base, count: 1 });
  assert.equal(bindMap('owneridmap', ids, OWNER, 5), { inside: OWNER, outside: ids.base + 5, count: 1 });
});

test.run();
