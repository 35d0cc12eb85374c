/** Containers that may use only so much, and how they end. */
import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readHostFile } from '../../src/host.ts';
import { type Ended, type SpawnOptions, spawn } from '../../src/index.ts';
import { hierarchiesOf, hierarchyMount, isUnified } from '../../src/plan/cgroups.ts';
import { limitsOf } from '../../src/plan/limits.ts';
import { nspawn, shell as words } from '../cli/support.ts';
import { textOf } from '../console/support.ts';
import { shell } from '../library/support.ts';
import { type Need, needs, root } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';

/** Whether limits can be set here: hierarchies of version 1, or controllers that version 2 hands on. */
const controllers: Need = () => {
  const has = (name: string) => hierarchiesOf('self').some(each => each.controllers.split(',').includes(name));
  const unified = hierarchiesOf('self').find(isUnified);
  const mount = unified && hierarchyMount(unified, readHostFile('/proc/self/mountinfo').toString());
  const handedOn = mount ? readHostFile(`${mount.point}/cgroup.controllers`).toString() : '';
  return ['memory', 'pids', 'cpu'].every(each => has(each) || handedOn.includes(each))
    ? undefined
    : 'there are no cgroup controllers';
};

const it = needs([root, busybox, controllers]);

interface Result extends Ended {
  stdout: string;
}

async function run(script: string, options: SpawnOptions): Promise<Result> {
  await using container = await spawn(shell(script, options));
  container.stdin?.end();
  const [stdout, ended] = await Promise.all([textOf(container.stdout!), container.exited]);
  return { ...ended, stdout };
}

/** Cgroups of containers of this name. */
const cgroupsOf = (machine: string): string[] =>
  readdirSync('/sys/fs/cgroup', { recursive: true })
    .map(String)
    .filter(path => path.includes(`/nspawn-${machine}-`) || path.startsWith(`nspawn-${machine}-`));

const EATER = 'exec tail /dev/zero';

it('a payload that eats too much memory is killed, and the result tells why', async () => {
  const ended = await run(EATER, { memory: '48M', memorySwap: 0, machine: 'eater' });
  assert.is(ended.signal, 9);
  assert.is(ended.reason, 'out of memory');
  assert.is(ended.usage?.oomKills, 1);
  const peak = ended.usage?.memoryPeak ?? 48 << 20;
  assert.ok(peak > 40 << 20 && peak <= 48 << 20, `${peak}`);
  assert.equal(cgroupsOf('eater'), []);
});

it('killed children are told, too, where the payload fails', async () => {
  const failed = await run('tail /dev/zero; exit 7', { memory: 32 << 20, memorySwap: 0 });
  assert.equal([failed.exitStatus, failed.reason, failed.usage?.oomKills], [7, 'out of memory', 1]);
  const fine = await run('tail /dev/zero; exit 0', { memory: 32 << 20, memorySwap: 0 });
  assert.equal([fine.exitStatus, fine.reason, fine.usage?.oomKills], [0, undefined, 1]);
});

it('the command says so', async () => {
  const killed = await nspawn(words(EATER, '-q', '--memory=32M', '--memory-swap=0'));
  assert.equal(killed, {
    status: 1,
    stdout: '',
    stderr: 'Container box terminated by signal KILL: out of memory, 1 process was killed.\n',
  });
  const failed = await nspawn(words('tail /dev/zero; exit 7', '-qP', '--memory=32M', '--memory-swap=0'));
  assert.is(failed.status, 7);
  assert.match(failed.stderr, 'Container box failed with error code 7: out of memory, 1 process was killed.\n');
});

it('too little memory for a start is an error that says so', async () => {
  try {
    await run('true', { memory: 4096, memorySwap: 0, machine: 'tiny' });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /^setting up the container: it was killed, out of memory; /);
  }
  assert.equal(cgroupsOf('tiny'), []);
});

