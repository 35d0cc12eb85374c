/**
 * Root trees to spawn. They are made once and kept outside the checkout. Nobody may change a kept one: tests that
 * write to a tree, or let a container do so, take a copy.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { debootstrapped, fingerprint, kept, OWN_CACHE } from './cache.ts';
import type { Need } from './needs.ts';
import { removeTree, type TemporaryDirectory, temporaryDirectory } from './temporary.ts';

/** What mmdebstrap is called with. systemd and dbus are for tests that boot, the rest is for tests to call inside. */
const DEBIAN = [
  '--mode=root',
  '--variant=minbase',
  '--include=systemd,systemd-sysv,dbus,iproute2,iputils-ping,procps,mount,libcap2-bin,tzdata',
  '--dpkgopt=path-exclude=/usr/share/doc/*',
  '--dpkgopt=path-exclude=/usr/share/man/*',
  '--dpkgopt=path-exclude=/usr/share/locale/*',
  // A machine that has never booted: machine-id(5).
  '--customize-hook=: >"$1/etc/machine-id"',
];

type Suite = 'bookworm' | 'trixie';

/**
 * A Debian tree with systemd in it. It is made by mmdebstrap, from the mirrors this machine uses; that needs root and
 * takes a minute. Throws when it can't be made.
 */
export function debianTree(suite: Suite = 'bookworm'): string {
  const recipe = [...DEBIAN, suite];
  return debootstrapped('a Debian tree', `debian-${fingerprint(recipe)}`, path => {
    const source = suite === 'bookworm' ? '' : mirror();
    return ['mmdebstrap', ...recipe, path, ...(source ? [source] : [])];
  });
}

/** Where this machine's own packages come from: other suites are there as well. Empty where apt does not know. */
function mirror(): string {
  const words = ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'];
  const { stdout } = spawnSync('apt-get', words, { encoding: 'utf8' });
  return stdout?.split('\n')[0] ?? '';
}

/** The small text files of the busybox tree. */
const BUSYBOX_FILES: Record<string, string> = {
  'usr/lib/os-release': 'NAME=Busybox\nID=busybox\nPRETTY_NAME="Busybox tree"\n',
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:Guest:/home/guest:/bin/sh\n',
  'etc/group': 'root:x:0:\ntty:x:5:\nguest:x:1000:\nextra:x:2000:guest\n',
  'etc/hostname': 'busybox\n',
};

const BUSYBOX_DIRECTORIES =
  'dev etc home/guest proc root run sys tmp usr/bin usr/lib usr/sbin usr/share/zoneinfo var/tmp'.split(' ');

const BUSYBOX_LINKS: Record<string, string> = {
  bin: 'usr/bin',
  sbin: 'usr/sbin',
  lib: 'usr/lib',
  'etc/os-release': '../usr/lib/os-release',
};

/** A tree of a few megabytes with a static busybox and links to it, and the users root and guest (1000). */
export function busyboxTree(): string {
  const name = `busybox-${fingerprint([BUSYBOX_FILES, BUSYBOX_DIRECTORIES, BUSYBOX_LINKS, String(fillBusyboxTree)])}`;
  const found = kept(name);
  if (found) return found;
  mkdirSync(OWN_CACHE, { recursive: true });
  const partial = mkdtempSync(join(OWN_CACHE, `${name}.`));
  fillBusyboxTree(partial);
  try {
    renameSync(partial, join(OWN_CACHE, name));
  } catch (error) {
    removeTree(partial);
    if (!kept(name)) throw error; // Otherwise another test file was faster.
  }
  return join(OWN_CACHE, name);
}

function fillBusyboxTree(tree: string): void {
  for (const path of BUSYBOX_DIRECTORIES) mkdirSync(join(tree, path), { recursive: true });
  chmodSync(tree, 0o755);
  chmodSync(join(tree, 'tmp'), 0o1777);
  chmodSync(join(tree, 'var/tmp'), 0o1777);
  for (const [path, target] of Object.entries(BUSYBOX_LINKS)) symlinkSync(target, join(tree, path));
  for (const [path, text] of Object.entries(BUSYBOX_FILES)) writeFileSync(join(tree, path), text);
  const busybox = execFileSync('which', ['busybox'], { encoding: 'utf8' }).trim();
  copyFileSync(busybox, join(tree, 'usr/bin/busybox'));
  // Such as bin/ash, sbin/ip or usr/bin/awk; and linuxrc, which is not for us.
  for (const applet of execFileSync(busybox, ['--list-full'], { encoding: 'utf8' }).split('\n')) {
    const [, path] = /^(?:usr\/)?(s?bin\/.+)$/.exec(applet) ?? [];
    if (path && path !== 'bin/busybox') symlinkSync('/usr/bin/busybox', join(tree, 'usr', path));
  }
}

/**
 * A copy of a tree to write to. It goes with `using`. Of a Debian tree it takes a second or two, of a busybox tree
 * nothing to speak of.
 */
export function copyTree(tree: string): TemporaryDirectory {
  const copy = temporaryDirectory();
  execFileSync('cp', ['--archive', '--reflink=auto', '--no-target-directory', tree, copy.path]);
  return copy;
}

const canHave =
  (suite: Suite): Need =>
  () => {
    try {
      debianTree(suite);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };
/** For needs(): a Debian tree is there, or can be made. */
export const debian = canHave('bookworm');
/** The same of the release after it. */
export const debian13 = canHave('trixie');

/** For needs(): a busybox tree can be made. */
export const busybox: Need = () => {
  try {
    busyboxTree();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
};
