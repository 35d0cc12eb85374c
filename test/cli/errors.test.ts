/** What can't be done is told in one line that names it, and the exit status is 1. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { NSPAWN, nspawn, onBusybox, startNspawn } from './support.ts';

const it = needs([root, busybox]);

/** Runs nspawn, which is to fail with one line; returns it. */
async function failure(args: readonly string[], cwd?: string): Promise<string> {
  const { status, stdout, stderr } = await nspawn(args, cwd === undefined ? {} : { cwd });
  assert.equal([status, stdout], [1, ''], stderr);
  assert.match(stderr, /^[^\n]+\n$/);
  // Neither a stack trace nor something that JavaScript says of itself.
  assert.not.match(stderr, /TypeError|undefined|\[object|^\s+at |\.ts:\d/m);
  return stderr;
}

const COMMAND_LINES: [mistake: string, args: string[], names: RegExp][] = [
  ['an unknown option', ['--no-such-option'], /--no-such-option/],
  ['an option without its value', ['-D'], /--directory=/],
  ['a value that is none', ['--console=loud'], /--console=.*"loud"/],
  [
    'a label where nobody knows it',
    ['-Z', 'nonsense', '-D', '/', '--volatile=yes', 'true'],
    /--selinux-context=.*no SELinux|context nonsense.*EINVAL/,
  ],
  ['options that exclude each other', ['-b', '-a'], /--boot.*--as-pid2/],
  ['a root directory that is not there', ['-D', '/no/such/tree', 'true'], /\/no\/such\/tree/],
  ['a root directory that is a file', ['-D', '/etc/passwd', 'true'], /\/etc\/passwd/],
  ['a machine that is not there', ['-M', 'no-such-machine', 'true'], /\/var\/lib\/machines\/no-such-machine/],
  ["the host's own root directory", ['-D', '/', 'true'], /--volatile/],
];
for (const [mistake, args, names] of COMMAND_LINES) {
  it(mistake, async () => assert.match(await failure(args), names));
}

const CONTAINERS: [mistake: string, args: string[], names: RegExp][] = [
  ['a program that is not there', ['--', 'no-such-program'], /no-such-program/],
  ['a program that is not there, by path', ['--', '/no/such/program'], /\/no\/such\/program/],
  ['a program that is a directory', ['--', '/etc'], /\/etc/],
  ['a program that is not executable', ['--', '/etc/passwd'], /\/etc\/passwd/],
  ['a user that the container does not know', ['--user=nobody-knows', '--', 'true'], /nobody-knows|getent/],
  ['a working directory that is not there', ['--chdir=/no/such', '--', 'true'], /\/no\/such/],
  ['a bind of something that is not there', ['--bind=/no/such', '--', 'true'], /\/no\/such/],
  ['a directory bound to a file', ['--bind=/etc:/bin/busybox', '--', 'true'], /\/etc.*\/bin\/busybox/],
  ['an overlay of something that is not there', ['--overlay=/no/such:/etc:/mnt', '--', 'true'], /\/no\/such/],
  ['a file system option that is none', ['--tmpfs=/mnt:bogus=1', '--', 'true'], /\/mnt.*bogus/],
  ['a path to hide that is not there', ['--inaccessible=/no/such', '--', 'true'], /\/no\/such/],
  ['a processor that is not there', ['--cpu-affinity=1000', '--', 'true'], /EINVAL/],
];
for (const [mistake, args, names] of CONTAINERS) {
  it(mistake, async () => assert.match(await failure([...onBusybox(), '-q', ...args]), names));
}

it('a root directory with nothing in it', async () => {
  using directory = temporaryDirectory();
  assert.match(await failure(['-D', directory.path, 'true']), directory.path);
  assert.match(await failure(['-D', directory.path, '-b']), /os-release/);
});

it('a tree without an init', async () => {
  using directory = temporaryDirectory();
  mkdirSync(join(directory.path, 'etc'));
  writeFileSync(join(directory.path, 'etc/os-release'), 'ID=test\n');
  assert.match(await failure(['-qb', '-D', directory.path, '--timezone=off']), /an init/);
});

it('a script whose interpreter is not there', async () => {
  using tree = copyTree(busyboxTree());
  const script = join(tree.path, 'script');
  writeFileSync(script, '#!/no/such/interpreter\n');
  chmodSync(script, 0o755);
  assert.match(await failure(['-D', tree.path, '-q', '--timezone=off', '/script']), /\/script/);
});

it('a tree that another container has', async () => {
  using tree = copyTree(busyboxTree());
  const words = ['-D', tree.path, '-q', '--timezone=off', '/bin/sh', '-c', 'echo ready; read line'];
  const { child, until, outcome } = startNspawn(words);
  await until('ready');
  assert.match(await failure(words), tree.path);
  child.kill();
  await outcome;
});

it('a command line that is not UTF-8', async () => {
  const words = [...NSPAWN, ...onBusybox(), '--', 'echo'].map(word => `'${word}'`).join(' ');
  const { status, stderr } = await nspawn([], { command: ['bash', '-c', `${words} $'\\xff'`] });
  assert.is(status, 1);
  assert.match(stderr, /^[^\n]*UTF-8\n$/);
});

it('no root directory at all: the current directory is meant', async () => {
  using directory = temporaryDirectory();
  assert.match(await failure(['true'], directory.path), directory.path);
});

test.run();
