/** Limits as files of cgroups, on hosts of all kinds. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Hierarchy } from '../../src/plan/cgroups.ts';
import { limitingHierarchies, limitsIn } from '../../src/plan/limit-files.ts';
import type { Limits } from '../../src/plan/limits.ts';

const hierarchies = (...controllers: string[]): Hierarchy[] =>
  controllers.map(each => ({ controllers: each, path: '/' }));

/** `controllers: file=text` for each file that is written. */
function files(limits: Limits, ...controllers: string[]): string[] {
  const all = hierarchies(...controllers);
  return all.flatMap(each =>
    limitsIn(each, limits, all).flatMap(limit =>
      limit.files.map(([name, text]) => `${each.controllers || limit.controller}: ${name}=${text}`),
    ),
  );
}

const ALL: Limits = {
  memory: 1 << 20,
  memorySwap: 4096,
  cpus: 1.5,
  cpuWeight: 50,
  tasks: 7,
  ioWeight: 1000,
  ioMax: [
    { path: '/dev/a', device: '8:0', rbps: 1, wiops: 2 },
    { path: '/dev/b', device: '8:16', wbps: 3, riops: 4 },
  ],
};

test('version 2', () => {
  assert.equal(files(ALL, 'name=systemd', ''), [
    'memory: memory.max=1048576',
    'memory: memory.swap.max=4096',
    'cpu: cpu.max=150000 100000',
    'cpu: cpu.weight=50',
    'pids: pids.max=7',
    'io: io.weight=1000',
    'io: io.bfq.weight=182',
    'io: io.max=8:0 rbps=1 wiops=2',
    'io: io.max=8:16 wbps=3 riops=4',
  ]);
});

test('version 1', () => {
  assert.equal(files(ALL, 'blkio', 'pids', 'cpu,cpuacct', 'memory'), [
    'blkio: blkio.bfq.weight=182',
    'blkio: blkio.throttle.read_bps_device=8:0 1',
    'blkio: blkio.throttle.write_iops_device=8:0 2',
    'blkio: blkio.throttle.write_bps_device=8:16 3',
    'blkio: blkio.throttle.read_iops_device=8:16 4',
    'pids: pids.max=7',
    'cpu,cpuacct: cpu.cfs_quota_us=150000',
    'cpu,cpuacct: cpu.shares=512',
    'memory: memory.limit_in_bytes=1048576',
    // Memory and swap space together.
    'memory: memory.memsw.limit_in_bytes=1052672',
  ]);
});

test('both: each where its controller is', () => {
  assert.equal(files({ memory: 4096, tasks: 7 }, 'pids', ''), ['pids: pids.max=7', 'memory: memory.max=4096']);
});

test('weights that systemd calls idle, lowest, usual and highest', () => {
  const weights = (limits: Limits) => [...files(limits, 'cpu', 'blkio'), ...files(limits, '')];
  assert.equal(weights({ cpuWeight: 'idle' }), ['cpu: cpu.idle=1', 'cpu: cpu.idle=1']);
  assert.equal(weights({ cpuWeight: 1 }), ['cpu: cpu.shares=10', 'cpu: cpu.weight=1']);
  assert.equal(weights({ cpuWeight: 10_000 }), ['cpu: cpu.shares=102400', 'cpu: cpu.weight=10000']);
  const bfq = (ioWeight: number) => files({ ioWeight }, 'blkio')[0];
  assert.equal(
    [1, 100, 10_000].map(bfq),
    [1, 100, 1000].map(weight => `blkio: blkio.bfq.weight=${weight}`),
  );
});

test('only the hierarchies that it takes get a cgroup, and those that count', () => {
  const names = (limits: Limits, ...controllers: string[]) =>
    limitingHierarchies(limits, hierarchies(...controllers)).map(each => each.controllers);
  const legacy = ['blkio', 'memory', 'cpu', 'cpuacct', 'pids', 'name=systemd'];
  assert.equal(names({ tasks: 1 }, ...legacy, ''), ['memory', 'pids', '']);
  assert.equal(names({ cpus: 1, ioWeight: 1 }, ...legacy, ''), ['blkio', 'memory', 'cpu', 'pids', '']);
  assert.equal(names({}, ...legacy), ['memory', 'cpuacct', 'pids']);
  assert.equal(names({}, ''), ['']);
  assert.equal(names({}), []);
});

test('a limit that no hierarchy can have says which controller it takes', () => {
  assert.throws(
    () => limitingHierarchies({ memory: 1 << 20 }, hierarchies('pids')),
    /^limiting the memory to 1048576 bytes: that takes the cgroup controller memory; /,
  );
  assert.throws(() => files({ memorySwap: 0 }, 'memory'), /^limiting the swap space: that also needs --memory= here/);
});

test.run();
