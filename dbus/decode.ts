/** From bytes to values: D-Bus specification, "Marshaling (Wire Format)". */
import { MalformedMessageError } from './error.ts';
import { alignmentOf, SIZES, splitSignature, type Value, type Variant } from './value.ts';

const textDecoder = new TextDecoder();
/** Variants in variants, which no signature bounds. */
const DEEPEST = 64;

/** Reads values from bytes that begin at a multiple of 8 of the message; it never reads outside them. */
export class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #littleEndian: boolean;
  #at = 0;
  #depth = 0;

  constructor(bytes: Uint8Array, littleEndian: boolean) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#littleEndian = littleEndian;
  }

  /** Reads what a signature says. Throws MalformedMessageError. */
  values(signature: string): Value[] {
    return splitSignature(signature).map(type => this.#value(type));
  }

  #value(type: string): Value {
    const code = type[0]!;
    if (code in SIZES) return this.#basic(code);
    if (code === 'a') return this.#array(type.slice(1));
    if (code === 'v') return this.#variant();
    if (code !== '(' && code !== '{') return this.#string(code);
    this.#align(8);
    return this.values(type.slice(1, -1));
  }

  #basic(code: string): number | bigint | boolean {
    this.#align(SIZES[code]!);
    const at = this.#take(SIZES[code]!);
    const view = this.#view;
    const little = this.#littleEndian;
    switch (code) {
      case 'y':
        return view.getUint8(at);
      case 'n':
        return view.getInt16(at, little);
      case 'q':
        return view.getUint16(at, little);
      case 'b':
        return view.getUint32(at, little) !== 0;
      case 'i':
        return view.getInt32(at, little);
      case 'x':
        return view.getBigInt64(at, little);
      case 't':
        return view.getBigUint64(at, little);
      case 'd':
        return view.getFloat64(at, little);
      default:
        return view.getUint32(at, little);
    }
  }

  #string(code: string): string {
    const length = this.#basic(code === 'g' ? 'y' : 'u') as number;
    const at = this.#take(length + 1);
    return textDecoder.decode(this.#bytes.subarray(at, at + length));
  }

  #variant(): Variant {
    const signature = this.#string('g');
    this.#depth++;
    if (this.#depth > DEEPEST) throw new MalformedMessageError('variants are nested too deep');
    const [value, ...more] = this.values(signature);
    if (value === undefined || more.length > 0) throw new MalformedMessageError('a variant has not just one value');
    this.#depth--;
    return { signature, value };
  }

  #array(element: string): Value {
    const length = this.#basic('u') as number;
    this.#align(alignmentOf(element));
    const end = this.#at + length;
    if (element === 'y') return this.#bytes.slice(this.#take(length), end);
    if (end > this.#bytes.length) throw ended();
    const values: Value[] = [];
    while (this.#at < end) values.push(this.#value(element));
    return values;
  }

  #align(alignment: number): void {
    this.#at += -this.#at & (alignment - 1);
  }

  /** Passes over so many bytes; returns where they start. */
  #take(size: number): number {
    const at = this.#at;
    if (at + size > this.#bytes.length) throw ended();
    this.#at = at + size;
    return at;
  }
}

const ended = () => new MalformedMessageError('a message ends in the middle of a value');
