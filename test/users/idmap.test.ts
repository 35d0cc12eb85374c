/** Idmapped mounts: owners as they are on disk, and as they look. */
import { execFileSync } from 'node:child_process';
import { chownSync, lchownSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { canIdmap, idmapTree } from '../../src/users/idmap.ts';
import { call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { type IdRange, makeUserNamespace } from '../../syscalls/idmap.ts';
import { cloneTree } from '../../syscalls/mount.ts';
import { perform } from '../../syscalls/syscall.ts';
import { loopMount, mounted } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const BASE = 1_000_000;
const MAP: IdRange[] = [{ inside: 0, outside: BASE, count: 65536 }];

const ext4 = loopMount('ext4');

/** What a detached mount shows, as a path. */
const pathOf = (mount: OwnedFd, path = '') => `/proc/${process.pid}/fd/${mount.fd}/${path}`;
const owners = (path: string) => {
  const { uid, gid } = statSync(path);
  return [uid, gid];
};
const clone = (path: string, recursive: boolean) => owned(perform(cloneTree(AT.FDCWD, path, { recursive })));

needs([root, ext4])('files look like those of the map, and what is written comes back by it', () => {
  using disk = mounted('ext4', '20M');
  writeFileSync(join(disk.path, 'of-5'), '');
  chownSync(join(disk.path, 'of-5'), 5, 7);
  symlinkSync('nowhere', join(disk.path, 'link'));
  lchownSync(join(disk.path, 'link'), 9, 9);
  using users = makeUserNamespace(MAP);
  using mount = clone(disk.path, false);
  idmapTree(mount.fd, users.fd, { path: disk.path }, false);
  assert.equal(owners(pathOf(mount)), [BASE, BASE]);
  assert.equal(owners(pathOf(mount, 'of-5')), [BASE + 5, BASE + 7]);
  chownSync(pathOf(mount, 'of-5'), BASE + 20, BASE + 21);
  assert.equal(owners(join(disk.path, 'of-5')), [20, 21]);
  assert.throws(() => chownSync(pathOf(mount, 'of-5'), 20, 20), /EOVERFLOW|EINVAL|EPERM/);
  assert.equal(owners(disk.path), [0, 0], 'the original mount is as it was');
});

needs([root, ext4])('users and groups can have maps of their own, of several ranges', () => {
  using disk = mounted('ext4', '20M');
  using users = makeUserNamespace(
    [
      { inside: 1000, outside: 77, count: 1 },
      { inside: 0, outside: BASE, count: 10 },
    ],
    [{ inside: 0, outside: 500, count: 1 }],
  );
  mkdirSync(join(disk.path, 'home'));
  chownSync(join(disk.path, 'home'), 1000, 0);
  using mount = clone(disk.path, false);
  idmapTree(mount.fd, users.fd, { path: disk.path }, false);
  assert.equal(owners(pathOf(mount, 'home')), [77, 500]);
  assert.equal(owners(pathOf(mount)), [BASE, 500]);
});

needs([root, ext4])('mounts below are mapped if asked for', () => {
  using disk = mounted('ext4', '20M');
  const below = join(disk.path, 'below');
  mkdirSync(below);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', below]);
  try {
    using users = makeUserNamespace(MAP);
    using all = clone(disk.path, true);
    idmapTree(all.fd, users.fd, { path: disk.path }, true);
    assert.equal(owners(pathOf(all, 'below')), [BASE, BASE]);
    using top = clone(disk.path, true);
    idmapTree(top.fd, users.fd, { path: disk.path }, false);
    assert.equal(owners(pathOf(top)), [BASE, BASE]);
    assert.equal(owners(pathOf(top, 'below')), [0, 0]);
  } finally {
    execFileSync('umount', [below]);
  }
});

needs([root, ext4])('the file system that can have no map is named, and nothing is mapped', () => {
  using disk = mounted('ext4', '20M');
  const below = join(disk.path, 'with space');
  mkdirSync(below);
  execFileSync('mount', ['-t', 'proc', 'proc', below]);
  try {
    using users = makeUserNamespace(MAP);
    using mount = clone(disk.path, true);
    assert.throws(
      () => idmapTree(mount.fd, users.fd, { path: disk.path }, true),
      (error: Error) => error.message.includes(`${below} is on the file system proc, which can't`),
    );
    assert.equal(owners(pathOf(mount)), [0, 0]);
  } finally {
    execFileSync('umount', [below]);
  }
});

needs([root, ext4, tool('mount')])('an overlay has none, its layers can', () => {
  using scratch = temporaryDirectory();
  const at = (name: string) => join(scratch.path, name);
  for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(at(name));
  const layers = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`;
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, at('merged')]);
  try {
    using users = makeUserNamespace(MAP);
    const can = (path: string) => {
      using directory = owned(perform(call('openat', AT.FDCWD, path, O.PATH | O.CLOEXEC, 0)));
      return canIdmap(directory.fd, users.fd);
    };
    assert.is(can(at('merged')), false);
    assert.is(can(at('lower')), true);
    using mount = clone(at('merged'), false);
    assert.throws(
      () => idmapTree(mount.fd, users.fd, { path: at('merged') }, false),
      (error: Error) => error.message.includes(`${at('merged')} is on the file system overlay`),
    );
    assert.throws(
      () => idmapTree(mount.fd, users.fd, { type: 'overlay' }, false),
      (error: Error) => error.message.includes('the file system overlay can'),
    );
  } finally {
    execFileSync('umount', [at('merged')]);
  }
});

needs([root])('nobody is left in the namespace, and no descriptor', () => {
  const open = () => readdirSync('/proc/self/fd').length;
  // The first one has memory and an executable made that are kept.
  makeUserNamespace(MAP)[Symbol.dispose]();
  const before = open();
  {
    using users = makeUserNamespace(MAP);
    assert.ok(users.fd > 2);
    assert.is(open(), before + 1);
  }
  assert.is(open(), before);
});

needs([root])('a map that the kernel refuses is an error that shows the call', () => {
  const overlapping = [...MAP, { inside: 5, outside: 3, count: 1 }];
  assert.throws(() => makeUserNamespace(overlapping), /write.*EINVAL/);
});

test.run();
