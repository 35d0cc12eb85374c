/**
 * Kills nspawn again and again, and looks for what is left:
 *
 *     bun killing.ts VARIANT SEED TIMES
 *
 * Prints what it has found. To be run in an empty machine, which is given the executable.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { Connection, deleteLink, newLink } from '../../netlink/index.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { openNetlink } from '../../syscalls/netlink-socket.ts';
import { getTermios, openPty } from '../../syscalls/tty.ts';
import { assertReleased, busyboxDisk, loopsOf } from '../image/images.ts';
import { hostState, lastingDifference } from '../support/host-state.ts';
import { createRandom } from '../support/random.ts';
import { busyboxTree, copyTree } from '../support/tree.ts';

export interface Found {
  /** What stayed behind. */
  lost: string[];
  /** What nspawn had to say. */
  said: string;
  /** So many payloads ran when nspawn was killed. */
  ready: number;
  /** The longest time between start and kill, in milliseconds. */
  latest: number;
}

const EXECUTABLE = '/mnt/given/nspawn';
/** So many are started and killed at a time. */
const AT_A_TIME = 4;
/** Says when it runs, doesn't end by itself, nor for a signal, and has children. */
const PAYLOAD = 'trap "" HUP INT TERM; echo ready; sleep 1000 & sleep 1000';

const OFF = ['-q', '--timezone=off', '--resolv-conf=off'];
const options = (tree: string, ...more: string[]) => ['-D', tree, ...OFF, ...more];
const running = (...more: string[]) => [...options(busyboxTree(), ...more), '--', '/bin/sh', '-c', PAYLOAD];

function bootable(): string {
  const { path } = copyTree(busyboxTree());
  const init = join(path, 'sbin/init');
  rmSync(init);
  writeFileSync(init, `#!/bin/sh\n${PAYLOAD}\n`);
  chmodSync(init, 0o755);
  return path;
}

/** Writes first, so that there is something to remove. */
const WRITING = `mkdir -p /a/b/c; echo x >/a/b/c/d; echo x >>/etc/passwd; ${PAYLOAD}`;
const writing = (tree: string) => [...options(tree, '-x'), '--', '/bin/sh', '-c', WRITING];

/** A tree where what is left beside it is looked for. */
function onTree(): () => string[] {
  const tree = '/tmp/tree';
  execFileSync('cp', ['--archive', busyboxTree(), tree]);
  return () => writing(tree);
}

/** A btrfs of its own, mounted there. */
function btrfsAt(point: string): void {
  mkdirSync(point);
  const script = 'truncate -s 1G "$1.img" && mkfs.btrfs -q "$1.img" 2>/dev/null && mount -o loop "$1.img" "$1"';
  execFileSync('sh', ['-c', script, 'sh', point]);
}

/** The same as a subvolume, mounted by itself: what is left is in it, and there is a subvolume for each snapshot. */
function onSubvolume(): () => string[] {
  const point = '/tmp/subvolume';
  btrfsAt(point);
  execFileSync('cp', ['--archive', `${busyboxTree()}/.`, point]);
  return () => writing(point);
}

const COPIES = '/tmp/copies';
const FILES = 3000;

/** Each start makes a directory of its own, of a template that it takes a while to copy. */
function onCopy(): () => string[] {
  const template = join(COPIES, 'template');
  mkdirSync(COPIES, { recursive: true });
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  mkdirSync(join(template, 'many'));
  for (let i = 0; i < FILES; i++) writeFileSync(join(template, 'many', `${i}`), `${i}`);
  let copies = 0;
  return () => [...options(join(COPIES, `${copies++}`), `--template=${template}`), '--', '/bin/sh', '-c', PAYLOAD];
}

/** What is no whole copy. */
function halfCopies(): string[] {
  const isWhole = (name: string) =>
    /^\d+$/.test(name) &&
    readdirSync(join(COPIES, name, 'many')).length === FILES &&
    existsSync(join(COPIES, name, 'var'));
  return readdirSync(COPIES).filter(name => name !== 'template' && !isWhole(name));
}

/** On btrfs, where copies are subvolumes that share what is in files. */
function onBtrfsCopy(): () => string[] {
  btrfsAt(COPIES);
  return onCopy();
}

