/** Trees whose files are given to another range of user ids. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Logger, silentLogger } from '../../src/log.ts';
import { BUSY_BASE, RANGE } from '../../src/users/range.ts';
import { shiftFile } from '../../src/users/shift-file.ts';
import { type Progress, shiftTree } from '../../src/users/shift-tree.ts';
import { loopMount, mounted } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';

const BASE = 7000 * RANGE;
const PROGRAM = join(import.meta.dirname, 'programs/shifting.ts');
const ext4 = loopMount('ext4');
const tools = [root, ext4, tool('setfacl'), tool('setcap'), tool('find')];

async function shift(path: string, base: number, log: Logger = silentLogger, progress?: Progress): Promise<boolean> {
  const tree = openSync(path, 'r');
  try {
    return await shiftTree({ tree, path, base, count: RANGE }, log, progress);
  } finally {
    closeSync(tree);
  }
}

/** The message of the error that something rejects with. */
const refusal = (work: Promise<unknown>): Promise<string> => work.then(String, (error: Error) => error.message);

/** All files below a directory with owner, mode, ACL and capabilities, as text. */
function listing(path: string): string {
  const run = (command: string, ...words: string[]) => execFileSync(command, words, { cwd: path, encoding: 'utf8' });
  return [
    run('find', '.', '-printf', '%p %U %G %m %y %n %l\n').split('\n').toSorted().join('\n'),
    run('getfacl', '-nRps', '.'),
    run('getcap', '-rn', '.'),
  ].join('\n');
}

/** What a listing is when each id of root's range, or of the one before, is one from `base` on. */
const inRange = (list: string, base: number): string =>
  list
    .replace(
      / (\d+) (\d+) (\d+ [dflpcs] )/g,
      (_, uid, gid, rest) => ` ${base + (uid % RANGE)} ${base + (gid % RANGE)} ${rest}`,
    )
    .replace(/(user:|group:|owner: |group: )(\d+)/g, (_, what, id) => `${what}${base + (Number(id) % RANGE)}`)
    .replace(/ \[rootid=\d+\]/g, '')
    .replace(/( cap_\S+)$/gm, base === 0 ? '$1' : `$1 [rootid=${base}]`);

/** One of each kind. */
function fill(path: string): void {
  const at = (name: string) => join(path, name);
  const file = (name: string, uid = 0, gid = 0, mode = 0o644) => {
    writeFileSync(at(name), name);
    chownSync(at(name), uid, gid);
    chmodSync(at(name), mode);
  };
  for (const name of ['directory', 'shared', 'empty', 'many', 'deep']) mkdirSync(at(name));
  chownSync(at('shared'), 3, 4);
  chmodSync(at('shared'), 0o2775);
  file('directory/file', 1000, 1001);
  file('last', 65535, 65534);
  file('set-user-id', 1, 2, 0o4755);
  file('set-group-id', 0, 43, 0o2755);
  file('both', 7, 7, 0o6711);
  file('ping');
  execFileSync('setcap', ['cap_net_raw=ep', at('ping')]);
  file('both-kinds', 5, 5, 0o4755);
  execFileSync('setcap', ['cap_chown=ei', at('both-kinds')]);
  file('of-acl');
  execFileSync('setfacl', ['-m', 'u:1000:rw,g:50:r,u:65535:r', at('of-acl')]);
  file('acl-and-bits', 0, 0, 0o4750);
  execFileSync('setfacl', ['-m', 'u:33:x', at('acl-and-bits')]);
  execFileSync('setfacl', ['-m', 'u:9:rwx', '-m', 'd:u:1000:rwx,d:g:12:rx', at('shared')]);
  file('first-name', 10, 10, 0o4755);
  linkSync(at('first-name'), at('directory/second-name'));
  linkSync(at('directory/file'), at('plain-link'));
  symlinkSync('/etc/passwd', at('link'));
  lchownSync(at('link'), 8, 8);
  symlinkSync('nowhere\nat all', at('dangling'));
  execFileSync('mkfifo', [at('fifo')]);
  execFileSync('mknod', [at('null'), 'c', '1', '3']);
  writeFileSync(Buffer.concat([Buffer.from(`${path}/`), Buffer.from([0xff, 0x0a, 0x20])]), '');
  for (let i = 0; i < 700; i++) writeFileSync(at(`many/${i}${'x'.repeat(i % 100)}`), '');
  const depth = at(`deep${'/d'.repeat(100)}`);
  mkdirSync(depth, { recursive: true });
  writeFileSync(`${depth}/file`, '');
}

