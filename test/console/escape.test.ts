/** ^] three times within one second ends the container. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { escapeDetector } from '../../src/console/escape.ts';

/** Feeds pieces of input, each at its time in milliseconds; tells after how many of them the escape was found. */
function foundAfter(pieces: readonly (readonly [time: number, text: string])[]): number | undefined {
  let time = 0;
  const hasEscape = escapeDetector(() => time);
  const index = pieces.findIndex(([at, text]) => {
    time = at;
    return hasEscape(new TextEncoder().encode(text));
  });
  return index < 0 ? undefined : index + 1;
}

const E = '\x1d';

test('three ^] at once', () => {
  assert.is(foundAfter([[0, E + E + E]]), 1);
  assert.is(foundAfter([[0, `ls\n${E}${E}${E}ls\n`]]), 1);
});

test('three ^] in pieces, up to a second apart', () => {
  assert.is(
    foundAfter([
      [5000, E],
      [5500, E],
      [6000, E],
    ]),
    3,
  );
});

test('too slow', () => {
  assert.is(
    foundAfter([
      [0, E],
      [600, E],
      [1001, E],
    ]),
    undefined,
  );
});

test('a ^] that came too late is the first of the next three', () => {
  assert.is(
    foundAfter([
      [0, E],
      [1, E],
      [2000, E],
      [2001, E],
      [2999, E],
    ]),
    5,
  );
});

test('another key in between', () => {
  assert.is(foundAfter([[0, `${E}${E}x${E}`]]), undefined);
  assert.is(
    foundAfter([
      [0, E + E],
      [1, 'x'],
      [2, E],
    ]),
    undefined,
  );
});

test('two are not enough', () => {
  assert.is(foundAfter([[0, E + E]]), undefined);
});

test.run();
