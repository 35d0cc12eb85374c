/** Attributes to bytes and back. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as field from '../../netlink/field.ts';
import {
  Decoder,
  decodeFields,
  Encoder,
  encodeFields,
  InvalidValueError,
  MalformedMessageError,
} from '../../netlink/index.ts';

/** The bytes below are those of a machine that puts the low byte first, as all do that this runs on. */
function encode(write: (encoder: Encoder) => void): number[] {
  const encoder = new Encoder();
  write(encoder);
  return [...encoder.finish()];
}

const decoder = (...bytes: number[]) => new Decoder(Uint8Array.from(bytes));

/** Asserts a MalformedMessageError at a place. */
function assertMalformed(work: () => unknown, offset: number, words: RegExp): void {
  assert.throws(work, (error: Error) => {
    assert.instance(error, MalformedMessageError);
    assert.is((error as MalformedMessageError).offset, offset);
    assert.match(error.message, words);
    return true;
  });
}

test('integers are written in the order of the machine, or big-endian where asked', () => {
  const bytes = encode(e => {
    e.u8(1);
    e.u8(255);
    e.u16(0x0102);
    e.u32(0x01020304);
    e.s32(-2);
    e.u64(0x0102030405060708n);
    e.u16be(0x0102);
    e.u32be(0x01020304);
  });
  assert.equal(bytes, [1, 255, 2, 1, 4, 3, 2, 1, 254, 255, 255, 255, 8, 7, 6, 5, 4, 3, 2, 1, 1, 2, 1, 2, 3, 4]);
  const d = decoder(...bytes);
  assert.equal(
    [d.u8(), d.u8(), d.u16(), d.u32(), d.s32(), d.u64(), d.u16be(), d.u32be()],
    [1, 255, 0x0102, 0x01020304, -2, 0x0102030405060708n, 0x0102, 0x01020304],
  );
  assert.is(d.remaining, 0);
});

test('numbers that do not fit are refused', () => {
  const e = new Encoder();
  for (const write of [
    () => e.u8(256),
    () => e.u8(-1),
    () => e.u16(65536),
    () => e.u32(2 ** 32),
    () => e.u32(1.5),
    () => e.u32(Number.NaN),
    () => e.s32(2 ** 31),
    () => e.u64(-1n),
    () => e.u64(2n ** 64n),
    () => e.u16be(-1),
    () => e.u32be(2 ** 32),
  ]) {
    assert.throws(write, (error: Error) => error instanceof InvalidValueError);
  }
  assert.is(e.length, 0);
});

test('attributes are padded to four bytes, and their length does not count the padding', () => {
  const bytes = encode(e => {
    e.attribute(3, payload => payload.string('lo'));
    e.attribute(7);
    e.attribute(4, payload => payload.u32(1500));
  });
  assert.equal(bytes, [7, 0, 3, 0, 108, 111, 0, 0, 4, 0, 7, 0, 8, 0, 4, 0, 0xdc, 5, 0, 0]);
});

test('attributes nest by closures; the mark of nests is set by nested only', () => {
  const bytes = encode(e => {
    e.attribute(18, info => {
      info.attribute(1, kind => kind.text('veth'));
      info.attribute(2, data => data.attribute(1, payload => payload.u8(5)));
    });
    e.nested(52, list => list.attribute(53, name => name.string('x')));
  });
  assert.equal(bytes, [
    ...[24, 0, 18, 0],
    ...[8, 0, 1, 0, 118, 101, 116, 104],
    ...[12, 0, 2, 0, 5, 0, 1, 0, 5, 0, 0, 0],
    ...[12, 0, 52, 0x80],
    ...[6, 0, 53, 0, 120, 0, 0, 0],
  ]);
  const [info, list] = [...decoder(...bytes).attributes()];
  assert.equal([info!.type, list!.type], [18, 52]);
  assert.is(info!.payload.attributeMap().get(1)!.string(), 'veth');
  assert.is(list!.payload.attributeMap().get(53)!.string(), 'x');
});

test('the buffer grows, and long attributes are refused', () => {
  const long = encode(e => e.attribute(1, payload => payload.bytes(new Uint8Array(60_000).fill(7))));
  assert.is(long.length, 60_004);
  assert.is(long.at(-1), 7);
  assert.throws(
    () => encode(e => e.attribute(9, payload => payload.bytes(new Uint8Array(65_532)))),
    /attribute 9 takes 65536 bytes, the most is 65535/,
  );
});

test('texts are UTF-8, end at the first zero byte, and cannot hold one', () => {
  const bytes = encode(e => e.string('grüß'));
  assert.equal(bytes, [103, 114, 0xc3, 0xbc, 0xc3, 0x9f, 0]);
  assert.is(decoder(...bytes, 1, 2).string(), 'grüß');
  assert.is(decoder(97, 98).string(), 'ab');
  assert.is(decoder().string(), '');
  assert.throws(() => encode(e => e.string('a\0b')), /holds a zero byte/);
});

test('reading past the end is an error that names the place', () => {
  const d = decoder(1, 2, 3);
  d.u8();
  assertMalformed(() => d.u32(), 1, /at byte 1: 4 bytes are needed, 2 are left/);
  assert.is(d.u16(), 0x0302);
  assertMalformed(() => d.bytes(1), 3, /1 bytes are needed, 0 are left/);
});

