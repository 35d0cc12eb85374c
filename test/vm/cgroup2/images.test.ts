/** Disk images where the kernel makes device nodes of partitions, and udev opens all of them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
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

test.run();
