/** The devices that a container with a cgroup may use; the kernel runs the program. */
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hierarchiesOf, isUnified } from '../../src/plan/cgroups.ts';
import { allowedDevices, legacyRule } from '../../src/plan/devices.ts';
import { buildPlan, planContainer } from '../../src/plan/plan.ts';
import { commandLine, shell, unchanging } from '../container/support.ts';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const unified: Need = () => (hierarchiesOf('self').some(isUnified) ? undefined : 'there is no cgroup v2');
const legacy: Need = () =>
  hierarchiesOf('self').some(({ controllers }) => controllers.split(',').includes('devices'))
    ? undefined
    : 'there is no devices controller of cgroup v1';

/** What can be done: 'made' and 'opened', by kind and number. */
const TRY = `
for node in "c 1 3" "c 1 5" "c 1 7" "c 1 8" "c 1 9" "c 5 0" "c 10 200" "c 10 3" "c 5 1" "c 5 2" "b 7 0" "b 8 0"; do
  made= opened=
  rm -f /tmp/node
  mknod /tmp/node $node 2>/dev/null && made=made
  # Opened for reading and writing, whether there is such a device or not.
  [ -n "$made" ] && { (: <>/tmp/node) 2>&1 | grep -q "not permitted" || opened=opened; }
  echo "$node:" $made $opened
done
rm -f /tmp/node`;

const ALLOWED = ['c 1 3', 'c 1 5', 'c 1 7', 'c 1 8', 'c 1 9', 'c 5 0', 'c 10 200'];
const OTHERS = ['c 10 3', 'c 5 1', 'c 5 2', 'b 7 0', 'b 8 0'];
const HELD = [...ALLOWED.map(node => `${node}: made opened`), ...OTHERS.map(node => `${node}:`)].join('\n');
const FREE = [...ALLOWED, ...OTHERS].map(node => `${node}: made opened`).join('\n');

needs([root, busybox, unified])('a container with a cgroup has the usual devices only', async () => {
  assert.is(await shell(TRY, { ...unchanging(busyboxTree()), stats: true }), HELD);
});

needs([root, busybox])('one without may make any', async () => {
  assert.is(await shell(TRY), FREE);
});

needs([root, busybox, unified])('--share-system has the cgroup, and may use all', async () => {
  assert.is(await shell(TRY, { ...unchanging(busyboxTree()), shareSystem: true }), FREE);
});

needs([root, busybox, unified])('its pseudo terminals work', async () => {
  const opened = await shell('exec 3<>/dev/ptmx && ls /dev/pts', { ...unchanging(busyboxTree()), stats: true });
  assert.is(opened, '0\nptmx');
});

needs([root, busybox, unified])('a bound device can be used, read-only for reading', async () => {
  using directory = temporaryDirectory();
  const node = join(directory.path, 'kmsg');
  // A number that nothing has: whether it may be opened is asked first.
  execFileSync('mknod', [node, 'c', '10', '3']);
  const tries = `
may() { (eval "$2") 2>&1 | grep -q "not permitted" || echo $1; }
may read ": </dev/null"; may write ": >/dev/null"; may make "mknod /tmp/a c 10 3"`;
  const answer = (readOnly: boolean) =>
    shell(tries, {
      ...unchanging(busyboxTree()),
      stats: true,
      binds: [{ source: node, destination: '/dev/null', readOnly, recursive: true }],
    });
  assert.is(await answer(false), 'read\nwrite');
  assert.is(await answer(true), 'read');
});

const withProperties = (...properties: string[]) => shell(TRY, { ...unchanging(busyboxTree()), properties });
const named: Need = () =>
  /^ *7 loop$/m.test(readFileSync('/proc/devices', 'utf8')) ? undefined : 'the kernel has no loop devices';

needs([root, busybox, unified, named])('properties allow more of them, without systemd', async () => {
  const more = await withProperties('DeviceAllow=block-l??p', 'DeviceAllow=char-misc rm');
  const wanted = HELD.replace('b 7 0:', 'b 7 0: made opened').replace('c 10 3:', 'c 10 3: made');
  assert.is(more, wanted);
});

needs([root, busybox, unified])('an empty list starts again, and a policy says what is allowed besides', async () => {
  const closed = await withProperties('DeviceAllow=', 'DevicePolicy=closed');
  assert.is(closed, HELD.replace('c 10 200: made opened', 'c 10 200:'));
  assert.is(await withProperties('DeviceAllow=', 'DevicePolicy=auto'), FREE);
  assert.is(await withProperties('DevicePolicy=auto'), HELD);
});

needs([root, busybox, legacy, tool('unshare')])('the controller of version 1 does the same', () => {
  const alone = 'umount /sys/fs/cgroup/unified';
  const { stdout, stderr } = commandLine(
    alone,
    '-D',
    busyboxTree(),
    '--volatile=overlay',
    '--property=DeviceAllow=block-loop',
    '/bin/sh',
    '-c',
    TRY,
  );
  const wanted = named() ? HELD : HELD.replace('b 7 0:', 'b 7 0: made opened');
  assert.is(stdout, wanted, stderr);
});

needs([busybox])('the list, as version 1 has it', () => {
  const bound = { source: '/dev/null', destination: '/x', readOnly: true, recursive: true };
  const rules = allowedDevices(buildPlan({ directory: busyboxTree(), binds: [bound] }, 'streams'))!.map(legacyRule);
  const { rdev } = statSync('/dev/null');
  assert.is(rdev, 0x103);
  assert.equal(
    rules.filter(rule => rule !== 'c 10:200 rwm'),
    ['c 1:3 rwm', 'c 1:5 rwm', 'c 1:7 rwm', 'c 1:8 rwm', 'c 1:9 rwm', 'c 5:0 rwm', 'c 5:2 rw', 'c 136:* rw', 'c 1:3 r'],
  );
});

needs([root, busybox])('what DeviceAllow= names is a device, if it is there', async () => {
  const rules = async (...words: string[]) => {
    const properties = ['DeviceAllow=', ...words.map(word => `DeviceAllow=${word}`)];
    return allowedDevices(await planContainer({ directory: busyboxTree(), properties }, 'streams'))!.map(legacyRule);
  };
  assert.equal(await rules('/dev/null r', '/dev/no-such', 'char-m.m', 'char-mem w', 'block-mem'), [
    'c 1:3 r',
    'c 1:* w',
  ]);
  const error = await rules('/dev/pts').catch((thrown: Error) => thrown.message);
  assert.is(error, '--property=DeviceAllow=: /dev/pts is no device node');
});

test.run();