test('attributes with impossible lengths are errors that name the place and the way there', () => {
  assertMalformed(
    () => [...decoder(3, 0, 1, 0).attributes()],
    0,
    /attribute 1 says it has 3 bytes, where 4 to 4 can be/,
  );
  assertMalformed(() => [...decoder(9, 0, 1, 0, 0, 0, 0, 0).attributes()], 0, /has 9 bytes, where 4 to 8 can be/);
  assertMalformed(() => [...decoder(4, 0, 1, 0, 0, 0).attributes()], 6, /2 bytes are needed, 0 are left/);
  const nested = decoder(12, 0, 18, 0, 8, 0, 2, 0, 6, 0, 7, 0);
  const read = () => nested.attributeMap().get(18)!.attributeMap().get(2)!.attributeMap();
  assertMalformed(read, 8, /at byte 8: in attribute 18 > 2: attribute 7 says it has 6 bytes, where 4 to 4 can be/);
});

test('the last attribute may go without padding', () => {
  const map = decoder(5, 0, 1, 0, 42).attributeMap();
  assert.is(map.get(1)!.u8(), 42);
});

test('a decoder of a part of a buffer sees nothing but that part', () => {
  const buffer = new Uint8Array(64).fill(0xff);
  buffer.set([8, 0, 4, 0, 1, 0, 0, 0], 20);
  const map = new Decoder(buffer.subarray(20, 28)).attributeMap();
  const payload = map.get(4)!;
  assert.is(payload.u32(), 1);
  assert.throws(() => payload.u8(), /0 are left/);
  for (const length of [-4, -1, Number.NaN]) {
    for (const read of [() => payload.skip(length), () => payload.bytes(length), () => payload.part(length)]) {
      assertMalformed(read, 8, new RegExp(`in attribute 4: ${length} bytes are needed, 0 are left$`));
    }
  }
});

test('bytes that were read are copies', () => {
  const source = Uint8Array.from([1, 2, 3]);
  const copy = new Decoder(source).bytes();
  source.fill(0);
  assert.equal([...copy], [1, 2, 3]);
});

const fields = {
  byte: field.u8(1),
  word: field.u16be(2),
  name: field.interfaceName(3),
  on: field.boolean(field.u8(4)),
  there: field.flag(5),
  mode: field.named(field.u32(6), { private: 1, bridge: 4 }),
  bits: field.flags(field.u16(7), { a: 1, b: 2 }),
  changes: field.switches(8, { x: 1, y: 2, z: 4 }),
  ip: field.ip(9),
  mac: field.linkAddress(10),
  inner: field.nest(11, { deep: field.u64(1), deeper: field.nest(2, { deepest: field.string(1) }) }),
  names: field.list(12, field.string(53)),
};

test('tables of fields are written and read', () => {
  const values: field.Values<typeof fields> = {
    byte: 7,
    word: 258,
    name: 'fifteen-bytes-x',
    on: false,
    there: true,
    mode: 'bridge',
    bits: ['a', 'b'],
    changes: { x: true, z: false },
    ip: '2001:db8::1',
    mac: '02:00:00:00:00:01',
    inner: { deep: 5n, deeper: { deepest: 'text' } },
    names: ['one', 'two', ''],
  };
  const bytes = encode(e => encodeFields(e, fields, values));
  assert.equal(decodeFields(decoder(...bytes), fields), values);
});

test('names and flags that have no name are numbers', () => {
  const values = { mode: '99', bits: ['b', '0x8000'] } as field.Values<typeof fields>;
  const bytes = encode(e => encodeFields(e, fields, values));
  assert.equal(decodeFields(decoder(...bytes), fields), values);
});

test('attributes that the table does not know are passed over, and of doubles the last one counts', () => {
  const bytes = encode(e => {
    e.attribute(999, payload => payload.u32(1));
    e.attribute(1, payload => payload.u8(1));
    e.attribute(1, payload => payload.u8(2));
  });
  assert.equal(decodeFields(decoder(...bytes), fields), { byte: 2 });
});

test('values that cannot be written are refused by name', () => {
  const refused: [field.Values<typeof fields>, RegExp][] = [
    [{ byte: 256 }, /^byte: 256 is not a whole number from 0 to 255$/],
    [{ name: 'sixteen-bytes-xx' }, /^name: "sixteen-bytes-xx" is 16 bytes long, where 1 to 15 can be$/],
    [{ name: '' }, /^name: "" is 0 bytes long/],
    [{ mode: 'brigde' as 'bridge' }, /^mode: "brigde" is none of private, bridge$/],
    [{ mode: 'constructor' as 'bridge' }, /^mode: "constructor" is none of/],
    [{ bits: ['c' as 'a'] }, /^bits: "c" is none of a, b$/],
    [{ ip: '1.2.3' }, /^ip: "1\.2\.3" is not an IPv4 address$/],
    [{ mac: '02:xx' }, /^mac: "02:xx" is not a link-layer address/],
    [{ inner: { deep: -1n } }, /^inner: deep: -1 does not fit 64 bits/],
  ];
  for (const [values, words] of refused) assert.throws(() => encode(e => encodeFields(e, fields, values)), words);
});

test('addresses of other lengths than 4 and 16 bytes are malformed', () => {
  const bytes = encode(e => e.attribute(9, payload => payload.bytes(new Uint8Array(5))));
  assertMalformed(
    () => decodeFields(decoder(...bytes), fields),
    9,
    /in attribute 9: an address has 4 or 16 bytes, not 5/,
  );
});

test.run();
