import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sipHash24 } from '../../src/plan/siphash.ts';

const upTo = (length: number) => Uint8Array.from({ length }, (_, i) => i);

/**
 * The hashes of the messages '', 00, 00 01, 00 01 02 … with the key 00 01 … 0f, of the reference implementation
 * (vectors.h of https://github.com/veorq/SipHash), as bytes; every length of the last word is among them.
 */
const VECTORS = [
  ...['310e0edd47db6f72', 'fd67dc93c539f874', '5a4fa9d909806c0d', '2d7efbd796666785'],
  ...['b7877127e09427cf', '8da699cd64557618', 'cee3fe586e46c9cb', '37d1018bf50002ab'],
  ...['6224939a79f5f593', 'b0e4a90bdf82009e', 'f3b9dd94c5bb5d7a', 'a7ad6b22462fb3f4'],
  ...['fbe50e86bc8f1e75', '903d84c02756ea14', 'eef27a8e90ca23f7', 'e545be4961ca29a1'],
];

test('gives the published hashes', () => {
  const hashes = VECTORS.map((_, length) => {
    const hash = sipHash24(upTo(length), upTo(16));
    return new Uint8Array(new BigUint64Array([hash]).buffer).toHex();
  });
  assert.equal(hashes, VECTORS);
});

test("gives the hash of the paper's example", () => {
  assert.is(sipHash24(upTo(15), upTo(16)), 0xa129ca6149be45e5n);
});

test('takes bytes that lie anywhere', () => {
  const memory = Uint8Array.from([0xff, 0xff, 0xff, ...upTo(15), 0xff]);
  assert.is(sipHash24(memory.subarray(3, 18), upTo(16)), 0xa129ca6149be45e5n);
});

test.run();
