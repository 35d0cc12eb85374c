import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkRlimit, parseRlimit, rlimitText } from '../../src/options/rlimit.ts';
import { ValueError } from '../../src/options/usage-error.ts';

const G = 1024n ** 3n;
const M = 1024n ** 2n;

const accepted: [text: string, soft: bigint | 'infinity', hard?: bigint | 'infinity'][] = [
  ['NOFILE=8192:16384', 8192n, 16384n],
  ['NOFILE=0', 0n],
  ['NOFILE=+1', 1n],
  ['NOFILE= 1', 1n],
  ['NOFILE=0x10', 16n],
  ['NOFILE=0b11', 3n],
  ['NOFILE=010', 8n],
  ['NOFILE=1:infinity', 1n, 'infinity'],
  ['NOFILE=infinity', 'infinity'],
  ['NOFILE=18446744073709551614', 2n ** 64n - 2n],
  ['AS=1G', G],
  ['AS=1.5G', (3n * G) / 2n],
  ['AS=1.G', G],
  ['AS=1 G', G],
  ['AS=1G 500M', G + 500n * M],
  ['AS=1G500M1', G + 500n * M + 1n],
  ['AS=1B', 1n],
  ['AS=010', 10n],
  ['AS=15E', 15n * 1024n ** 6n],
  ['FSIZE=1.23456789K', 1264n],
  ['MEMLOCK=64K:1M', 65536n, M],
  ['CPU=10', 10n],
  ['CPU=1.5', 2n],
  ['CPU=.5', 1n],
  ['CPU=100ms', 1n],
  ['CPU=1h 30min', 5400n],
  ['CPU=1h30m', 5400n],
  ['CPU=1min1h', 3660n],
  ['CPU=1 h 2', 3602n],
  ['CPU=1M', 2629800n],
  ['CPU=1y', 31557600n],
  ['CPU=2weeks:infinity', 1209600n, 'infinity'],
  ['RTTIME=100', 100n],
  ['RTTIME=1.5', 1n],
  ['RTTIME=1.5ms', 1500n],
  ['RTTIME=3µs', 3n],
  ['RTTIME=3μs', 3n],
  ['NICE=0', 0n],
  ['NICE=40', 40n],
  ['NICE=+5', 15n],
  ['NICE=-20', 40n],
  ['NICE=+19', 1n],
  ['NICE=-0', 20n],
  ['NICE=-5:-10', 25n, 30n],
];

for (const [text, soft, hard = soft] of accepted) {
  test(`takes ${text}`, () => {
    const name = text.slice(0, text.indexOf('='));
    assert.equal(parseRlimit(text), { name, soft, hard });
  });
}

const refused = [
  ...['', 'NOFILE', 'nofile=1', 'FOO=1', ' NOFILE=1', 'toString=1', 'RLIMIT_LimitNOFILE=1'],
  ...['NOFILE=', 'NOFILE=:1', 'NOFILE=1:', 'NOFILE=1:2:3', 'NOFILE=1K', 'NOFILE=-1', 'NOFILE=1 ', 'NOFILE=08'],
  ...['NOFILE=2:1', 'NOFILE=infinity:1', 'NOFILE=INFINITY', 'NOFILE=18446744073709551615'],
  ...['AS=', 'AS=1g', 'AS=1GB', 'AS=.5G', 'AS=500M1G', 'AS=1M1M', 'AS=0x10', 'AS=16E', 'AS=1G ', 'AS=1..5G', 'AS=-1'],
  ...['CPU=', 'CPU=.', 'CPU=1.', 'CPU=1x', 'CPU=1Y', 'CPU=1.5.5', 'CPU=-1', 'CPU=0x10', 'CPU=100000000000000'],
  ...['NICE=41', 'NICE=-21', 'NICE=+20', 'NICE=-10:-5', 'NICE=infinity', 'NICE= -5', 'NICE=+-5'],
];

for (const text of refused) {
  test(`refuses ${text}`, () => {
    assert.throws(
      () => parseRlimit(text),
      (error: unknown) => error instanceof ValueError && error.message.startsWith('takes '),
    );
  });
}

test('says how the value of the limit is written', () => {
  assert.throws(
    () => parseRlimit('NOFILE=1K'),
    /^takes a number or infinity for NOFILE, or two with a colon between, not "1K"$/,
  );
});

test('limits that are no text are held to the same', () => {
  const check = (name: string, soft: bigint | 'infinity', hard = soft) => checkRlimit(rlimitText({ name, soft, hard }));
  check('NOFILE', 0n, 2n ** 64n - 2n);
  check('CPU', 90n, 'infinity');
  check('NICE', 40n);
  assert.throws(() => check('RLIMIT_NOFILE', 5n), 'takes the name NOFILE, not "RLIMIT_NOFILE"');
  assert.throws(() => check('nofile', 5n), 'takes a limit of AS, ');
  assert.throws(() => check('NOFILE', 2n ** 64n), 'takes a number or infinity for NOFILE');
  assert.throws(() => check('NOFILE', -1n), 'takes a number or infinity for NOFILE');
  assert.throws(() => check('NOFILE', 5n, 4n), 'takes a soft limit no higher than the hard one');
});

test.run();
