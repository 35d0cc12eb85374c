import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseInterface, parseInterfacePair, parseZone } from '../../src/options/network.ts';
import { ValueError } from '../../src/options/usage-error.ts';

const refuses = (parse: () => unknown) =>
  assert.throws(parse, (error: unknown) => error instanceof ValueError && error.message.startsWith('takes '));

test('interface names are those that the kernel and its sysctl files can carry', () => {
  for (const name of ['lo', 'eth0', 'a.1', 'a'.repeat(15)]) assert.is(parseInterface(name), name);
  for (const name of ['0x', '0xg', '-5', '1a', '1e3', '12.3']) assert.is(parseInterface(name), name);
  const numbers = ['12', '007', '+5', '0x1f', '0X10', '0o7', '0b1'];
  const bad = ['', '.', '..', 'all', 'default', 'a/b', 'a:b', 'a%d', 'a b', 'é', 'a'.repeat(16), ...numbers];
  for (const name of bad) refuses(() => parseInterface(name));
});

test('an interface can have a second name behind a colon', () => {
  assert.is(parseInterfacePair('a:b'), 'a:b');
  assert.is(parseInterfacePair('a'), 'a');
  assert.is(parseInterfacePair('a:'), 'a');
  for (const pair of ['', ':b', 'a:b:c', 'a:b:', 'a:12']) refuses(() => parseInterfacePair(pair));
});

test('a zone leaves room for its bridge’s prefix', () => {
  assert.is(parseZone('a'.repeat(12)), 'a'.repeat(12));
  for (const zone of ['', 'a'.repeat(13), 'a/b']) refuses(() => parseZone(zone));
});

test.run();
