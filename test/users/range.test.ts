/** Which ids a container gets: what systemd-nspawn would pick, and nobody else's. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listContainer } from '../../src/container/record.ts';
import { BUSY_BASE, baseOfTree, pickRange, RANGE } from '../../src/users/range.ts';
import { overlaps, takenIds } from '../../src/users/taken.ts';
import { startAgent } from '../../syscalls/agent/agent.ts';
import { CLONE } from '../../syscalls/constants.ts';
import { eventually, statusOf } from '../agent/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const PROGRAM = join(import.meta.dirname, 'programs/picking.ts');
const LEASES = '/run/systemd/nspawn-uid';
const ROOT = { uid: 0, gid: 0 };
const MACHINES = ['a', 'web', 'nspawn-test.with-a-rather-long-name.of-62-characters-in-all-x'];

const systemd = (machine: string, command: string[]): string[] => [
  ...['--register=no', '--keep-unit', '-q', '-D', busyboxTree(), '--read-only', '-M', machine, '--console=pipe'],
  ...['--resolv-conf=off', '--timezone=off', '--private-users=pick', '--private-users-ownership=off', '--', ...command],
];
const SHOW_MAP = ['/bin/busybox', 'cat', '/proc/self/uid_map'];
/** The first id of a container of systemd-nspawn's. */
const pickOfSystemd = (machine: string): number =>
  Number(execFileSync('systemd-nspawn', systemd(machine, SHOW_MAP), { encoding: 'utf8' }).trim().split(/\s+/)[1]);

const pick = (machine: string, owner = ROOT): number => {
  using lease = pickRange(machine, owner);
  return lease.base;
};

/** A child, and the words of its first line of output. */
async function started(command: string, words: string[]): Promise<{ child: ChildProcess; line: string[] }> {
  const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  return { child, line: String(value).trim().split(/\s+/) };
}

const systemdNspawn = [root, busybox, tool('systemd-nspawn')];

needs(systemdNspawn)('the same as systemd-nspawn for the same machine name', () => {
  for (const machine of MACHINES) assert.is(pick(machine), pickOfSystemd(machine), machine);
});

needs(systemdNspawn)('systemd-nspawn takes another when we have it, and we when it has', async () => {
  const usual = pick('nspawn-test-both');
  {
    using lease = pickRange('nspawn-test-both', ROOT);
    assert.is(lease.base, usual);
    const theirs = pickOfSystemd('nspawn-test-both');
    assert.is.not(theirs, usual);
    assert.is(theirs % RANGE, 0);
  }
  const script = 'cat /proc/self/uid_map; read x';
  const { child, line } = await started('systemd-nspawn', systemd('nspawn-test-both', ['/bin/sh', '-c', script]));
  try {
    assert.is(Number(line[1]), usual);
    assert.is.not(pick('nspawn-test-both'), usual);
  } finally {
    child.stdin?.end('\n');
    await once(child, 'exit');
  }
});

needs([root])('what a killed program has left goes when somebody picks, and what is held does not', () => {
  using held = pickRange('nspawn-test-held', ROOT);
  writeFileSync(`${LEASES}/1234567890`, '');
  pick('nspawn-test-other');
  assert.not.ok(existsSync(`${LEASES}/1234567890`));
  assert.ok(existsSync(`${LEASES}/${held.base}`));
});

needs([root])('two of the same name get different ones, and the first is free again', () => {
  const first = pickRange('nspawn-test-two', ROOT);
  const { base } = first;
  assert.is(readFileSync(`${LEASES}/${base}`, 'utf8'), '');
  assert.is.not(pick('nspawn-test-two'), base);
  first[Symbol.dispose]();
  assert.is(existsSync(`${LEASES}/${base}`), false);
  assert.is(pick('nspawn-test-two'), base);
});

needs([root])('the file that a killed nspawn has left is no lease', () => {
  const base = pick('nspawn-test-stale');
  writeFileSync(`${LEASES}/${base}`, '');
  assert.is(pick('nspawn-test-stale'), base);
  assert.is(existsSync(`${LEASES}/${base}`), false);
});

needs([root])('the range that the tree has is taken first', () => {
  const base = 7000 * RANGE;
  assert.is(pick('nspawn-test-tree', { uid: base + 33, gid: base + 5 }), base);
  using _ = pickRange('nspawn-test-tree', { uid: base, gid: base });
  assert.is(pick('nspawn-test-tree', { uid: base, gid: base }), pick('nspawn-test-tree'));
  assert.is(pick('nspawn-test-tree', { uid: BUSY_BASE, gid: BUSY_BASE }), pick('nspawn-test-tree'));
  assert.is(pick('nspawn-test-tree', { uid: 5 * RANGE, gid: 5 * RANGE }), pick('nspawn-test-tree'), 'too low');
});

