/** Messages of D-Bus, from values to bytes and back. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeMessage, encodeMessage, type Message, socketNames, type Value } from '../../dbus/index.ts';
import { type Random, withSeed } from '../support/random.ts';

const SEEDS = Array.from({ length: 200 }, (_, i) => i + 1);

/** The answer to a message of this body. */
const carrying = (signature: string, body: readonly Value[]): Message => ({
  type: 2,
  flags: 1,
  serial: 7,
  replySerial: 3,
  signature,
  body,
});

const bytesOf = (hex: string) => Uint8Array.from(hex.match(/[0-9a-f]{2}/g)!, digits => Number.parseInt(digits, 16));

/** Header fields of it, each padded to eight bytes. */
const FIELDS = {
  path: '01 01 6f 00 15 00 00 00 2f 6f 72 67 2f 66 72 65 65 64 65 73 6b 74 6f 70 2f 44 42 75 73 00 00 00',
  interface: '02 01 73 00 14 00 00 00 6f 72 67 2e 66 72 65 65 64 65 73 6b 74 6f 70 2e 44 42 75 73 00 00 00 00',
  member: '03 01 73 00 05 00 00 00 48 65 6c 6c 6f 00 00 00',
  destination: '06 01 73 00 14 00 00 00 6f 72 67 2e 66 72 65 65 64 65 73 6b 74 6f 70 2e 44 42 75 73 00 00 00 00',
} as const;
/** The padding behind the last field isn't counted. */
const withFields = (length: string, ...fields: (keyof typeof FIELDS)[]) =>
  bytesOf(`6c 01 00 01 00 00 00 00 01 00 00 00 ${length} 00 00 00 ${fields.map(name => FIELDS[name]).join(' ')}`);
const hello: Message = {
  type: 1,
  flags: 0,
  serial: 1,
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
  member: 'Hello',
  destination: 'org.freedesktop.DBus',
  body: [],
};

test('a message is written byte by byte as it should be', () =>
  assert.equal(encodeMessage(hello), withFields('6d', 'path', 'interface', 'member', 'destination')));

test('header fields are read in any order', () =>
  assert.equal(decodeMessage(withFields('6e', 'path', 'destination', 'interface', 'member')), hello));

test('values of all types come back', () => {
  const message = carrying('ybnqiuxtdsogvasa(iay)a{sv}(s(tb))ab', [
    255,
    true,
    -2,
    65535,
    -2147483648,
    4294967295,
    -(2n ** 63n),
    2n ** 64n - 1n,
    0.5,
    'Straße',
    '/a/b',
    'a{sv}',
    { signature: 'a(ss)', value: [['/dev/null', 'rwm']] },
    ['one', '', 'three'],
    [
      [2, Uint8Array.of(10, 0, 0, 1)],
      [10, new Uint8Array(16)],
    ],
    [
      ['a', { signature: 'v', value: { signature: 'b', value: false } }],
      ['b', { signature: 'ay', value: Uint8Array.of(1) }],
    ],
    ['s', [5n, false]],
    [true, false],
  ]);
  assert.equal(decodeMessage(encodeMessage(message)), message);
});

test('random values come back', () => {
  for (const seed of SEEDS) {
    withSeed(seed, random => {
      const signature = randomStruct(random, 3).slice(1, -1);
      const message = carrying(signature, randomValue(`(${signature})`, random) as Value[]);
      assert.equal(decodeMessage(encodeMessage(message)), message);
    });
  }
});

test('a message in the other byte order is read', () => {
  const big = bytesOf(
    `42 02 01 01 00 00 00 10 00 00 00 09 00 00 00 10
     05 01 75 00 00 00 00 05 08 01 67 00 02 73 75 00
     00 00 00 03 61 62 63 00 00 00 00 00 01 02 03 04`,
  );
  // The padding behind the string is part of the body.
  big[7] = 12;
  assert.equal(decodeMessage(Uint8Array.from([...big.slice(0, 40), ...big.slice(44)])), {
    type: 2,
    flags: 1,
    serial: 9,
    replySerial: 5,
    signature: 'su',
    body: ['abc', 0x01020304],
  });
});

test('bytes that are no message throw the error for it, and never hang', () => {
  const good = encodeMessage(carrying('a(sv)ays', [[['x', { signature: 'u', value: 1 }]], Uint8Array.of(1, 2), 'end']));
  for (const seed of SEEDS) {
    withSeed(seed, random => {
      const bad = good.slice(0, 16 + random.below(good.length - 16));
      for (let i = random.below(4); i > 0; i--) bad[random.below(bad.length)] = random.below(256);
      try {
        decodeMessage(bad);
      } catch (error) {
        assert.is((error as Error).name, 'MalformedMessageError');
      }
    });
  }
});

test('what a signature does not fit is refused', () => {
  assert.throws(() => encodeMessage(carrying('ss', ['one'])), /1 values for the signature ss/);
  assert.throws(() => encodeMessage(carrying('s', ['a\0b'])), /holds a zero byte/);
  for (const signature of ['z', 'a', '(', '()', '(i', `${'a'.repeat(100)}i`]) {
    assert.throws(() => encodeMessage(carrying(signature, [[]])), /is no signature/, signature);
  }
});

test('addresses', () => {
  assert.equal(socketNames('unix:path=/run/dbus/system_bus_socket'), ['/run/dbus/system_bus_socket']);
  assert.equal(socketNames('tcp:host=x;unix:guid=1,abstract=/tmp/a%2cb%C3%9f;unix:path=/c'), ['\0/tmp/a,bß', '/c']);
  assert.equal(socketNames('unixexec:path=/bin/sh'), []);
  assert.equal(socketNames(''), []);
});

function randomStruct(random: Random, depth: number): string {
  return `(${Array.from({ length: 1 + random.below(4) }, () => randomType(random, depth)).join('')})`;
}

function randomType(random: Random, depth: number): string {
  const kind = depth === 0 ? 0 : random.below(4);
  if (kind === 1) return randomStruct(random, depth - 1);
  if (kind === 2) return `a${randomType(random, depth - 1)}`;
  if (kind === 3) return 'v';
  return random.pick([...'ybnqiuxtdsog']);
}

function randomValue(type: string, random: Random): Value {
  switch (type[0]) {
    case 'b':
      return random.oneIn(2);
    case 'y':
      return random.below(256);
    case 'n':
    case 'i':
      return random.below(60_000) - 30_000;
    case 'x':
      return -random.uint64() / 2n;
    case 't':
      return random.uint64();
    case 'v': {
      const signature = randomType(random, 1);
      return { signature, value: randomValue(signature, random) };
    }
    case '(':
      return typesIn(type).map(each => randomValue(each, random));
    case 'a': {
      const list = Array.from({ length: random.below(4) }, () => randomValue(type.slice(1), random));
      return type === 'ay' ? Uint8Array.from(list as number[]) : list;
    }
    case 's':
    case 'o':
      return 'ä'.repeat(random.below(9));
    case 'g':
      return 'i'.repeat(random.below(9));
    default:
      return random.below(60_000);
  }
}

/** The types of a struct's fields. */
function typesIn(struct: string): string[] {
  const types: string[] = [];
  let depth = 0;
  let start = 1;
  for (let at = 1; at < struct.length - 1; at++) {
    if (struct[at] === '(') depth++;
    if (struct[at] === ')') depth--;
    if (depth > 0 || struct[at] === 'a') continue;
    types.push(struct.slice(start, at + 1));
    start = at + 1;
  }
  return types;
}

test.run();
