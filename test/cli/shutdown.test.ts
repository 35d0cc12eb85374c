/** How containers are asked to end, and what becomes of reboot(2) in them. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root } from '../support/needs.ts';
import type { TemporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { NSPAWN, nspawn, shell, startNspawn } from './support.ts';

const it = needs([root, busybox]);
const KILLED = 'Container box terminated by signal KILL.\n';
const ASKED = 'Trying to halt container. Send SIGTERM again to trigger immediate termination.\n';
/** systemd(1): SIGRTMIN+3 */
const RTMIN_3 = 37;

/** A tree whose init is this shell script. */
function bootable(script: string): TemporaryDirectory {
  const tree = copyTree(busyboxTree());
  const init = join(tree.path, 'sbin/init');
  rmSync(init);
  writeFileSync(init, `#!/bin/sh\n${script}\n`);
  chmodSync(init, 0o755);
  return tree;
}

const booting = ({ path }: TemporaryDirectory, ...options: string[]): string[] => [
  ...['-b', '-D', path, '--machine=box', '--timezone=off', '--resolv-conf=off'],
  ...options,
];

const WAITING = 'echo ready; while :; do sleep 0.02; done';

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  it(`${signal} kills a container with a plain command at once`, async () => {
    const { child, outcome, until } = startNspawn(shell(`trap 'echo caught' TERM INT ${RTMIN_3}; ${WAITING}`, '-q'));
    await until('ready');
    child.kill(signal);
    assert.equal(await outcome, { status: 1, stdout: 'ready\r\n', stderr: KILLED });
  });

  it(`${signal} asks the init of a booted one, whose exit status then counts`, async () => {
    using tree = bootable(`trap 'echo asked; exit 5' ${RTMIN_3}; ${WAITING}`);
    const { child, outcome, until } = startNspawn(booting(tree, '-q'));
    await until('ready');
    child.kill(signal);
    assert.equal(await outcome, { status: 5, stdout: 'ready\r\nasked\r\n', stderr: ASKED });
  });
}

it('^C at a terminal is for nspawn alone: an ephemeral root lasts until the end, also over a restart', async () => {
  using tree = bootable(`[ -e /again ] && exit 7; trap 'echo asked; touch /again; reboot -f' ${RTMIN_3}; ${WAITING}`);
  const { child, outcome, until } = startNspawn(booting(tree, '-q', '-x'), { command: ['setsid', ...NSPAWN] });
  await until('ready');
  // To its whole process group.
  process.kill(-child.pid!, 'SIGINT');
  assert.equal(await outcome, { status: 7, stdout: 'ready\r\nasked\r\n', stderr: ASKED });
});

it('the second signal kills a booted one that does not end', async () => {
  using tree = bootable(`trap 'echo asked' ${RTMIN_3}; ${WAITING}`);
  const { child, outcome, until } = startNspawn(booting(tree, '-q'));
  await until('ready');
  child.kill('SIGTERM');
  await until('asked');
  child.kill('SIGINT');
  assert.equal(await outcome, { status: 1, stdout: 'ready\r\nasked\r\n', stderr: ASKED + KILLED });
});

it('--kill-signal= is what a booted one is asked with', async () => {
  using tree = bootable(`trap 'echo right; exit 0' USR2; trap 'echo wrong' ${RTMIN_3}; ${WAITING}`);
  const { child, outcome, until } = startNspawn(booting(tree, '-q', '--kill-signal=SIGUSR2'));
  await until('ready');
  child.kill('SIGTERM');
  assert.equal(await outcome, { status: 0, stdout: 'ready\r\nright\r\n', stderr: ASKED });
});

it('--kill-signal= is for plain commands, too', async () => {
  const command = shell(`trap 'echo right; exit 8' USR2; ${WAITING}`, '-q', '--kill-signal=12');
  const { child, outcome, until } = startNspawn(command);
  await until('ready');
  child.kill('SIGTERM');
  assert.equal(await outcome, { status: 8, stdout: 'ready\r\nright\r\n', stderr: ASKED });
});

it('a container that reboots is started again, with the same options, until it ends otherwise', async () => {
  using tree = bootable(`
    echo "$# argument: $1, name $NAME"
    echo x >>/boots
    test $(wc -l </boots) -lt 3 && reboot -f
    exit 4`);
  const { status, stdout, stderr } = await nspawn(booting(tree, '--setenv=NAME=value', 'word'));
  assert.is(stdout, '1 argument: word, name value\r\n'.repeat(3));
  const spawning = `Spawning container box on ${tree.path}.\n`;
  const rebooting = `${spawning}Container box is being rebooted.\n`;
  assert.is(stderr, `${rebooting}${rebooting}${spawning}Container box failed with error code 4.\n`);
  assert.is(status, 4);
});

for (const program of ['halt', 'poweroff']) {
  it(`a container that calls ${program} has ended well`, async () => {
    using tree = bootable(`${program} -f`);
    const { status, stderr } = await nspawn(booting(tree));
    assert.match(stderr, /\nContainer box has been shut down\.\n$/);
    assert.is(status, 0);
  });
}

it('a reboot happens quietly with --quiet, and with pipes', async () => {
  using tree = bootable('echo boot; test -e /booted && poweroff -f; : >/booted; reboot -f');
  assert.equal(await nspawn(booting(tree, '-q', '-P')), { status: 0, stdout: 'boot\nboot\n', stderr: '' });
});

test.run();