needs(tools)('all files come along with their bits, ACLs and capabilities, and back again', async () => {
  using disk = mounted('ext4', '64M');
  fill(disk.path);
  const before = listing(disk.path);
  assert.is(inRange(before, 0), before);
  assert.is(await shift(disk.path, BASE), true);
  assert.is(listing(disk.path), inRange(before, BASE));
  assert.is(await shift(disk.path, 2 * BASE), true);
  assert.is(listing(disk.path), inRange(before, 2 * BASE));
  assert.is(await shift(disk.path, 0), true);
  assert.is(listing(disk.path), before);
  assert.is(execFileSync('getfattr', ['-hRm', '^trusted', disk.path], { encoding: 'utf8' }), '', 'no notes are left');
});

const systemd = (path: string, base: number) =>
  execFileSync(
    'systemd-nspawn',
    [
      ...['--register=no', '--keep-unit', '-q', '-D', path, '--resolv-conf=off', '--timezone=off', '--console=pipe'],
      ...[`--private-users=${base}`, '--private-users-ownership=chown', '--', '/bin/busybox', 'true'],
    ],
    { stdio: 'pipe' },
  );

needs([...tools, busybox, tool('systemd-nspawn')])('owners, modes and ACLs are those of systemd-nspawn', async () => {
  using ours = copyTree(busyboxTree());
  using theirs = copyTree(busyboxTree());
  for (const { path } of [ours, theirs]) {
    fill(path);
    // It loses these.
    for (const name of ['ping', 'both-kinds']) execFileSync('setcap', ['-r', join(path, name)]);
  }
  systemd(theirs.path, BASE);
  await shift(ours.path, BASE);
  // It makes directories for the container: so without the number of links, and what is there only.
  const [ourList, theirList] = [ours, theirs].map(({ path }) =>
    listing(path)
      .replace(/ d \d+ /g, ' d ')
      .split('\n'),
  );
  const known = new Set(theirList);
  assert.equal(
    ourList!.filter(line => !known.has(line)),
    [],
  );
});

needs([...tools, busybox, tool('systemd-nspawn')])('each goes on where the other was broken off', async () => {
  using tree = copyTree(busyboxTree());
  mkdirSync(join(tree.path, 'data'));
  chownSync(tree.path, BUSY_BASE, BUSY_BASE);
  systemd(tree.path, BASE);
  assert.is(statSync(join(tree.path, 'data')).uid, BASE);
  chownSync(tree.path, BUSY_BASE + 5, BUSY_BASE + 6);
  assert.is(await shift(tree.path, 2 * BASE), true);
  assert.is(statSync(join(tree.path, 'data')).uid, 2 * BASE);
  assert.equal([statSync(tree.path).uid, statSync(tree.path).gid], [2 * BASE + 5, 2 * BASE + 6]);
});

needs(tools)('a tree that is right is left alone, but not one whose root directory only is', async () => {
  using tree = temporaryDirectory();
  const file = join(tree.path, 'file');
  writeFileSync(file, '');
  mkdirSync(join(tree.path, 'directory'));
  await shift(tree.path, BASE);
  const changed = statSync(file).ctimeMs;
  await setTimeout(20);
  assert.is(await shift(tree.path, BASE), false);
  assert.is(statSync(file).ctimeMs, changed);
  chownSync(join(tree.path, 'directory'), 0, 0);
  assert.is(await shift(tree.path, BASE), true);
  assert.is(statSync(join(tree.path, 'directory')).uid, BASE);
  assert.is(statSync(file).ctimeMs, changed, 'files that are right are not changed again');
});

