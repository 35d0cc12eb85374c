/** What is asked of systemd-machined and systemd, as data. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ContainerOptions } from '../../src/index.ts';
import { planContainer } from '../../src/plan/plan.ts';
import type { RegisterAction } from '../../src/plan/steps.ts';
import { machineId } from '../network/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const it = needs([root, busybox]);
const withNetwork = needs([root, busybox, machineId]);

const base: ContainerOptions = { directory: busyboxTree(), machine: 'web', timezone: 'off', resolvConf: 'off' };

async function registration(options: ContainerOptions): Promise<RegisterAction | undefined> {
  const { steps } = await planContainer({ ...base, ...options }, 'streams');
  return steps.map(({ action }) => action).find(action => action.do === 'register');
}

const DEVICES = [
  ['/dev/null', 'rwm'],
  ['/dev/zero', 'rwm'],
  ['/dev/full', 'rwm'],
  ['/dev/random', 'rwm'],
  ['/dev/urandom', 'rwm'],
  ['/dev/tty', 'rwm'],
  ['/dev/net/tun', 'rwm'],
  ['/dev/pts/ptmx', 'rw'],
  ['char-pts', 'rw'],
];
const device = (...more: string[][]) => [
  { name: 'DevicePolicy', signature: 's', value: 'strict' },
  { name: 'DeviceAllow', signature: 'a(ss)', value: [...DEVICES, ...more] },
];

it('by default it is tried to register a machine, in a scope of its own', async () => {
  assert.equal(await registration({}), {
    do: 'register',
    as: 'machine',
    isRequired: false,
    machineId: undefined,
    directory: busyboxTree(),
    hostInterface: undefined,
    properties: device(),
  });
});

const WAYS: readonly [options: ContainerOptions, as: string | undefined, isRequired?: boolean][] = [
  [{ register: true }, 'machine', true],
  [{ slice: 'a.slice' }, 'machine', true],
  [{ properties: ['Description=mine'] }, 'machine', true],
  // Limits, and a list of devices, can be had without a unit.
  [{ properties: ['TasksMax=9'] }, 'machine', false],
  [{ properties: ['DeviceAllow=/dev/kvm rw'] }, 'machine', false],
  [{ tasks: 9 }, 'machine', false],
  [{ properties: [] }, 'machine', false],
  [{ register: false }, 'scope', false],
  [{ register: false, slice: 'a' }, 'scope', true],
  [{ register: false, keepUnit: true }, undefined],
  [{ register: false, keepUnit: true, slice: 'a' }, undefined],
  [{ shareSystem: true }, undefined],
  [{ shareSystem: true, register: true }, undefined],
];
for (const [options, as, isRequired] of WAYS) {
  it(`${JSON.stringify(options)} means ${as ?? 'nothing'}`, async () => {
    const action = await registration(options);
    assert.equal([action?.as, action?.isRequired], [as, isRequired]);
  });
}

it('what only a scope unit could have is a warning without one', async () => {
  const without = { register: false, keepUnit: true } as const;
  const warnings = async (options: ContainerOptions) =>
    (await planContainer({ directory: busyboxTree(), ...options }, 'pty')).warnings ?? [];
  for (const options of [{ slice: 'a.slice' }, { properties: ['Description=mine'] }]) {
    const [warning, ...others] = await warnings({ ...without, ...options });
    assert.match(warning!, /^--slice= and --property= have no effect but for limits and devices: /);
    assert.equal([others, await warnings(options)], [[], []]);
  }
  assert.equal(await warnings({ ...without, properties: ['TasksMax=9', 'DeviceAllow=/dev/kvm rw'] }), []);
});

it('the scope has the slice, the signal that asks for the end, devices that are bound, and more at the end', async () => {
  const action = await registration({
    boot: true,
    slice: 'my',
    properties: ['MemoryMax=1G', 'DeviceAllow=/dev/kvm rw'],
    tasks: 9,
    uuid: '01234567-89ab-cdef-0123-456789abcdef',
    binds: [
      { source: '/dev/tty', destination: '/dev/tty9', readOnly: false, recursive: true },
      { source: '/dev/null', destination: '/dev/nothing', readOnly: true, recursive: true },
      { source: '/etc/passwd', destination: '/x', readOnly: true, recursive: true },
      { source: '+/dev/null', destination: '/y', readOnly: true, recursive: true },
    ],
  });
  assert.is(action?.machineId, '0123456789abcdef0123456789abcdef');
  assert.equal(action?.properties, [
    { name: 'Slice', signature: 's', value: 'my.slice' },
    ...device(['/dev/tty', 'rw'], ['/dev/null', 'r']),
    { name: 'KillSignal', signature: 'i', value: 37 },
    { name: 'KillMode', signature: 's', value: 'mixed' },
    ...['MemoryAccounting', 'CPUAccounting', 'TasksAccounting'].map(name => ({ name, signature: 'b', value: true })),
    { name: 'MemoryMax', signature: 't', value: 1073741824n },
    { name: 'TasksMax', signature: 't', value: 9n },
    { name: 'DeviceAllow', signature: 'a(ss)', value: [['/dev/kvm', 'rw']] },
  ]);
});

it('a property that is none is named', async () => {
  const error = await registration({ properties: ['MemoryMax=lots'] }).catch((error: Error) => error);
  assert.instance(error, Error);
  assert.match((error as Error).message, /^--property= takes for MemoryMax bytes such as 512M/);
});

withNetwork('the interface by which the host reaches it', async () => {
  const reached = async (options: ContainerOptions) => (await registration(options))?.hostInterface;
  assert.is(await reached({ networkVeth: true }), 've-web');
  assert.is(await reached({ networkBridge: 'br7' }), 'br7');
  assert.is(await reached({ networkZone: 'lan', networkVethExtra: ['a:b'] }), 'vz-lan');
  assert.is(await reached({ networkVethExtra: ['a:b'], networkMacvlans: ['eth0'] }), undefined);
});

it('it comes after devices and links are made, and the cgroups are separated after it', async () => {
  const { steps } = await planContainer(
    { ...base, boot: true, privateNetwork: true, tmpfs: [{ path: '/sys/fs/cgroup/mine', options: '' }] },
    'pty',
  );
  const kinds = steps.map(({ action }) => action.do);
  const order = ['fill /dev', 'set up console', 'bring loopback up', 'register', 'separate cgroups'] as const;
  const places = order.map(kind => kinds.indexOf(kind));
  assert.equal(
    places,
    places.toSorted((a, b) => a - b),
  );
  assert.not.ok(places.includes(-1));
  const paths = steps.map(({ action }) => ('path' in action ? action.path : ''));
  assert.ok(paths.indexOf('/sys/fs/cgroup') < paths.indexOf('/sys/fs/cgroup/mine'));
});

test.run();
