import type { Decoder, Encoder } from './codec.ts';
import { InvalidValueError, naming } from './error.ts';
import {
  FAMILIES,
  type Family,
  formatIp,
  formatLinkAddress,
  parseIp,
  parseIpv4,
  parseIpv6,
  parseLinkAddress,
} from './ip-address.ts';
import { bitsOf, type Flag, flagsOf, type Name, type Names, nameOf, numberOf } from './names.ts';

/** One attribute of a message: its number, and how its payload is written and read. */
export interface Field<V> {
  readonly type: number;
  readonly write: (payload: Encoder, value: V) => void;
  readonly read: (payload: Decoder) => V;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds fields of any values; Values gives each its own type again.
export type Fields = Readonly<Record<string, Field<any>>>;
/** The plain object that a table of fields describes. */
export type Values<F extends Fields> = { -readonly [K in keyof F]?: F[K] extends Field<infer V> ? V : never };

/** The same, to be written: what is undefined is left out. */
export type Inputs<F extends Fields> = { readonly [K in keyof F]?: Values<F>[K] | undefined };

/** Writes the values that are there as attributes, in the order of the table. */
export function encodeFields<F extends Fields>(encoder: Encoder, fields: F, values: Inputs<F>): void {
  for (const [name, field] of Object.entries(fields)) {
    const value = values[name];
    if (value === undefined) continue;
    naming(name, () => encoder.attribute(field.type, payload => field.write(payload, value)));
  }
}

/** Reads the attributes that the table knows; newer kernels send some that it does not. */
export function decodeFields<F extends Fields>(decoder: Decoder, fields: F): Values<F> {
  const attributes = decoder.attributeMap();
  const values: Record<string, unknown> = {};
  for (const [name, field] of entriesOf(fields)) {
    const payload = attributes.get(field.type);
    if (payload) values[name] = field.read(payload);
  }
  return values as Values<F>;
}

/** The entries of tables that were used for reading: a list of links reads each of them thousands of times. */
const entries = new WeakMap<Fields, [string, Fields[string]][]>();

function entriesOf(fields: Fields): [string, Fields[string]][] {
  const known = entries.get(fields) ?? Object.entries(fields);
  entries.set(fields, known);
  return known;
}

export const u8 = (type: number): Field<number> => ({ type, write: (e, v) => e.u8(v), read: d => d.u8() });
export const u16 = (type: number): Field<number> => ({ type, write: (e, v) => e.u16(v), read: d => d.u16() });
export const u32 = (type: number): Field<number> => ({ type, write: (e, v) => e.u32(v), read: d => d.u32() });
export const s32 = (type: number): Field<number> => ({ type, write: (e, v) => e.s32(v), read: d => d.s32() });
export const u64 = (type: number): Field<bigint> => ({ type, write: (e, v) => e.u64(v), read: d => d.u64() });
export const u16be = (type: number): Field<number> => ({ type, write: (e, v) => e.u16be(v), read: d => d.u16be() });
export const u32be = (type: number): Field<number> => ({ type, write: (e, v) => e.u32be(v), read: d => d.u32be() });
/** Text with a zero byte at the end. */
export const string = (type: number): Field<string> => ({ type, write: (e, v) => e.string(v), read: d => d.string() });
/** Text without a zero byte at the end. */
export const text = (type: number): Field<string> => ({ type, write: (e, v) => e.text(v), read: d => d.string() });
export const bytes = (type: number): Field<Uint8Array> => ({ type, write: (e, v) => e.bytes(v), read: d => d.bytes() });

/** A number that is 0 or 1. */
export const boolean = (number: Field<number>): Field<boolean> => ({
  type: number.type,
  write: (e, v) => number.write(e, v ? 1 : 0),
  read: d => number.read(d) !== 0,
});

/** An attribute that says true by being there; there is no way to say false. */
export const flag = (type: number): Field<true> => ({ type, write: () => {}, read: () => true });

/** A number that has names. */
export const named = <T extends Names>(number: Field<number>, names: T): Field<Name<T>> => ({
  type: number.type,
  write: (e, v) => number.write(e, numberOf(names, v)),
  read: d => nameOf(names, number.read(d)),
});

/** A number whose bits have names. */
export const flags = <T extends Names>(number: Field<number>, names: T): Field<Flag<T>[]> => ({
  type: number.type,
  write: (e, v) => number.write(e, bitsOf(names, v)),
  read: d => flagsOf(names, number.read(d)),
});

/** Two 32-bit numbers, values and then a mask of which of them count: what is left out stays as it is. */
export const switches = <T extends Names>(type: number, names: T): Field<{ [K in keyof T]?: boolean }> => ({
  type,
  write: (e, v) => {
    const given = Object.keys(v) as (keyof T & string)[];
    const on = given.filter(name => v[name]);
    e.u32(bitsOf(names, on));
    e.u32(bitsOf(names, given));
  },
  read: d => {
    const values = d.u32();
    const mask = d.u32();
    const known = Object.entries(names).filter(([, bit]) => mask & bit);
    return Object.fromEntries(known.map(([name, bit]) => [name, (values & bit) !== 0])) as { [K in keyof T]?: boolean };
  },
});

/** An IPv4 or IPv6 address. */
export const ip = (type: number): Field<string> => ({ type, write: (e, v) => e.bytes(parseIp(v)), read: readIp });
export const ipv4 = (type: number): Field<string> => ({ type, write: (e, v) => e.bytes(parseIpv4(v)), read: readIp });
export const ipv6 = (type: number): Field<string> => ({ type, write: (e, v) => e.bytes(parseIpv6(v)), read: readIp });

/** A link-layer address; six bytes for most. */
export const linkAddress = (type: number): Field<string> => ({
  type,
  write: (e, v) => e.bytes(parseLinkAddress(v)),
  read: d => formatLinkAddress(d.bytes()),
});

/** Attributes within an attribute. */
export const nest = <F extends Fields>(type: number, fields: F): Field<Values<F>> => ({
  type,
  write: (e, v) => encodeFields(e, fields, v),
  read: d => decodeFields(d, fields),
});

/** A run of attributes of one kind within an attribute. */
export const list = <V>(type: number, item: Field<V>): Field<V[]> => ({
  type,
  write: (e, v) => {
    for (const value of v) e.attribute(item.type, payload => item.write(payload, value));
  },
  read: d => {
    const items: V[] = [];
    for (const attribute of d.attributes()) {
      if (attribute.type === item.type) items.push(item.read(attribute.payload));
    }
    return items;
  },
});

/** The name of an interface. IFNAMSIZ (linux/if.h) leaves 15 bytes for it. */
export const interfaceName = (type: number): Field<string> => ({
  type,
  write: (e, v) => {
    const start = e.length;
    e.string(v);
    const length = e.length - start - 1;
    if (length < 1 || length > 15) throw new InvalidValueError(`"${v}" is ${length} bytes long, where 1 to 15 can be`);
  },
  read: d => d.string(),
});

/** Reads what is left as an address, whose length tells its family. */
export function readIp(decoder: Decoder): string {
  const length = decoder.remaining;
  return formatIp(decoder.bytes()) ?? decoder.fail(`an address has 4 or 16 bytes, not ${length}`);
}

/** Reads the address family that a message of addresses, routes or neighbours begins with. */
export function readFamily(decoder: Decoder): Family {
  const offset = decoder.offset;
  const number = decoder.u8();
  if (number === FAMILIES.inet) return 'inet';
  if (number === FAMILIES.inet6) return 'inet6';
  return decoder.fail(`address family ${number} is neither IPv4 (2) nor IPv6 (10)`, offset);
}
