/** --dry-run: a plan in words. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { machineId } from '../network/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const check = needs([busybox]);

const dryRun = (...words: string[]) => {
  const main = join(import.meta.dirname, '../../src/cli/main.ts');
  return spawnSync(process.execPath, [main, '--dry-run', ...words], { encoding: 'utf8', timeout: 30_000 });
};

needs([root, busybox])('--dry-run prints the plan, a line for each step, and does nothing', () => {
  const words = [
    '--timezone=off',
    '--resolv-conf=off',
    '--private-network',
    '--bind-ro=/tmp:/mnt',
    '--tmpfs=/t:size=1M',
    '--overlay=/tmp:/tmp/no-such-upper:/o',
    '--inaccessible=/etc/shadow',
    '--slice=my',
  ];
  const { stdout, stderr, status } = dryRun(
    '-D',
    busyboxTree(),
    '-P',
    ...words,
    '-M',
    'name',
    '-u',
    'guest',
    '-a',
    '--',
    'ls',
    '-l',
  );
  assert.equal([status, stderr], [0, '']);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .filter(line => !/selinux|audit login uid/.test(line));
  assert.equal(lines, [
    `container name on ${busyboxTree()}`,
    `locking ${busyboxTree()} (exclusive)`,
    'making namespaces: mount, uts, ipc, pid, network',
    "separating the mounts from the host's",
    'setting the host name to name',
    'making an overlay (overlay 0) of /tmp, writing to no-such-upper in /tmp',
    'changing into the root directory',
    'making /usr, /etc, /var, /home, /root, /tmp, /run, /dev, /proc, /sys where missing',
    'mounting proc on /proc',
    'binding /proc/sys to itself read-only',
    'mounting sysfs on /sys',
    'mounting tmpfs on /dev (mode=755)',
    'mounting devpts on /dev/pts (ptmxmode=0666,mode=620,gid=5)',
    'mounting tmpfs on /dev/shm (mode=1777)',
    'mounting tmpfs on /run (mode=755)',
    lines.find(line => line.startsWith('filling /dev with null, zero'))!,
    'setting up /proc/kmsg',
    'setting a boot id of its own',
    'bringing the loopback interface up',
    'registering the container with systemd-machined in my.slice',
    'binding /tmp, read-only to /mnt',
    'mounting tmpfs on /t (size=1M)',
    'binding overlay 0 to /o',
    'making /etc/shadow inaccessible',
    'becoming the user guest',
    'running ls -l as process 2',
  ]);
  assert.not.ok(existsSync('/tmp/no-such-upper'));
  assert.match(dryRun('-D', busyboxTree(), '-b').stdout, /\nsetting up \/dev\/console\n.*\nrunning init\n$/s);
});

needs([root, busybox, machineId])('--dry-run shows network interfaces, and makes none', () => {
  const { stdout, status } = dryRun(
    '-D',
    busyboxTree(),
    '-M',
    'dry',
    '--network-zone=dry',
    '--network-interface=no-such:a',
  );
  assert.is(status, 0);
  assert.match(stdout, '\nmoving the network interface no-such into the container as a\n');
  assert.match(stdout, /\nmaking a veth link from vb-dry \([0-9a-f:]{17}\) on the zone's bridge vz-dry to host0 \(/);
  assert.not.ok(existsSync('/sys/class/net/vz-dry'));
});

check('--dry-run refuses as a start would', () => {
  const { stdout, stderr, status } = dryRun('-D', '/no/such/tree');
  assert.equal([stdout, stderr, status], ['', 'opening the root directory /no/such/tree: no such directory\n', 1]);
});

needs([root, busybox])('--dry-run tells which users a container gets', () => {
  const told = (...words: string[]) =>
    dryRun('-D', busyboxTree(), ...words)
      .stdout.split('\n')
      .filter(line => /^mapping|^making namespaces/.test(line));
  assert.equal(told('-U'), [
    'making namespaces: mount, uts, ipc, pid, user',
    'mapping its users to 65536 user ids of the host that nobody has, as whose the files of the tree are shown, or else to whom they are given',
  ]);
  assert.match(told('--private-users=65536:10')[1]!, /^mapping its users to the user ids 65536 to 65545 of the host, /);
});

test.run();
