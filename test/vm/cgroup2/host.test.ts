/** What the virtual machine is: what other tests in it take for granted. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inMachine, sh } from '../support.ts';

const it = inMachine();

it('it is a host with systemd, udev, D-Bus and machined, cgroups of version 2 and a kernel 6.1', () => {
  assert.is(sh('cat /proc/1/comm'), 'systemd');
  assert.is(sh('systemctl is-system-running --wait'), 'running');
  assert.is(sh('stat -f -c %T /sys/fs/cgroup'), 'cgroup2fs');
  assert.match(sh('uname -r'), /^6\.1\./);
  assert.match(sh('machinectl list'), /^No machines\.$/);
  assert.match(sh('udevadm info /dev/vda'), /^E: ID_FS_TYPE=ext4$/m);
});

it('nspawn is what make install has installed', () => {
  assert.match(sh('command -v nspawn'), '/usr/local/bin/nspawn');
  assert.match(sh('nspawn -q -D / --volatile=overlay -P -- cat /proc/sys/kernel/hostname </dev/null'), /^\w+$/);
  assert.match(sh('systemctl cat nspawn@any'), 'ExecStart=/usr/local/bin/nspawn');
});

test.run();
