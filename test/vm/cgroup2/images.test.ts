/** Disk images where the kernel makes device nodes of partitions, and udev opens all of them. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { varUuid } from '../../../src/image/var-uuid.ts';
import { makeDisk, type PartitionMade, ROOT } from '../../image/images.ts';
import { busyboxTree } from '../../support/tree.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();
const IMAGE = '/var/tmp/disk.raw';
const ROOT_X86_64 = '4f68bce3-e8cd-4db1-96e7-fbcaf984b709';

const run = (source: string, script: string) =>
  ends(`nspawn -q -P -i ${source} --timezone=off --resolv-conf=off -- /bin/sh -c '${script}' </dev/null`);

test.before(() => {
  sh(`
    truncate -s 80M ${IMAGE}
    echo 'label: gpt
      start=1MiB, type=${ROOT_X86_64}' | sfdisk -q ${IMAGE}
    device=$(losetup -fP --show ${IMAGE})
    udevadm settle
    mkfs.ext4 -q -d ${busyboxTree()} \${device}p1
    losetup -d $device`);
});
test.after(() => {
  ends(`losetup -j ${IMAGE} -O NAME -n | xargs -r losetup -d; rm -f ${IMAGE}`);
});

it('a file, and what is written to it', () => {
  assert.equal(run(IMAGE, 'echo here > /kept; grep " / " /proc/mounts | cut -d" " -f3').stdout, 'ext4\n');
  assert.equal(run(IMAGE, 'cat /kept').stdout, 'here\n');
  assert.is(sh(`losetup -j ${IMAGE}`), '');
});

it('the device nodes of a disk and of its partition', () => {
  const device = sh(`losetup -fP --show ${IMAGE} && udevadm settle`);
  assert.equal(run(device, 'echo disk').stdout, 'disk\n');
  assert.equal(run(`${device}p1`, 'echo partition').stdout, 'partition\n');
  sh(`losetup -d ${device} && udevadm settle`);
  assert.is(sh(`losetup -j ${IMAGE}`), '');
});

const DISK = '/var/tmp/all.raw';
const PARTITIONS: PartitionMade[] = [
  { type: 'esp', holds: 'vfat' },
  { type: 'xbootldr', holds: 'vfat' },
  { type: ROOT, holds: 'ext4', tree: busyboxTree() },
  { type: 'home', holds: 'ext4', attributes: ['readOnly'] },
  { type: 'srv', holds: 'ext4', attributes: ['noAuto'] },
  { type: 'srv', holds: 'ext4' },
  { type: 'tmp', holds: 'ext4' },
];
/** What a program mounts of a disk: where and what, and which of `named` options it has. */
function mountsOf(words: string, partitions: PartitionMade[], named = ['ro', 'nodev']): string[] {
  makeDisk(DISK, partitions);
  // systemd-nspawn mounts them by descriptor.
  const script = 'grep -E "^/(dev/loop|proc/self/fd)" /proc/mounts';
  const { status, stdout, stderr } = ends(`${words} -i ${DISK} /bin/sh -c '${script}' </dev/null`);
  assert.equal([status, stderr], [0, '']);
  return stdout
    .trim()
    .split('\n')
    .map(line => {
      const [, place, type, options = ''] = line.split(' ');
      return [place, type, ...named.filter(option => options.split(',').includes(option))].join(' ');
    })
    .sort();
}
test.after(() => {
  ends(`rm -f ${DISK}`);
});
const OURS = 'nspawn -q -P --timezone=off --resolv-conf=off';
const THEIRS = 'systemd-nspawn -q --pipe --register=no --keep-unit --timezone=off --resolv-conf=off';

it('every kind of partition is where systemd-nspawn mounts it', () => {
  const mounts = mountsOf(OURS, PARTITIONS);
  assert.equal(mounts, mountsOf(THEIRS, PARTITIONS));
  assert.equal(mounts, [
    '/ ext4 nodev',
    '/boot vfat nodev',
    '/efi vfat nodev',
    '/home ext4 ro nodev',
    '/srv ext4 nodev',
    '/var/tmp ext4 nodev',
  ]);
});

it('what firmware boots from is for root alone, and nothing there is run or followed', () => {
  const [esp, xbootldr, root] = PARTITIONS;
  const forbidding = ['nodev', 'nosuid', 'noexec', 'nosymfollow', 'fmask=0077', 'dmask=0077'];
  assert.equal(mountsOf(OURS, [esp!, xbootldr!, root!], forbidding), [
    '/ ext4 nodev',
    `/boot vfat ${forbidding.join(' ')}`,
    `/efi vfat ${forbidding.join(' ')}`,
  ]);
});

it("/var is mounted if it is this machine's; systemd-nspawn 252 takes any", () => {
  const own = { type: 'var', holds: 'ext4', id: varUuid(readFileSync('/etc/machine-id', 'utf8').trim()) };
  const foreign = { type: 'var', holds: 'ext4' };
  const root = { type: ROOT, holds: 'ext4', tree: busyboxTree() };
  const withVar = ['/ ext4 nodev', '/var ext4 nodev'];
  assert.equal(mountsOf(OURS, [root, own]), withVar);
  assert.equal(mountsOf(THEIRS, [root, own]), withVar);
  assert.equal(mountsOf(OURS, [root, foreign]), ['/ ext4 nodev']);
  assert.equal(mountsOf(THEIRS, [root, foreign]), withVar);
});

test.run();
