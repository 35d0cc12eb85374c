/** The options that limit, and how their values are written. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCommandLine } from '../../src/cli/parse.ts';
import { checkOptions } from '../../src/options/check.ts';
import { UsageError } from '../../src/options/usage-error.ts';
import type { ContainerOptions } from '../../src/options.ts';

const accepted: [words: string[], options: ContainerOptions][] = [
  [['--memory=64M'], { memory: 64 << 20 }],
  [['--memory=1.5G'], { memory: 1.5 * 2 ** 30 }],
  [['--memory=100000'], { memory: 100_000 }],
  [['--memory=25%'], { memory: '25%' }],
  [['--memory=12.5%'], { memory: '12.5%' }],
  [['--memory=1G', '--memory=infinity'], {}],
  [['--memory-swap=0'], { memorySwap: 0 }],
  [['--memory-swap=1K'], { memorySwap: 1024 }],
  [['--cpus=1.5'], { cpus: 1.5 }],
  [['--cpus=.5'], { cpus: 0.5 }],
  [['--cpus=150%'], { cpus: 1.5 }],
  [['--cpu-weight=10000'], { cpuWeight: 10_000 }],
  [['--cpu-weight=idle'], { cpuWeight: 'idle' }],
  [['--tasks=16'], { tasks: 16 }],
  [['--tasks=10%'], { tasks: '10%' }],
  [['--tasks=5', '--tasks=infinity'], {}],
  [['--io-weight=1'], { ioWeight: 1 }],
  [
    ['--io-max=/dev/a rbps=10M wiops=100', '--io-max=/b,wbps=1.5K'],
    {
      ioMax: [
        { path: '/dev/a', rbps: 10_000_000, wiops: 100 },
        { path: '/b', wbps: 1500 },
      ],
    },
  ],
  [['--io-max=a b riops=1,wbps=2'], { ioMax: [{ path: `${process.cwd()}/a b`, riops: 1, wbps: 2 }] }],
  [['--timeout=30s'], { timeout: 30_000 }],
  [['--timeout=2'], { timeout: 2000 }],
  [['--timeout=1h 30min'], { timeout: 5_400_000 }],
  [['--timeout=1500us'], { timeout: 2 }],
  [['--timeout=1s', '--timeout=infinity'], {}],
  [['--stats'], { stats: true }],
];

for (const [words, options] of accepted) {
  test(`takes ${words.join(' ')}`, () => assert.equal(parseCommandLine(words, {}).options, options));
}

const refused = [
  ...['0', '-1', '64MB', '64 potatoes', '0%', '101%', 'all', '', '9999999E'].map(value => `--memory=${value}`),
  ...['-1', '101%', 'none'].map(value => `--memory-swap=${value}`),
  ...['0', '0.001', '-1', '1,5', 'two', '9000', ''].map(value => `--cpus=${value}`),
  ...['0', '10001', '1.5', 'low'].map(value => `--cpu-weight=${value}`),
  ...['0', '-3', '1.5', '5000000', '200%'].map(value => `--tasks=${value}`),
  ...['0', '10001', 'idle'].map(value => `--io-weight=${value}`),
  ...['/dev/a', 'rbps=1', '/dev/a rbps', '/dev/a rbps=0', '/dev/a rbps=x', '/dev/a bps=1', '/dev/a rbps=-1'].map(
    value => `--io-max=${value}`,
  ),
  ...['0', '-1s', 'soon', '', '5 parsecs'].map(value => `--timeout=${value}`),
];

for (const word of refused) {
  test(`refuses ${word}`, () => {
    const option = word.slice(0, word.indexOf('=') + 1);
    assert.throws(
      () => parseCommandLine([word], {}),
      (error: Error) => error instanceof UsageError && error.message.startsWith(`${option} takes `),
    );
  });
}

test('what programs give is checked as well', () => {
  const fine: ContainerOptions = {
    memory: '64M',
    memorySwap: '0',
    tasks: '10%',
    cpus: 2,
    cpuWeight: 'idle',
    timeout: 0.5,
    ioMax: [{ path: '/dev/a', wbps: 1000 }],
  };
  checkOptions(fine);
  const bad: [options: ContainerOptions, option: string][] = [
    [{ memory: 0.5 }, '--memory='],
    [{ memory: Number.NaN }, '--memory='],
    [{ cpus: 0 }, '--cpus='],
    [{ tasks: -1 }, '--tasks='],
    [{ timeout: 0 }, '--timeout='],
    [{ timeout: Number.POSITIVE_INFINITY }, '--timeout='],
    [{ ioMax: [{ path: '/dev/a' }] }, '--io-max='],
    [{ ioMax: [{ path: '', rbps: 1 }] }, '--io-max='],
  ];
  for (const [options, option] of bad) {
    assert.throws(
      () => checkOptions(options),
      (error: Error) => error instanceof UsageError && error.message.startsWith(`${option} takes `),
      JSON.stringify(options),
    );
  }
});

test.run();
