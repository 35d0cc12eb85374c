import { constants } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseSignal, signalName } from '../../src/options/signals.ts';
import { ValueError } from '../../src/options/usage-error.ts';

const accepted: [text: string, number: number][] = [
  ['TERM', 15],
  ['SIGTERM', 15],
  ['15', 15],
  ['+15', 15],
  ['0xf', 15],
  ['017', 15],
  ['STKFLT', 16],
  ['IO', 29],
  ['SYS', 31],
  ['32', 32],
  ['64', 64],
  ['RTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['RTMIN+30', 64],
  ['RTMAX', 64],
  ['SIGRTMAX-3', 61],
  ['RTMAX-30', 34],
];

for (const [text, number] of accepted) {
  test(`takes ${text}`, () => assert.is(parseSignal(text), number));
}

const refused = [
  '',
  'term',
  'sigterm',
  'SIG',
  'SIG15',
  'SIGSIGTERM',
  '0',
  '65',
  '-1',
  '15 ',
  'IOT',
  'CLD',
  'POLL',
].concat(['RTMIN+31', 'RTMIN-1', 'RTMIN+', 'RTMIN+-1', 'RTMIN+ 3', 'RTMAX-31', 'RTMAX+1', 'RTMID']);

for (const text of refused) {
  test(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseSignal(text),
      (error: unknown) => error instanceof ValueError,
    );
  });
}

test('names and numbers are those of the system', () => {
  const aliases = ['SIGIOT', 'SIGPOLL', 'SIGUNUSED', 'SIGCLD'];
  for (const [name, number] of Object.entries(constants.signals)) {
    if (aliases.includes(name)) continue;
    assert.is(parseSignal(name), number, name);
    assert.is(signalName(number), name);
  }
});

test('every number has a name, and its name means the number', () => {
  assert.is(signalName(34), 'SIGRTMIN');
  assert.is(signalName(37), 'SIGRTMIN+3');
  assert.is(signalName(33), 'SIG33');
  for (let number = 1; number <= 64; number++) {
    if (number !== 32 && number !== 33) assert.is(parseSignal(signalName(number)), number);
  }
});

test.run();
