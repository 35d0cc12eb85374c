/** Limits as properties of a unit, and back. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseUnitProperty } from '../../src/options/unit-properties.ts';
import { type LimitOptions, limitProperties, sortProperties } from '../../src/plan/limit-properties.ts';
import { planContainer } from '../../src/plan/plan.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const limits = (...words: string[]): LimitOptions => sortProperties(words.map(parseUnitProperty)).limits;

const cases: [words: string[], limits: LimitOptions][] = [
  [['MemoryMax=64M', 'MemorySwapMax=0'], { memory: 64 << 20, memorySwap: 0 }],
  [['MemoryMax=25%', 'TasksMax=0.5%'], { memory: '25%', tasks: '0.5%' }],
  [['MemoryMax=1G', 'MemoryMax=infinity'], {}],
  [['MemoryMax=1G', 'MemoryMax='], {}],
  [['CPUQuota=150%', 'CPUWeight=50'], { cpus: 1.5, cpuWeight: 50 }],
  [['CPUWeight=idle', 'IOWeight=10', 'TasksMax=5'], { cpuWeight: 'idle', ioWeight: 10, tasks: 5 }],
  [['CPUWeight='], {}],
  [
    ['IOReadBandwidthMax=/dev/a 5M', 'IOWriteIOPSMax=/srv 10', 'IOWriteBandwidthMax=/srv infinity'],
    {
      ioMax: [
        { path: '/dev/a', rbps: 5_000_000 },
        { path: '/srv', wiops: 10 },
      ],
    },
  ],
];
for (const [words, wanted] of cases) test(words.join(' '), () => assert.equal(limits(...words), wanted));

test('properties of another kind stay what they are', () => {
  const slice = parseUnitProperty('Slice=a.slice');
  const device = parseUnitProperty('DeviceAllow=/dev/kvm');
  const { limits: found, devices, others } = sortProperties([slice, parseUnitProperty('TasksMax=1'), device]);
  assert.equal([found, devices, others], [{ tasks: 1 }, [device], [slice]]);
});

test('limits are the properties that they come from', () => {
  const words = [
    ...['MemoryMax=64M', 'MemorySwapMax=1K', 'CPUQuota=150%', 'CPUWeight=idle', 'TasksMax=5', 'IOWeight=10'],
    ...['IOReadBandwidthMax', 'IOWriteBandwidthMax', 'IOReadIOPSMax', 'IOWriteIOPSMax'].map(name => `${name}=/a 5`),
  ];
  const { ioMax, ...numbers } = limits(...words);
  const resolved = { ...numbers, ioMax: ioMax!.map(max => ({ ...max, device: '8:0' })) };
  assert.equal(limitProperties(resolved as Parameters<typeof limitProperties>[0]), words.map(parseUnitProperty));
});

needs([root, busybox])('a plan has them; options go before them', async () => {
  const plan = await planContainer(
    { directory: busyboxTree(), readOnly: true, properties: ['MemoryMax=64M', 'TasksMax=7'], tasks: 3 },
    'streams',
  );
  assert.equal(plan.limits, { memory: 64 << 20, tasks: 3 });
});

test.run();
