/** Addresses as text and as bytes. */
import { isIPv6 } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatIp,
  formatLinkAddress,
  InvalidValueError,
  parseIp,
  parseLinkAddress,
  parsePrefix,
} from '../../netlink/index.ts';
import { createRandom } from '../support/random.ts';

test('IPv4', () => {
  for (const text of ['0.0.0.0', '10.1.2.3', '255.255.255.255']) assert.is(formatIp(parseIp(text)), text);
  assert.equal([...parseIp('10.1.2.3')], [10, 1, 2, 3]);
});

test('what is not an address is refused', () => {
  const wrong = [
    ...[
      '',
      ' ',
      '1.2.3',
      '1.2.3.4.5',
      '256.1.1.1',
      '01.2.3.4',
      '1.2.3.4 ',
      '0x1.2.3.4',
      '1.2.3.',
      'a.b.c.d',
      '-1.2.3.4',
    ],
    ...[':', ':::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', '12345::', 'g::', '::1%eth0', '1:2:3:4:5:6:7:8::'],
    ...[
      '::1.2.3',
      '::1.2.3.4.5',
      '::256.1.1.1',
      '1.2.3.4::',
      '1:2:3:4:5:6:7:1.2.3.4',
      '::1/64',
      ':1',
      '1:',
      '::01.2.3.4',
    ],
  ];
  for (const text of wrong)
    assert.throws(
      () => parseIp(text),
      (error: Error) => error instanceof InvalidValueError,
      text,
    );
});

/** From RFC 5952, sections 1 to 5, and RFC 4291, section 2.2. */
const CANONICAL: Record<string, string> = {
  '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
  '2001:0db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
  '2001:db8::0:1:0:0:1': '2001:db8::1:0:0:1',
  '2001:DB8:0:0:1::1': '2001:db8::1:0:0:1',
  '2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001': '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1',
  '2001:db8::1:1:1:1:1': '2001:db8:0:1:1:1:1:1',
  '2001:0:0:1:0:0:0:1': '2001:0:0:1::1',
  '0:0:0:0:0:0:0:0': '::',
  '0:0:0:0:0:0:0:1': '::1',
  '1:0:0:0:0:0:0:0': '1::',
  '0:1:2:3:4:5:6:7': '0:1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:0': '1:2:3:4:5:6:7:0',
  '1:2:3:4:5:6:7::': '1:2:3:4:5:6:7:0',
  '::ffff:c000:201': '::ffff:192.0.2.1',
  '::FFFF:192.0.2.1': '::ffff:192.0.2.1',
  '::ffff:0:c000:201': '::ffff:0:c000:201',
  '64:ff9b::192.0.2.33': '64:ff9b::c000:221',
  'fe80:0:0:0:0:0:0:1': 'fe80::1',
};

test('IPv6 is written in the one form of RFC 5952', () => {
  for (const [text, canonical] of Object.entries(CANONICAL)) {
    assert.is(formatIp(parseIp(text)), canonical, text);
    assert.is(formatIp(parseIp(canonical)), canonical, canonical);
  }
});

test('random IPv6 addresses come back, and are what the URL standard writes', () => {
  const random = createRandom(5952);
  for (let round = 0; round < 500; round++) {
    const bytes = new Uint8Array(16).map(() => (random.oneIn(2) ? 0 : random.below(256)));
    if (bytes[10] === 255 && bytes[11] === 255) continue;
    const text = formatIp(bytes)!;
    assert.equal(parseIp(text), bytes, text);
    assert.ok(isIPv6(text), text);
    assert.is(new URL(`http://[${text}]/`).hostname, `[${text}]`);
  }
});

test('prefixes', () => {
  assert.equal(parsePrefix('10.0.0.1/8'), { family: 'inet', address: '10.0.0.1', prefixLength: 8 });
  assert.equal(parsePrefix('2001:DB8:0::/32'), { family: 'inet6', address: '2001:db8::', prefixLength: 32 });
  assert.is(parsePrefix('10.0.0.1').prefixLength, 32);
  assert.is(parsePrefix('::1').prefixLength, 128);
  assert.is(parsePrefix('0.0.0.0/0').prefixLength, 0);
  for (const text of [
    '10.0.0.1/33',
    '::/129',
    '10.0.0.1/',
    '10.0.0.1/a',
    '10.0.0.1/08',
    '10.0.0.1/8/8',
    '/8',
    '10.0.0.1/-1',
  ]) {
    assert.throws(
      () => parsePrefix(text),
      (error: Error) => error instanceof InvalidValueError,
      text,
    );
  }
});

test('link-layer addresses', () => {
  assert.equal([...parseLinkAddress('02:0:a:FF:00:1')], [2, 0, 10, 255, 0, 1]);
  assert.is(formatLinkAddress(Uint8Array.from([2, 0, 10, 255, 0, 1])), '02:00:0a:ff:00:01');
  for (const text of ['', '02-00', '02:', '100:1', 'g0:00']) {
    assert.throws(
      () => parseLinkAddress(text),
      (error: Error) => error instanceof InvalidValueError,
      text,
    );
  }
});

test.run();
