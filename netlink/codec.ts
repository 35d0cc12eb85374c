import { InvalidValueError, MalformedMessageError } from './error.ts';

/** Attributes and messages start at multiples of 4 bytes: NLA_ALIGNTO and NLMSG_ALIGNTO, linux/netlink.h. */
const ALIGNMENT = 4;
/** struct nlattr: 16 bits of length (header included, padding not), 16 bits of type. */
const ATTRIBUTE_HEADER = 4;
/** Bits of the type that say how the payload is stored; what is left of it is the number. linux/netlink.h */
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

/** Netlink integers are in the machine's own byte order, unless an attribute says otherwise. */
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

/** `length` rounded up to where the next attribute or message starts. */
function align(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

/** Writes structs and attributes one after the other into a buffer that grows. */
export class Encoder {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** How many bytes have been written. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    const at = this.#integer(value, 1, 0, 0xff);
    this.#view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.#integer(value, 2, 0, 0xffff);
    this.#view.setUint16(at, value, LITTLE_ENDIAN);
  }

  u32(value: number): void {
    const at = this.#integer(value, 4, 0, 0xffff_ffff);
    this.#view.setUint32(at, value, LITTLE_ENDIAN);
  }

  s32(value: number): void {
    const at = this.#integer(value, 4, -0x8000_0000, 0x7fff_ffff);
    this.#view.setInt32(at, value, LITTLE_ENDIAN);
  }

  u64(value: bigint): void {
    if (BigInt.asUintN(64, value) !== value) throw new InvalidValueError(`${value} does not fit 64 bits without sign`);
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, LITTLE_ENDIAN);
  }

  u16be(value: number): void {
    const at = this.#integer(value, 2, 0, 0xffff);
    this.#view.setUint16(at, value);
  }

  u32be(value: number): void {
    const at = this.#integer(value, 4, 0, 0xffff_ffff);
    this.#view.setUint32(at, value);
  }

  bytes(value: Uint8Array): void {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
  }

  /** UTF-8 without an end mark. */
  text(value: string): void {
    if (value.includes('\0')) throw new InvalidValueError(`${JSON.stringify(value)} holds a zero byte`);
    this.bytes(textEncoder.encode(value));
  }

  /** UTF-8 with the zero byte that C ends strings with. */
  string(value: string): void {
    this.text(value);
    this.u8(0);
  }

  /** Zero bytes up to the next multiple of four. */
  pad(): void {
    this.#grow(align(this.#length) - this.#length);
  }

  /** An attribute (struct nlattr) whose payload is what `fill` writes; without `fill` it is a flag. */
  attribute(type: number, fill?: (payload: Encoder) => void): void {
    this.pad();
    const start = this.#grow(ATTRIBUTE_HEADER);
    fill?.(this);
    const length = this.#length - start;
    if (length > 0xffff) {
      throw new InvalidValueError(`attribute ${type & NLA_TYPE_MASK} takes ${length} bytes, the most is 65535`);
    }
    this.#view.setUint16(start, length, LITTLE_ENDIAN);
    this.#view.setUint16(start + 2, type, LITTLE_ENDIAN);
    this.pad();
  }

  /**
   * An attribute of attributes, with the bit that says so. rtnetlink's older nests go without the bit, and are written
   * with `attribute` as `ip` does; families that check their input strictly insist on it.
   */
  nested(type: number, fill: (payload: Encoder) => void): void {
    this.attribute(type | NLA_F_NESTED, fill);
  }

  /** A copy of all that has been written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Makes room for an integer of `size` bytes that must lie in a range; returns where it goes. */
  #integer(value: number, size: number, least: number, most: number): number {
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new InvalidValueError(`${value} is not a whole number from ${least} to ${most}`);
    }
    return this.#grow(size);
  }

  /** Adds `size` zero bytes and returns where they start. */
  #grow(size: number): number {
    const start = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      bytes.set(this.#bytes.subarray(0, start));
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return start;
  }
}

