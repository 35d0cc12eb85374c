/** Socket activation: what nspawn was started with is the payload's, sd_listen_fds(3). */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { NSPAWN, nspawn, shell } from './support.ts';

const it = needs([root, busybox]);

/** Runs a command that has two files as descriptors 3 and 4, and these variables. */
async function activated(args: readonly string[], variables: string, command = NSPAWN) {
  using directory = temporaryDirectory();
  const files = ['one', 'two'].map(name => join(directory.path, name));
  for (const file of files) writeFileSync(file, `${file.split('/').at(-1)}\n`);
  const start = ['sh', '-c', `export ${variables}; exec "$@" 3<${files[0]} 4<${files[1]}`, 'sh', ...command];
  return await nspawn(args, { command: start });
}

const LOOK = 'env | grep ^LISTEN | sort; ls -1 /proc/self/fd; cat <&3 && cat <&4';
const OPEN = '0\n1\n2\n3\n4\n5\n';
const PASSED = `${OPEN}one\ntwo\n`;

it('they are passed on, with their names', async () => {
  for (const [option, pid] of [
    ['-P', 1],
    ['-aP', 2],
  ] as const) {
    const { stdout, stderr } = await activated(
      shell(LOOK, '-q', option),
      'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b',
    );
    assert.is(stdout, `LISTEN_FDNAMES=a:b\nLISTEN_FDS=2\nLISTEN_PID=${pid}\n${PASSED}`);
    assert.is(stderr, '');
  }
});

it('at a console as well, and to init', async () => {
  const atConsole = await activated(shell(LOOK, '-q', '--console=read-only'), 'LISTEN_PID=$$ LISTEN_FDS=2');
  assert.is(atConsole.stdout.replaceAll('\r', ''), `LISTEN_FDS=2\nLISTEN_PID=1\n${PASSED}`);
  using tree = copyTree(busyboxTree());
  const init = join(tree.path, 'sbin/init');
  rmSync(init);
  writeFileSync(init, `#!/bin/sh\n${LOOK}\n`);
  chmodSync(init, 0o755);
  const boot = ['-D', tree.path, '--machine=box', '--timezone=off', '--resolv-conf=off', '-qbP'];
  const booted = await activated(boot, 'LISTEN_PID=$$ LISTEN_FDS=2');
  assert.is(booted.stdout, `LISTEN_FDS=2\nLISTEN_PID=1\n${PASSED}`);
});

it('what is for another process, or nonsense, is left alone', async () => {
  for (const variables of [
    'LISTEN_PID=1 LISTEN_FDS=2',
    'LISTEN_FDS=2',
    'LISTEN_PID=$$ LISTEN_FDS=two',
    'LISTEN_PID=$$',
  ]) {
    const { status, stdout } = await activated(shell('env | grep LISTEN; ls /proc/self/fd', '-q', '-P'), variables);
    assert.equal([status, stdout], [0, '0\n1\n2\n3\n'], variables);
  }
});

it('more than there are is an error', async () => {
  const { status, stderr } = await activated(shell('true', '-P'), 'LISTEN_PID=$$ LISTEN_FDS=20');
  assert.is(status, 1);
  assert.match(stderr, /\(EBADF\)/);
});

it('a restarted container has them again', async () => {
  using state = temporaryDirectory();
  const script = 'ls /proc/self/fd; test -e /home/once && exit 3; touch /home/once; reboot -f';
  const args = shell(script, '-q', '-P', `--bind=${state.path}:/home`);
  const { status, stdout } = await activated(args, 'LISTEN_PID=$$ LISTEN_FDS=2');
  assert.equal([status, stdout], [3, OPEN + OPEN]);
});

needs([root, busybox, tool('systemd-nspawn')])('as with systemd-nspawn', async () => {
  const theirs = ['systemd-nspawn', '--register=no', '--keep-unit'];
  const both: string[] = [];
  for (const command of [NSPAWN, theirs]) {
    const { stdout } = await activated(shell(LOOK, '-q', '-P'), 'LISTEN_PID=$$ LISTEN_FDS=2', command);
    both.push(stdout);
  }
  assert.is(both[0], both[1]);
});

test.run();
