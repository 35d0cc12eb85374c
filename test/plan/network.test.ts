/** The interfaces of a plan, as data. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ContainerOptions } from '../../src/index.ts';
import { macAddress, readHostId } from '../../src/plan/interface-names.ts';
import { buildPlan, planContainer } from '../../src/plan/plan.ts';
import { describeStep } from '../../src/plan/steps.ts';
import { machineId } from '../network/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const it = needs([root, busybox, machineId]);

const off: ContainerOptions = { timezone: 'off', resolvConf: 'off', register: false, keepUnit: true };
const base: ContainerOptions = { directory: busyboxTree(), machine: 'web', ...off };
const planOf = (options: ContainerOptions) => planContainer({ ...base, ...options }, 'streams');

/** What comes after all other steps. */
async function interfaces(options: ContainerOptions): Promise<string[]> {
  const plan = await planOf(options);
  const { steps } = buildPlan({ ...base, ...options }, 'streams');
  assert.equal(plan.steps.slice(0, steps.length), steps);
  assert.ok(plan.privateNetwork);
  return plan.steps.slice(steps.length).map(step => describeStep(step, plan.hostObjects));
}

type Use = Parameters<typeof macAddress>[0];
const mac = (use: Use, index = 0) => macAddress(use, 'web', readHostId(), index);
const ends = (prefix: string) => [
  `${prefix}-web (${mac('vethHost')})`,
  `host0 (${mac('vethContainer')}) in the container`,
];

it('a veth link, on a bridge or in a zone', async () => {
  const [ve, host0] = ends('ve');
  const [vb] = ends('vb');
  assert.equal(await interfaces({ networkVeth: true }), [`making a veth link from ${ve} to ${host0}`]);
  assert.equal(await interfaces({ networkBridge: 'br0' }), [
    `making a veth link from ${vb} on the bridge br0 to ${host0}`,
  ]);
  assert.equal(await interfaces({ networkZone: 'lan' }), [
    `making a veth link from ${vb} on the zone's bridge vz-lan to ${host0}`,
  ]);
});

it('all kinds, in the order of systemd-nspawn, with addresses by their places', async () => {
  const lines = await interfaces({
    networkIpvlans: ['a', 'b:d'],
    networkMacvlans: ['a', 'b:c'],
    networkVethExtra: ['x', 'y:z', 'v:'],
    networkVeth: true,
    networkInterfaces: ['p', 'q:r'],
  });
  const extra = (i: number, host: string, end: string) =>
    `making a veth link from ${host} (${mac('extraVethHost', i)}) to ${end} (${mac('extraVethContainer', i)}) in the container`;
  assert.equal(lines, [
    'moving the network interface p into the container',
    'moving the network interface q into the container as r',
    `making a veth link from ${ends('ve')[0]} to ${ends('ve')[1]}`,
    extra(0, 'x', 'x'),
    extra(1, 'y', 'z'),
    extra(2, 'v', 'v'),
    `making a macvlan mv-a (${mac('macvlan', 0)}) on a for the container`,
    `making a macvlan c (${mac('macvlan', 1)}) on b for the container`,
    'making an ipvlan iv-a on a for the container',
    'making an ipvlan d on b for the container',
  ]);
});

it('without interfaces there is nothing more', async () => {
  assert.equal(await planOf({ privateNetwork: true }), buildPlan({ ...base, privateNetwork: true }, 'streams'));
  assert.equal(await planOf({ networkInterfaces: [] }), buildPlan(base, 'streams'));
});

it('a namespace that is there is joined first, and none is made', async () => {
  for (const privateNetwork of [false, true]) {
    const plan = await planOf({ networkNamespacePath: '/run/netns/a', privateNetwork });
    assert.not.ok(plan.privateNetwork);
    const lines = plan.steps.map(step => describeStep(step, plan.hostObjects));
    const joined = lines.indexOf('joining the network namespace /run/netns/a');
    assert.ok(joined >= 0 && joined < lines.findIndex(line => line.includes('sysfs')));
    assert.is(lines.includes('bringing the loopback interface up'), privateNetwork);
  }
});

test.run();