test('a tree whose root directory has user and group of different ranges has none', () => {
  assert.is(baseOfTree({ uid: 3 * RANGE + 1, gid: 3 * RANGE }), 3 * RANGE);
  assert.throws(() => baseOfTree({ uid: 3 * RANGE, gid: 0 }), /belongs to the user 196608 and the group 0/);
});

needs([root])('containers that run keep their ids, picked or not', () => {
  const base = pick('nspawn-test-used');
  using user = startAgent({ namespaces: CLONE.NEWUSER, fds: [], dieWithParent: true });
  const { pid } = user;
  writeFileSync(`/proc/${pid}/uid_map`, `0 ${base + 100} 10`);
  writeFileSync(`/proc/${pid}/gid_map`, '0 5 10');
  assert.is(pick('nspawn-test-used'), base, 'no container');
  {
    using listing = listContainer({ machine: 'x', root: '/', pid, nspawn: process.pid, since: 0 });
    using _ = listing.lock;
    assert.is.not(pick('nspawn-test-used'), base);
  }
  assert.is(pick('nspawn-test-used'), base);
});

needs([root, tool('unshare')])("the host's users, groups and what they may map are left out", () => {
  const machine = 'nspawn-test-host';
  const base = pick(machine);
  using scratch = temporaryDirectory();
  const entries: [file: string, line: string][] = [
    ['/etc/passwd', `somebody:x:${base + 5}:0::/:/bin/sh`],
    ['/etc/group', `some:x:${base + RANGE - 1}:`],
    ['/etc/subuid', `somebody:${base - 5}:6`],
    ['/etc/subgid', `somebody:${base + 5}:1`],
    ['/etc/passwd', `somebody:x:${base - 1}:${base}::/:/bin/sh`],
  ];
  const picks = entries.map(([file, line], i) => {
    const changed = join(scratch.path, String(i));
    writeFileSync(changed, `${existsSync(file) ? readFileSync(file, 'utf8') : ''}\n${line}\nbroken\n`);
    const script = 'mount --bind "$1" "$2" && exec "$3" "$4" "$5"';
    const words = ['-m', 'sh', '-c', script, 'sh', changed, file, process.execPath, PROGRAM, machine];
    return Number(execFileSync('unshare', words, { encoding: 'utf8' }));
  });
  assert.equal(
    picks.map(picked => picked === base),
    [false, false, false, false, true],
  );
});

test('ids overlap if they have one in common', () => {
  const taken = [{ start: 10, count: 5 }];
  assert.equal(
    [5, 6, 10, 14, 15].map(start => overlaps(start, 5, taken)),
    [false, true, true, true, false],
  );
  assert.ok(overlaps(0, 1, takenIds()), 'root is a user');
});

needs([root])('a killed nspawn leaves no lease; while what uses the ids lives they are kept', async () => {
  const { child, line } = await started(process.execPath, [PROGRAM, '--hold', 'nspawn-test-killed']);
  const [base, user] = line.map(Number);
  assert.ok(readdirSync(LEASES).includes(String(base)));
  child.kill('SIGKILL');
  await once(child, 'exit');
  await eventually('the lease goes', () => !existsSync(`${LEASES}/${base}`));
  assert.ok([undefined, 'Z'].includes(statusOf(user!)?.state), 'who used the ids is gone before');
});

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

needs([root, busybox])('a container has its lease until it ends, or is killed with its nspawn', async () => {
  const machine = 'nspawn-test-lease';
  const base = pick(machine);
  const lease = join(LEASES, String(base));
  const options = ['-q', '-P', '-U', '-M', machine, '-D', busyboxTree(), '--volatile=overlay', '--timezone=off'];
  const start = () => started(process.execPath, [MAIN, ...options, '/bin/sh', '-c', 'cat /proc/self/uid_map; read x']);
  const first = await start();
  assert.is(Number(first.line[1]), base);
  assert.ok(existsSync(lease));
  const ended = once(first.child, 'exit');
  first.child.stdin?.end('\n');
  await ended;
  assert.is(existsSync(lease), false);
  const second = await start();
  assert.is(Number(second.line[1]), base);
  second.child.kill('SIGKILL');
  await eventually('the lease goes', () => !existsSync(lease));
});

test.run();