/** On btrfs each whole copy is a subvolume, and nothing else is. */
function subvolumesBesideCopies(): string[] {
  const lines = execFileSync('btrfs', ['subvolume', 'list', COPIES], { encoding: 'utf8' }).split('\n').filter(Boolean);
  return lines.filter(line => !/ path \d+$/.test(line));
}

/** Give the words of a command line; those that run at a time are told apart by a number, as they may need a tree each. */
const VARIANTS: Record<string, () => (at: number) => string[]> = {
  plain: () => () => running('--read-only'),
  'as process 2': () => () => running('--read-only', '-a'),
  'volatile overlay': () => () => running('--volatile=overlay'),
  limits: () => () => running('--read-only', '--memory=64M', '--cpus=1', '--tasks=50'),
  'private network': () => () => running('--read-only', '--private-network'),
  'users of its own': () => at => running('--read-only', '-U', '-M', `kill${at}`, '--private-network'),
  booting() {
    const trees = Array.from({ length: AT_A_TIME }, bootable);
    return at => options(trees[at]!, '-b');
  },
  ephemeral: onTree,
  'ephemeral, with users of its own'() {
    const plain = onTree();
    return () => ['-U', ...plain()];
  },
  'ephemeral, on btrfs': onSubvolume,
  template: onCopy,
  'template, on btrfs': onBtrfsCopy,
  terminal: () => () => running('--read-only', '--console=interactive'),
  image: () => at => [
    '-i',
    imagePath(at),
    ...OFF,
    '--',
    '/bin/sh',
    '-c',
    `while echo x >/home/x; do :; done & ${PAYLOAD}`,
  ],
  'image, volatile': () => () => ['-i', imagePath(0), ...OFF, '--volatile=overlay', '--', '/bin/sh', '-c', PAYLOAD],
  'image, ephemeral': () => () => ['-i', imagePath(0), '-x', ...OFF, '--', '/bin/sh', '-c', WRITING],
  // The names of their links are those of the machines: a start may find the last one's still there.
  'veth link': () => at => running('--read-only', '-M', `kill${at}`, '-n', `--network-veth-extra=kill${at}`),
  zone: () => at => running('--read-only', '-M', `kill${at}`, '--network-zone=kill'),
  'interface of the host'() {
    using connection = new Connection(openNetlink());
    for (let at = 0; at < AT_A_TIME; at++) {
      connection.execute(newLink({ kind: 'veth', name: lent(at), data: { peer: { name: `peer${at}` } } }));
    }
    return at => running('--read-only', '-M', `kill${at}`, `--network-interface=${lent(at)}:lan0`);
  },
};
const lent = (at: number) => `lent${at}`;

/** Whether the host has it; one that is lent comes back a moment after the container's end. */
const isHere = (link: string) => existsSync(`/sys/class/net/${link}`);

/** Images, of which each is for one at a time, or the first one for all. */
const imagePath = (at: number) => `/tmp/${at}.raw`;
const images = Array.from({ length: AT_A_TIME }, (_, at) => imagePath(at));

const [variant = '', seed = '', times = ''] = process.argv.slice(2);
const random = createRandom(Number(seed));
const words = VARIANTS[variant]!();
const hasImages = variant.startsWith('image');
if (hasImages) for (const path of images) busyboxDisk(path);
const hasTerminal = variant === 'terminal';
const result: Found = { lost: [], said: '', ready: 0, latest: 0 };

