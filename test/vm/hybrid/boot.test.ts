/** A host that has cgroups of both versions. */
import * as assert from 'uvu/assert';
import { testBooting } from '../boot.ts';
import { inMachine, sh } from '../support.ts';

inMachine()('the host has cgroups of both versions', () => {
  assert.is(sh('stat -f -c %T /sys/fs/cgroup'), 'tmpfs');
  assert.is(sh('stat -f -c %T /sys/fs/cgroup/unified'), 'cgroup2fs');
});

testBooting();