it('tasks are limited, and counted', async () => {
  const many = 'for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all';
  const limited = await run(many, { tasks: 4 });
  assert.is(limited.stdout, '');
  assert.not.equal(limited.exitStatus, 0);
  const counted = await run(many, { stats: true });
  assert.is(counted.stdout, 'all\n');
  // pids.peak came with Linux 6.1.
  if (counted.usage?.tasksPeak !== undefined) assert.is(counted.usage.tasksPeak, 9);
});

it('CPU time is counted', async () => {
  const { usage } = await run('i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done', { stats: true });
  assert.ok(usage!.cpuTime! > 0.02, `${usage!.cpuTime}`);
});

it('all limits are in the files of its cgroups', async () => {
  await using container = await spawn(
    shell('echo ready; exec sleep 1000', {
      machine: 'limited',
      memory: '100M',
      memorySwap: '10M',
      cpus: 0.5,
      cpuWeight: 50,
      tasks: 10,
    }),
  );
  await once(container.stdout!, 'data');
  const inForce = (names: string[]) =>
    cgroupsOf('limited')
      .flatMap(path => names.map(name => `/sys/fs/cgroup/${path}/${name}`))
      .filter(existsSync)
      .map(file => readHostFile(file).toString().trim());
  const isOne = (values: string[], ...wanted: string[]) =>
    assert.ok(
      wanted.some(each => values.includes(each)),
      `${values}`,
    );
  isOne(inForce(['memory.max', 'memory.limit_in_bytes']), `${100 << 20}`);
  isOne(inForce(['memory.swap.max']).concat(inForce(['memory.memsw.limit_in_bytes'])), `${10 << 20}`, `${110 << 20}`);
  isOne(inForce(['cpu.max', 'cpu.cfs_quota_us']), '50000 100000', '50000');
  isOne(inForce(['cpu.weight']).concat(inForce(['cpu.shares'])), '50', '512');
  isOne(inForce(['pids.max']), '10');
});

it('the container sees itself at the root of all cgroups', async () => {
  const { stdout } = await run('cut -d: -f3 /proc/self/cgroup | sort -u', { tasks: 10 });
  assert.is(stdout, '/\n');
});

it('without limits there is neither a cgroup nor a count', async () => {
  await using container = await spawn(shell('echo ready; exec sleep 1000', { machine: 'unlimited' }));
  await once(container.stdout!, 'data');
  assert.equal(cgroupsOf('unlimited'), []);
  container.kill();
  assert.equal(await container.exited, { signal: 9 });
});

it('--stats says what was used', async () => {
  const { stderr } = await nspawn(words('true', '-q', '--stats'));
  assert.match(
    stderr,
    /^Container box used \d+\.\d{3} s of CPU time, at most [\d.]+ MiB of memory(, at most \d+ tasks?)?\.\n$/,
  );
});

test('shares are of what the machine has', () => {
  const total = Number(/MemTotal:\s*(\d+)/.exec(readHostFile('/proc/meminfo').toString())![1]) * 1024;
  assert.equal(limitsOf({ memory: '50%', memorySwap: '100%' }), { memory: Math.floor(total / 2), memorySwap: total });
  const tasks = limitsOf({ tasks: '10%' }).tasks!;
  const most = Number(readHostFile('/proc/sys/kernel/pid_max').toString());
  assert.ok(tasks > 0 && tasks <= most / 10, `${tasks}`);
});

test('rates of a file are those of the disk that it is on', () => {
  assert.throws(() => limitsOf({ ioMax: [{ path: '/nowhere', rbps: 1 }] }), /of \/nowhere: there is no such file/);
  assert.throws(() => limitsOf({ ioMax: [{ path: '/proc', rbps: 1 }] }), /without a block device of its own/);
  const { dev } = statSync('/');
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  const device = `${(dev >> 8) & 0xfff}:${minor}`;
  if (!existsSync(`/sys/dev/block/${device}`)) return;
  const isPartition = existsSync(`/sys/dev/block/${device}/partition`);
  const [max] = limitsOf({ ioMax: [{ path: '/', rbps: 1 }] }).ioMax!;
  assert.is(max!.device === device, !isPartition);
  assert.not.ok(existsSync(`/sys/dev/block/${max!.device}/partition`));
});

test.run();