/** Starts nspawn, and kills it when `moment` resolves; that gets a promise of the payload's first words. */
async function killAfter(at: number, moment: (isReady: Promise<unknown>) => Promise<unknown>): Promise<void> {
  const pty = hasTerminal ? openPty() : undefined;
  const before = pty && Buffer.from(getTermios(pty.slave.fd));
  const terminal = pty?.slave.fd ?? 'ignore';
  const child = spawn(EXECUTABLE, words(at), { stdio: [terminal, hasTerminal ? terminal : 'pipe', 'pipe'] });
  child.stdout?.once('data', () => result.ready++);
  child.stderr!.on('data', text => {
    result.said += text;
  });
  const ended = once(child, 'close');
  await moment(child.stdout ? once(child.stdout, 'data') : setTimeout(100));
  child.kill('SIGKILL');
  await ended;
  if (variant === 'image') await isFree(imagePath(at));
  if (variant === 'interface of the host') {
    for (let tries = 0; tries < 1000 && !isHere(lent(at)); tries++) await setTimeout(10);
    if (!isHere(lent(at))) result.lost.push(`${lent(at)} is not back`);
  }
  if (!pty || !before) return;
  let tries = 0;
  while (!before.equals(getTermios(pty.slave.fd)) && tries++ < 1000) await setTimeout(10);
  if (tries > 1000) result.lost.push('a terminal is still raw');
  closeFd(pty.slave.fd);
  closeFd(pty.master.fd);
}

/** Waits until nothing of an image is mounted: until then, it is locked. */
async function isFree(image: string): Promise<void> {
  for (let tries = 0; loopsOf(image).length > 0; tries++) {
    if (tries === 1000) {
      result.lost.push(`${image} is still in use`);
      return;
    }
    await setTimeout(10);
  }
}
const leftIn = (tree: string) => [
  ...readdirSync(tree).filter(name => name.startsWith('.#') || name === 'a'),
  ...(variant.includes('btrfs')
    ? execFileSync('btrfs', ['subvolume', 'list', tree], { encoding: 'utf8' }).split('\n').filter(Boolean)
    : []),
];

const together = (kill: (at: number) => Promise<void>) =>
  Promise.all(Array.from({ length: AT_A_TIME }, (_, at) => kill(at)));

const { links } = hostState();
// Before the snapshot, as the runtime then has all it keeps for itself; and to see how long a start takes.
await together(at => killAfter(at, isReady => isReady));
const begin = performance.now();
await together(at => killAfter(at, isReady => isReady));
result.latest = Math.max(80, 1.3 * (performance.now() - begin));
await lastingDifference({ links: links! });

// What was killed above may not have let go of its image yet.
if (hasImages) for (const path of images) await isFree(path);
// This process's own descriptors are not nspawn's: the runtime closes those of ended children when it likes.
const { descriptors: _, ...before } = hostState();
let left = Number(times);
result.ready = 0;
await together(async at => {
  while (left-- > 0) await killAfter(at, () => setTimeout((random.below(1000) / 1000) * result.latest));
});
result.lost.push(...(await lastingDifference(before, 10)));
if (hasImages) for (const path of images) await assertReleased(path);
if (variant === 'interface of the host') {
  using connection = new Connection(openNetlink());
  for (let at = 0; at < AT_A_TIME; at++) connection.execute(deleteLink(`peer${at}`));
}
// The ids that they had are nobody's. What was killed just after it took them leaves that to the next run.
if (variant.includes('users')) {
  const words = ['--private-users=pick', '--private-users-ownership=map', '--read-only', '--', '/bin/true'];
  execFileSync(EXECUTABLE, ['-q', '-P', '-D', busyboxTree(), '--timezone=off', '--resolv-conf=off', ...words]);
}
const LEASES = '/run/systemd/nspawn-uid';
const leases = () => (existsSync(LEASES) ? readdirSync(LEASES) : []);
for (let tries = 0; tries < 200 && leases().length > 0; tries++) await setTimeout(50);
result.lost.push(...leases());
if (variant.startsWith('template')) {
  for (let tries = 0; tries < 200 && halfCopies().length > 0; tries++) await setTimeout(50);
  result.lost.push(...halfCopies());
  if (variant.includes('btrfs')) {
    result.lost.push(...subvolumesBesideCopies());
    // A janitor's successor may not have closed it yet.
    execFileSync('umount', ['--lazy', COPIES]);
  }
}
if (variant.startsWith('ephemeral')) {
  const tree = words(0)[words(0).indexOf('-D') + 1]!;
  // The last to be killed may be at it still.
  for (let tries = 0; tries < 200 && leftIn(tree).length > 0; tries++) await setTimeout(50);
  result.lost.push(...leftIn(tree));
  if (variant.includes('btrfs')) execFileSync('umount', ['--lazy', tree]);
}
console.log(JSON.stringify(result));
