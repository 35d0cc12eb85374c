/** A host that has cgroups of version 1 alone. */
import * as assert from 'uvu/assert';
import { testBooting } from '../boot.ts';
import { inMachine, sh } from '../support.ts';

inMachine()('the host has cgroups of version 1 alone', () => {
  assert.is(sh('stat -f -c %T /sys/fs/cgroup'), 'tmpfs');
  assert.is(sh('grep -c " cgroup2 " /proc/mounts || true'), '0');
});

testBooting();
