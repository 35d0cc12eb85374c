/** SipHash-2-4, a keyed hash of 64 bits: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. */

const WORD = 8;

/** The hash of `message` with a key of 16 bytes. */
export function sipHash24(message: Uint8Array, key: Uint8Array): bigint {
  const [k0, k1] = [littleEndian(key, 0), littleEndian(key, WORD)];
  // The constants are the text "somepseudorandomlygeneratedbytes".
  const state: State = [
    k0 ^ 0x736f_6d65_7073_6575n,
    k1 ^ 0x646f_7261_6e64_6f6dn,
    k0 ^ 0x6c79_6765_6e65_7261n,
    k1 ^ 0x7465_6462_7974_6573n,
  ];

  // The last word has what is left of the message, and its length in the uppermost byte.
  const last = new Uint8Array(WORD);
  const whole = message.length - (message.length % WORD);
  last.set(message.subarray(whole));
  last[WORD - 1] = message.length & 0xff;
  for (let at = 0; at < whole; at += WORD) compress(state, littleEndian(message, at));
  compress(state, littleEndian(last, 0));

  state[2] ^= 0xffn;
  for (let n = 0; n < 4; n++) round(state);
  return state[0] ^ state[1] ^ state[2] ^ state[3];
}

type State = [bigint, bigint, bigint, bigint];

function compress(state: State, word: bigint): void {
  state[3] ^= word;
  round(state);
  round(state);
  state[0] ^= word;
}

function round(state: State): void {
  let [a, b, c, d] = state;
  a = uint64(a + b);
  b = rotate(b, 13n) ^ a;
  a = rotate(a, 32n);
  c = uint64(c + d);
  d = rotate(d, 16n) ^ c;
  a = uint64(a + d);
  d = rotate(d, 21n) ^ a;
  c = uint64(c + b);
  b = rotate(b, 17n) ^ c;
  c = rotate(c, 32n);
  state.splice(0, 4, a, b, c, d);
}

const uint64 = (value: bigint) => BigInt.asUintN(64, value);
const rotate = (value: bigint, bits: bigint) => uint64(value << bits) | (value >> (64n - bits));
const littleEndian = (bytes: Uint8Array, at: number) =>
  new DataView(bytes.buffer, bytes.byteOffset + at, WORD).getBigUint64(0, true);
