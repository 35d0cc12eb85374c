/** Cgroups that an ordinary user leaves to a container whose root is a subordinate id of the user's. */
import { spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mayWrite } from '../../src/host.ts';
import { cgroupDirectory, hierarchiesOf, isUnified } from '../../src/plan/cgroups.ts';
import { nspawn, startNspawn } from '../cli/support.ts';
import { eventually } from '../console/support.ts';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { GID, ordinaryUser, SUBORDINATE, subordinateIds, UID, userNamespaces } from './support.ts';

const unified = hierarchiesOf('self').find(isUnified);
const cgroup2: Need = () =>
  unified && mayWrite(cgroupDirectory(unified)) ? undefined : 'there is no cgroup v2 that can be written to';
const it = needs([root, busybox, tool('setpriv'), tool('newuidmap'), userNamespaces, subordinateIds, cgroup2]);

/** What systemd does with its units. */
const INIT = `#!/bin/sh
cd $(grep -o '/sys/fs/cgroup[^ ]* .* cgroup2 ' /proc/self/mountinfo | cut -d' ' -f1)
mkdir -p init.scope system.slice/a.service && echo 1 > init.scope/cgroup.procs && echo up
sh -c 'echo 0 > system.slice/a.service/cgroup.procs; chmod 0 system.slice; exec sleep 1000' &
read line; poweroff -f
`;

/** A cgroup that root has given to the user. */
function delegated(): AsyncDisposable & { path: string } {
  const path = join(cgroupDirectory(unified!), `test-${process.pid}`);
  mkdirSync(path);
  for (const name of ['', 'cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control']) {
    chownSync(join(path, name), UID, GID);
  }
  // The last of nspawn ends a moment after it.
  const isEmpty = () => readFileSync(join(path, 'cgroup.procs'), 'utf8') === '';
  return {
    path,
    async [Symbol.asyncDispose]() {
      await eventually('nothing is left in it', isEmpty);
      rmdirSync(path);
    },
  };
}

const below = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => name);

it('an init keeps its units in them, commands join them, and nothing is left, even after kill -9', async () => {
  using user = ordinaryUser({ hasSubordinates: true });
  await using cgroup = delegated();
  rmSync(join(user.tree, 'sbin/init'));
  writeFileSync(join(user.tree, 'sbin/init'), INIT, { mode: 0o755 });
  const { start } = SUBORDINATE;
  spawnSync('sh', ['-ec', `chown -R ${start}:${start} ${user.tree}; chmod 755 ${user.home}`]);
  const command = ['sh', '-ec', `echo $$ > ${cgroup.path}/cgroup.procs; exec "$@"`, 'sh', ...user.nspawn];
  const boot = () =>
    startNspawn(['-q', '-P', '--timezone=off', '-b', '-D', user.tree, '-M', 'with-units'], { command, cwd: '/' });

  const running = boot();
  await running.until('up\n');
  assert.is(below(cgroup.path).length, 1);
  const words = ['exec', 'with-units', '/bin/grep', '^0::', '/proc/self/cgroup'];
  assert.equal(await nspawn(words, { command, cwd: '/' }), { status: 0, stdout: '0::/init.scope\n', stderr: '' });
  running.child.stdin!.end('\n');
  assert.equal(await running.outcome, { status: 0, stdout: 'up\n', stderr: '' });
  assert.equal(below(cgroup.path), []);

  const killed = boot();
  await killed.until('up\n');
  killed.child.kill('SIGKILL');
  await killed.outcome;
  const isEmpty = () => spawnSync('grep', ['-q', 'populated 0', join(cgroup.path, 'cgroup.events')]).status === 0;
  await eventually('nothing runs', isEmpty);
  // What an init has made is removed by the next run.
  const next = boot();
  await next.until('up\n');
  assert.is(below(cgroup.path).length, 1);
  next.child.stdin!.end('\n');
  assert.is((await next.outcome).status, 0);
  assert.equal(below(cgroup.path), []);
});

test.run();
