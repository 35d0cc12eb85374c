/** The container's /sys/fs/cgroup, for hosts of all kinds. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cgroupMounts, type Hierarchy, hierarchyMount } from '../../src/plan/cgroups.ts';
import { MOUNT_ATTR } from '../../syscalls/constants.ts';

const hierarchies = (...controllers: string[]): Hierarchy[] =>
  controllers.map(each => ({ controllers: each, path: '/' }));

/** Each step in a few words: `ro cgroup /sys/fs/cgroup/cpu cpu`. */
const steps = (...controllers: string[]) =>
  cgroupMounts(hierarchies(...controllers)).map(({ action }) => {
    if (action.do === 'make symlink') return `${action.path} -> ${action.target}`;
    if (action.do === 'make read-only') return `ro ${action.path}`;
    if (action.do !== 'mount') throw new Error(action.do);
    const access = action.attributes & MOUNT_ATTR.RDONLY ? 'ro' : 'rw';
    const options = action.options.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`));
    return [access, action.type, action.path, ...(action.type === 'tmpfs' ? [] : options)].join(' ');
  });

test('cgroup v2 alone', () => {
  assert.equal(steps(''), ['rw cgroup2 /sys/fs/cgroup']);
});

test('version 1: only what is named systemd can be written to', () => {
  assert.equal(steps('name=systemd', 'cpu,cpuacct', 'memory', 'name=other'), [
    'rw tmpfs /sys/fs/cgroup',
    'rw cgroup /sys/fs/cgroup/systemd none name=systemd',
    'ro cgroup /sys/fs/cgroup/cpu,cpuacct cpu cpuacct',
    '/sys/fs/cgroup/cpu -> cpu,cpuacct',
    '/sys/fs/cgroup/cpuacct -> cpu,cpuacct',
    'ro cgroup /sys/fs/cgroup/memory memory',
    'ro cgroup /sys/fs/cgroup/other none name=other',
    'ro /sys/fs/cgroup',
  ]);
});

test('both, and a host without any', () => {
  assert.equal(steps('name=systemd', ''), [
    'rw tmpfs /sys/fs/cgroup',
    'rw cgroup /sys/fs/cgroup/systemd none name=systemd',
    'rw cgroup2 /sys/fs/cgroup/unified',
    'ro /sys/fs/cgroup',
  ]);
  assert.equal(steps(), []);
});

test('where a hierarchy is mounted', () => {
  const mountinfo = `
29 23 0:40 / /tmp/elsewhere rw,relatime - cgroup cgroup rw,name=other
30 23 0:37 /x /tmp/elsewhere2 rw,relatime - cgroup cgroup rw,name=systemd
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 /a\\040b /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate`;
  const found = (controllers: string) => hierarchyMount({ controllers, path: '/' }, mountinfo);
  assert.equal(found('cpu,cpuacct'), { point: '/sys/fs/cgroup/cpu,cpuacct', root: '/a b' });
  assert.equal(found('name=systemd')?.point, '/sys/fs/cgroup/systemd');
  assert.equal(found('')?.point, '/sys/fs/cgroup/unified');
  assert.is(found('memory'), undefined);
  assert.is(found('name=other'), undefined, 'somewhere else');
});

test.run();
