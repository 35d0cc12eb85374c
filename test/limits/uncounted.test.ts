/** What is told of containers for which there are no cgroups. */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { commandLine } from '../container/support.ts';
import { ordinaryUser, userNamespaces } from '../rootless/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const it = needs([root, busybox]);

const NO_CGROUPS = 'umount -R /sys/fs/cgroup';
const onTree = ['-D', busyboxTree(), '--volatile=overlay'];
/** It waits for one that needs much memory, and for one that takes time. */
const WORK = ['/bin/sh', '-c', '/bin/dd bs=50M count=1 if=/dev/zero of=/dev/null 2>/dev/null; (/bin/sh -c "$0"); true'];
const LOOP = 'i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done';

/** Seconds and mebibytes. */
function told(stderr: string): { time: number; memory: number | undefined } {
  const words = /^Container \S+ used ([\d.]+) s of CPU time(?:, at most ([\d.]+) MiB of memory in one process)?\.$/m;
  const [, time, memory] = words.exec(stderr) ?? [];
  assert.ok(time, stderr);
  return { time: Number(time), memory: memory === undefined ? undefined : Number(memory) };
}

it('the time of what was waited for, and the memory of the largest process', () => {
  const { status, stderr } = commandLine(NO_CGROUPS, ...onTree, '--private-users=pick', '--stats', '--', ...WORK, LOOP);
  assert.is(status, 0, stderr);
  const { time, memory = 0 } = told(stderr);
  assert.ok(time > 0.01, stderr);
  assert.ok(memory >= 50 && memory < 60, stderr);
});

it('without users of its own, the time alone: it was in the memory of nspawn', () => {
  const { status, stderr } = commandLine(NO_CGROUPS, ...onTree, '--stats', '--', ...WORK, LOOP);
  assert.is(status, 0, stderr);
  const { time, memory } = told(stderr);
  assert.ok(time > 0.01, stderr);
  assert.is(memory, undefined);
});

it('limits are still refused', () => {
  const { status, stderr } = commandLine(NO_CGROUPS, ...onTree, '--stats', '--memory=64M', '--', '/bin/true');
  assert.is(status, 1);
  assert.match(stderr, /^limiting the memory to 67108864 bytes: that takes the cgroup controller memory/);
});

it('cgroups that can’t be made are no error where they are only to count', () => {
  const readOnly = 'for each in $(findmnt -rno TARGET -t cgroup,cgroup2); do mount -o remount,bind,ro $each; done';
  const counted = commandLine(readOnly, ...onTree, '--stats', '--', ...WORK, LOOP);
  assert.is(counted.status, 0, counted.stderr);
  assert.ok(told(counted.stderr).time > 0.01);
  const limited = commandLine(readOnly, ...onTree, '--tasks=20', '--', '/bin/true');
  assert.is(limited.status, 1);
  assert.match(limited.stderr, /^making a cgroup below \/sys\/fs\/cgroup.*: Read-only file system/m);
});

needs([root, busybox, userNamespaces])('an ordinary user is told the same', () => {
  using user = ordinaryUser();
  const [program, ...words] = [...user.nspawn, '-q', '-P', '-D', user.tree, '--stats', '--', ...WORK, LOOP];
  const { status, stderr } = spawnSync(program!, words, { encoding: 'utf8', timeout: 60_000 });
  assert.is(status, 0, stderr);
  const { time, memory = 0 } = told(stderr);
  assert.ok(time > 0.01 && memory >= 50 && memory < 60, stderr);
});

test.run();
