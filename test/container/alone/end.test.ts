/** Containers that have ended: nothing of them is left, in this process or on the host. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type SpawnOptions, spawn } from '../../../src/index.ts';
import { hostState } from '../../support/host-state.ts';
import { needs, root } from '../../support/needs.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../../support/tree.ts';
import { idle, run } from '../support.ts';
import { leftSince } from './left.ts';

const check = needs([root, busybox]);

const host = temporaryDirectory();
const copy = busybox() ? temporaryDirectory() : copyTree(busyboxTree());
for (const name of ['lower', 'upper']) mkdirSync(join(host.path, name));
writeFileSync(join(copy.path, 'usr/bin/getent'), '#!/bin/sh\necho far:x:5:6::/home/far:\n', { mode: 0o755 });
test.after(() => {
  host[Symbol.dispose]();
  copy[Symbol.dispose]();
});

const command = ['/bin/sh', '-c', 'sleep 1000 & mount -t tmpfs x /mnt; mkdir /mnt/x; echo x >/dev/shm/x'];
const tree: SpawnOptions = { directory: copy.path, command };
const binds = [{ source: host.path, destination: '/mnt', readOnly: false, recursive: true }];
const WAYS: Record<string, SpawnOptions> = {
  plain: tree,
  'on a pseudo terminal': { ...tree, stdio: 'pty' },
  'a private network': { ...tree, privateNetwork: true },
  'as process 2': { ...tree, asPid2: true },
  'volatile overlay': { ...tree, volatile: 'overlay' },
  'volatile state': { ...tree, volatile: 'state' },
  'mounts of all kinds': {
    ...tree,
    binds,
    tmpfs: [{ path: '/t', options: '' }],
    inaccessible: ['/etc/passwd'],
    overlays: [{ lower: [`${host.path}/lower`], upper: `${host.path}/upper`, destination: '/o', readOnly: false }],
  },
  'a user that getent knows': { ...tree, user: 'far' },
  'a missing program': { ...tree, command: ['/bin/nonexistent'] },
};

for (const [name, options] of Object.entries(WAYS)) {
  check(`nothing is left of a container: ${name}`, async () => {
    execFileSync('mkdir', ['-p', `${copy.path}/mnt`]);
    const runIt = () => run(options).catch(() => {});
    await runIt();
    const before = hostState();
    for (let i = 0; i < 5; i++) await runIt();
    assert.equal(await leftSince(before, copy.path), []);
  });
}

check('nothing is left of containers that are killed, however many run at a time', async () => {
  const options: SpawnOptions = { directory: copy.path, volatile: 'overlay', binds };
  const runAndKill = async () => {
    const containers = await Promise.all(Array.from({ length: 20 }, () => idle(options)));
    await Promise.all(containers.map(container => container[Symbol.asyncDispose]()));
  };
  // Some memory for agents is kept to be used again.
  await runAndKill();
  const before = hostState();
  await runAndKill();
  const unread = await spawn({ ...options, command: ['/bin/sh', '-c', 'yes'] });
  unread.kill();
  await unread.exited;
  for (const stream of [unread.stdin, unread.stdout, unread.stderr]) stream?.destroy();
  assert.equal(await leftSince(before, copy.path), []);
});

test.run();