/** One attribute: its number, and a decoder that sees nothing but its payload. */
export interface Attribute {
  readonly type: number;
  readonly payload: Decoder;
}

/**
 * Reads a run of bytes front to back. It never reads outside them: what would is a MalformedMessageError that names the
 * place in the datagram and the attributes on the way there.
 */
export class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #start: number;
  /** For error messages only, as is the number of the attribute. */
  #parent: Decoder | undefined;
  #type = 0;
  /** What it sees of the bytes. */
  #position = 0;
  #end: number;

  /** `start`: where in the datagram `bytes` begins. `view` is of the same bytes: to make one takes long. */
  constructor(
    bytes: Uint8Array,
    start = 0,
    view: DataView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  ) {
    this.#bytes = bytes;
    this.#view = view;
    this.#start = start;
    this.#end = bytes.length;
  }

  /** How many bytes are still to be read. */
  get remaining(): number {
    return this.#end - this.#position;
  }

  /** Where in the datagram the next byte is. */
  get offset(): number {
    return this.#start + this.#position;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), LITTLE_ENDIAN);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), LITTLE_ENDIAN);
  }

  s32(): number {
    return this.#view.getInt32(this.#take(4), LITTLE_ENDIAN);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), LITTLE_ENDIAN);
  }

  u16be(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32be(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** A copy of the next `length` bytes; of all that is left, when no length is given. */
  bytes(length = this.remaining): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }

  /** What is left, as UTF-8 up to the first zero byte or the end. */
  string(): string {
    const rest = this.#bytes.subarray(this.#position, this.#end);
    this.#position = this.#end;
    const end = rest.indexOf(0);
    return textDecoder.decode(end < 0 ? rest : rest.subarray(0, end));
  }

  skip(length: number): void {
    this.#take(length);
  }

  /** A decoder for the next `length` bytes alone. */
  part(length: number): Decoder {
    return this.#inner(length, this.#parent, this.#type);
  }

  #inner(length: number, parent: Decoder | undefined, type: number): Decoder {
    const inner = new Decoder(this.#bytes, this.#start, this.#view);
    inner.#position = this.#take(length);
    inner.#end = this.#position;
    inner.#parent = parent;
    inner.#type = type;
    return inner;
  }

  /** Skips the padding after something that was `length` bytes long; the last one in a run may go without. */
  skipPadding(length: number): void {
    this.#take(Math.min(align(length) - length, this.remaining));
  }

  /** What is left, as attributes. */
  *attributes(): Generator<Attribute> {
    while (this.remaining > 0) {
      const offset = this.offset;
      const length = this.u16();
      const type = this.u16() & NLA_TYPE_MASK;
      const size = length - ATTRIBUTE_HEADER;
      if (size < 0 || size > this.remaining) {
        const room = this.remaining + ATTRIBUTE_HEADER;
        this.fail(`attribute ${type} says it has ${length} bytes, where 4 to ${room} can be`, offset);
      }
      yield { type, payload: this.#inner(size, this, type) };
      this.skipPadding(length);
    }
  }

  /** What is left, as attributes by number. As in the kernel, the last of several with one number counts. */
  attributeMap(): Map<number, Decoder> {
    const map = new Map<number, Decoder>();
    for (const { type, payload } of this.attributes()) map.set(type, payload);
    return map;
  }

  /** Raises the error for a fault at the next byte, or at `offset` of the datagram. */
  fail(why: string, offset = this.offset): never {
    const path: number[] = [];
    for (let decoder: Decoder = this; decoder.#parent; decoder = decoder.#parent) path.unshift(decoder.#type);
    throw new MalformedMessageError(offset, path.length > 0 ? `in attribute ${path.join(' > ')}: ${why}` : why);
  }

  /** Passes over `size` bytes and returns where they start. */
  #take(size: number): number {
    // Not a number is none of these; less than nothing would lead back to what is not for this decoder.
    if (!(size >= 0 && size <= this.remaining)) this.fail(`${size} bytes are needed, ${this.remaining} are left`);
    const at = this.#position;
    this.#position += size;
    return at;
  }
}
