/**
 * Runs containers of all kinds to their ends of all kinds, and looks for what is left:
 *
 *     bun leaving.ts
 *
 * Prints a JSON object: for each kind, what stayed behind. To be run in an empty machine.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { Connection, deleteLink, newLink } from '../../netlink/index.ts';
import { type SpawnOptions, spawn } from '../../src/index.ts';
import { openNetlink } from '../../syscalls/netlink-socket.ts';
import { textOf } from '../console/support.ts';
import { busyboxDisk, off } from '../image/images.ts';
import { shell } from '../library/support.ts';
import { difference, type HostState, hostState, lastingDifference } from '../support/host-state.ts';
import { busyboxTree, copyTree } from '../support/tree.ts';

/** Runs a container to its end. */
async function run(options: SpawnOptions): Promise<void> {
  const container = await spawn(options);
  container.stdin?.end();
  await Promise.all([container.stdout, container.stderr].map(stream => stream && textOf(stream)));
  await container.exited;
}

/** A container that can't start. */
const fail = (options: SpawnOptions) =>
  run(options).then(
    () => {
      throw new Error('it has started');
    },
    () => {},
  );

const nspawn = (...args: string[]) =>
  void spawnSync(process.execPath, ['src/cli/main.ts', '-q', '--timezone=off', '--resolv-conf=off', ...args]);

const writable = copyTree(busyboxTree()).path;
const init = join(writable, 'sbin/init');
rmSync(init);
writeFileSync(init, '#!/bin/sh\ntest $(wc -l </boots) = 3 && poweroff -f; echo x >>/boots; reboot -f\n');
chmodSync(init, 0o755);
const layers = ['lower', 'upper'].map(name => join(writable, name));
for (const layer of layers) mkdirSync(layer);

const links: SpawnOptions = { networkVeth: true, networkVethExtra: ['left0:in0'] };
using connection = new Connection(openNetlink());
connection.execute(newLink({ kind: 'veth', name: 'lent0', data: { peer: { name: 'peer0' } } }));

const disk = busyboxDisk('/tmp/disk.raw');
const inImage = (script: string, more: SpawnOptions = {}): SpawnOptions => ({
  ...off,
  image: disk,
  command: ['/bin/sh', '-c', script],
  ...more,
});

const bind = { destination: '/home/guest', readOnly: false, recursive: true };
const KINDS: Record<string, () => unknown> = {
  'ended by itself': () => run(shell('sleep 1000 & exit 3')),
  'on a terminal': () => run(shell('sleep 1000 & echo', { stdio: 'pty' })),
  'on our streams': () => run(shell('true', { stdio: 'inherit' })),
  'killed from inside': () => run(shell('kill -9 $$', { asPid2: true })),
  async 'killed from outside'() {
    await using _ = await spawn(shell('sleep 1000'));
  },
  'a volatile overlay': () => run(shell('echo x >/etc/x', { readOnly: false, volatile: 'overlay' })),
  'a volatile state': () => run(shell('echo x >/var/x', { readOnly: false, volatile: 'state' })),
  'a writable tree': () => run(shell('echo x >/tmp/x', { readOnly: false, directory: writable })),
  'a network of its own': () => run(shell('ip link add a type veth peer name b; true', { privateNetwork: true })),
  'links and a zone': () => run(shell('true', { networkZone: 'left', networkVethExtra: ['left0:in0'] })),
  'links that the container has renamed and deleted': () =>
    run(shell('ip link set host0 name x0; ip link delete in0', links)),
  'an interface that was lent': () => run(shell('true', { networkInterfaces: ['lent0:lan0'] })),
  'a network that was there already': () => run(shell('true', { networkNamespacePath: '/proc/self/ns/net' })),
  'no such bridge': () => fail(shell('true', { networkVethExtra: ['left0'], networkBridge: 'no-such' })),
  'a bind and a tmpfs': () =>
    run(
      shell('echo x >/home/guest/x', {
        binds: [{ source: '/tmp', ...bind }],
        tmpfs: [{ path: '/var/tmp', options: '' }],
      }),
    ),
  'a temporary directory': () => run(shell('echo x >/home/guest/x', { binds: [{ source: '', ...bind }] })),
  'an overlay': () =>
    run(
      shell('echo x >/home/guest/x', {
        overlays: [{ lower: [layers[0]!], upper: layers[1]!, destination: '/home/guest', readOnly: false }],
      }),
    ),
  'another user': () => run(shell('id', { user: 'guest' })),
  "the host's processes": () => run(shell('true', { shareSystem: true })),
  'a disk image': () => run(inImage('echo x >/home/x; sleep 1000 & exit 3')),
  'a disk image, overlaid': () => run(inImage('echo x >/usr/x', { volatile: 'overlay' })),
  'a disk image, of which only /usr': () => run(inImage('echo x >/x', { volatile: 'yes' })),
  'a disk image, and no such program': () => fail(inImage('', { command: ['/no/such'] })),
  'a disk image, and a step that fails': () => fail(inImage('', { tmpfs: [{ path: '/mnt', options: 'bogus=1' }] })),
  'the command line, with a disk image': () => nspawn('-i', disk, 'sh', '-c', 'sleep 1000 & exit 3'),
  'no such program': () => fail(shell('', { command: ['/no/such'] })),
  'no such program in the path': () => fail(shell('', { command: ['no-such'] })),
  'a step that fails': () => fail(shell('', { tmpfs: [{ path: '/mnt', options: 'bogus=1' }] })),
  'nothing to bind': () => fail(shell('', { binds: [{ source: '/no/such', ...bind }] })),
  'no such user': () => fail(shell('', { user: 'nobody-knows' })),
  'the command line': () => nspawn('-D', busyboxTree(), '--read-only', 'sh', '-c', 'sleep 1000 & exit 3'),
  'the command line, as process 2': () => nspawn('-D', busyboxTree(), '--read-only', '-a', 'true'),
  'the command line, with reboots': () => nspawn('-D', writable, '-b'),
  'the command line, with an error': () => nspawn('-D', busyboxTree(), '--read-only', '--bind=/no/such', 'true'),
};

/** The state once what the last container's end has started is over, too. */
async function settledState(): Promise<HostState> {
  for (;;) {
    const state = hostState();
    await setTimeout(20);
    if (difference(state, hostState()).length === 0) return state;
  }
}

const left: Record<string, string[]> = {};
for (const [kind, end] of Object.entries(KINDS)) {
  // Once without a snapshot: what the runtime and the library keep for themselves is there then, and files of the bind.
  await end();
  rmSync(join(writable, 'boots'), { force: true });
  const before = await settledState();
  await end();
  left[kind] = await lastingDifference(before);
}
connection.execute(deleteLink('lent0'));
console.log(JSON.stringify(left));
process.exit();