needs(tools)('a shift that is killed anywhere is finished by the next', async () => {
  using disk = mounted('ext4', '64M');
  fill(disk.path);
  for (let i = 0; i < 200; i++) {
    const name = join(disk.path, `many/bits-${i}`);
    writeFileSync(name, '');
    chmodSync(name, 0o4755);
  }
  const before = listing(disk.path);
  let broken = 0;
  for (const [i, delay] of [90, 110, 130, 160, 200, 250].entries()) {
    const base = BASE + i * RANGE;
    const child = spawn(process.execPath, [PROGRAM, disk.path, String(base)], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    await setTimeout(delay);
    child.kill('SIGKILL');
    await ended;
    // Its agents end by themselves, a moment later.
    await setTimeout(50);
    const { uid } = statSync(disk.path);
    if (uid >= BUSY_BASE) broken++;
    assert.ok(uid >= BUSY_BASE || uid === base || uid < base, 'not taken for done');
  }
  console.log(`broken off ${broken} times`);
  await shift(disk.path, 2 * BASE);
  assert.is(listing(disk.path), inRange(before, 2 * BASE));
});

needs(tools)('bits and capabilities come back if we were killed between two changes of a file', () => {
  using disk = mounted('ext4', '20M');
  const at = (name: string) => join(disk.path, name);
  writeFileSync(at('su'), '');
  chmodSync(at('su'), 0o4755);
  execFileSync('setcap', ['cap_chown=ep', at('su')]);
  const [mode, capability] = [0o4755, execFileSync('getfattr', ['-n', 'security.capability', '-e', 'hex', at('su')])];
  const hex = /=0x(\S+)/.exec(String(capability))![1]!;
  const note = Buffer.concat([Buffer.from(new Uint16Array([mode]).buffer), Buffer.from(hex, 'hex')]);
  execFileSync('setfattr', ['-n', 'trusted.nspawn.shifting', '-v', `0x${note.toString('hex')}`, at('su')]);
  chownSync(at('su'), BASE, BASE);
  assert.is(statSync(at('su')).mode & 0o7777, 0o755, 'the kernel has taken the bit');
  const directory = openSync(disk.path, 'r');
  shiftFile(directory, 'su', BASE);
  closeSync(directory);
  assert.is(statSync(at('su')).mode & 0o7777, 0o4755);
  assert.match(String(execFileSync('getcap', ['-n', at('su')])), `cap_chown=ep [rootid=${BASE}]`);
});

needs(tools)('what is mounted in the tree, and what links lead to, is left alone', async () => {
  using tree = temporaryDirectory();
  using outside = temporaryDirectory();
  const at = (name: string) => join(tree.path, name);
  for (const name of ['mounted', 'tree']) mkdirSync(at(name));
  for (const name of ['file', 'other']) writeFileSync(at(name), '');
  writeFileSync(join(outside.path, 'file'), '');
  symlinkSync(outside.path, at('link'));
  execFileSync('mount', ['--bind', outside.path, at('mounted')]);
  execFileSync('mount', ['--bind', join(outside.path, 'file'), at('file')]);
  try {
    await shift(tree.path, BASE);
  } finally {
    execFileSync('umount', [at('mounted'), at('file')]);
  }
  assert.is(statSync(outside.path).uid, 0);
  assert.is(statSync(join(outside.path, 'file')).uid, 0);
  assert.is(lstatSync(at('link')).uid, BASE);
  assert.equal([statSync(at('tree')).uid, statSync(at('other')).uid], [BASE, BASE]);
});

needs(tools)('a tree that is changed meanwhile leads nowhere else', async () => {
  using tree = temporaryDirectory();
  using outside = temporaryDirectory();
  for (const name of ['a', 'b', 'c']) mkdirSync(join(outside.path, name));
  for (const directory of [outside.path, ...['a', 'b', 'c'].map(name => join(outside.path, name))]) {
    for (let i = 0; i < 200; i++) writeFileSync(join(directory, String(i)), '');
  }
  for (let i = 0; i < 50; i++) execFileSync('cp', ['-a', join(outside.path, 'a'), join(tree.path, String(i))]);
  const script = `cd "$1" || exit
    while :; do for i in *; do
      mv -T $i .away$i 2>/dev/null && ln -s "$2/a" $i && rm -f $i && ln -s "$2/a/1" $i && rm -f $i && mv -T .away$i $i
      mv -T $i/1 $i/.1 2>/dev/null && ln -s "$2/b" $i/1 && rm -f $i/1 && mv -T $i/.1 $i/1
    done; done`;
  const changing = spawn('sh', ['-c', script, 'sh', tree.path, outside.path], { stdio: 'ignore' });
  try {
    for (let round = 1; round <= 5; round++) await shift(tree.path, BASE + round * RANGE);
  } finally {
    changing.kill('SIGKILL');
    await once(changing, 'exit');
  }
  assert.is(execFileSync('find', [outside.path, '-not', '-uid', '0'], { encoding: 'utf8' }), '');
});

needs([...tools, tool('chattr')])('an immutable file is named, and once it can be changed all is done', async () => {
  using disk = mounted('ext4', '20M');
  mkdirSync(join(disk.path, 'etc'));
  const file = join(disk.path, 'etc/fixed');
  writeFileSync(file, '');
  execFileSync('chattr', ['+i', file]);
  try {
    await shift(disk.path, BASE);
    assert.unreachable('it can be changed');
  } catch (error) {
    const { message } = error as Error;
    assert.match(message, `giving the files of ${disk.path} to the user ids from ${BASE} on: etc/fixed: `);
    assert.match(message, /: fchownat\(\d+, "[^"]+", .*EPERM.*it is immutable, which chattr -ia ends$/);
  }
  assert.ok(statSync(disk.path).uid >= BUSY_BASE);
  execFileSync('chattr', ['-i', file]);
  await shift(disk.path, BASE);
  assert.equal([statSync(disk.path).uid, statSync(file).uid], [BASE, BASE]);
});

needs([root])(
  'ranges that it cannot be done with, and trees of two, are refused before anything is changed',
  async () => {
    using tree = temporaryDirectory();
    const fd = openSync(tree.path, 'r');
    for (const [base, count] of [
      [BASE + 1, RANGE],
      [BASE, 100],
      [BUSY_BASE, RANGE],
    ] as const) {
      const shifting = shiftTree({ tree: fd, path: tree.path, base, count }, silentLogger);
      assert.match(
        await refusal(shifting),
        /only with 65536 ids that start at a multiple of that, not with \d+ from \d+ on$/,
      );
    }
    closeSync(fd);
    chownSync(tree.path, 3 * RANGE, 0);
    assert.match(await refusal(shift(tree.path, BASE)), /not in the same range/);
    assert.equal([statSync(tree.path).uid, statSync(tree.path).gid], [3 * RANGE, 0]);
  },
);

needs([root])('somebody who waits is told how far it is', async () => {
  using tree = temporaryDirectory();
  for (let i = 0; i < 6000; i++) writeFileSync(join(tree.path, String(i)), '');
  const told: [number, number][] = [];
  const tell: Progress = ({ files }, all) => told.push([files, all]);
  const clock = performance.now;
  let now = 0;
  performance.now = () => (now += 100);
  try {
    await shift(tree.path, BASE, silentLogger, tell);
  } finally {
    performance.now = clock;
  }
  assert.ok(told.length > 1);
  assert.ok(told.every(([files, all], i) => all === 6000 && files <= all && files > (told[i - 1]?.[0] ?? 0)));
});

test.run();
