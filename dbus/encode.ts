/** From values to bytes: D-Bus specification, "Marshaling (Wire Format)". Everything is written little-endian. */
import { alignmentOf, SIZES, splitSignature, type Value, type Variant } from './value.ts';

const textEncoder = new TextEncoder();

/** Writes values one after the other into a buffer that grows. It begins at a multiple of 8 of the message. */
export class Encoder {
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Writes what a signature says. Throws TypeError for values of other types. */
  values(signature: string, values: readonly Value[]): void {
    const types = splitSignature(signature);
    if (types.length !== values.length) throw new TypeError(`${values.length} values for the signature ${signature}`);
    types.forEach((type, i) => {
      this.#value(type, values[i]!);
    });
  }

  /** Zero bytes up to a multiple of `alignment`. */
  pad(alignment: number): void {
    this.#grow(-this.#length & (alignment - 1));
  }

  /** A copy of all that has been written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #value(type: string, value: Value): void {
    const code = type[0]!;
    if (code in SIZES) this.#basic(code, value);
    else if (code === 'a') this.#array(type.slice(1), value);
    else if (code === 'v') this.#variant(value as Variant);
    else if (code === '(' || code === '{') {
      this.pad(8);
      this.values(type.slice(1, -1), value as Value[]);
    } else this.#string(code, value as string);
  }

  #basic(code: string, value: Value): void {
    this.pad(SIZES[code]!);
    const at = this.#grow(SIZES[code]!);
    const view = this.#view;
    if (code === 'x') view.setBigInt64(at, value as bigint, true);
    else if (code === 't') view.setBigUint64(at, value as bigint, true);
    else if (code === 'd') view.setFloat64(at, value as number, true);
    else if (code === 'y') view.setUint8(at, value as number);
    else if (code === 'n' || code === 'q') view.setUint16(at, value as number, true);
    else view.setUint32(at, Number(value), true);
  }

  /** A signature has a length of one byte, other strings of four. All end in a zero byte that isn't counted. */
  #string(code: string, value: string): void {
    const bytes = textEncoder.encode(value);
    if (bytes.includes(0)) throw new TypeError(`${JSON.stringify(value)} holds a zero byte`);
    this.#basic(code === 'g' ? 'y' : 'u', bytes.length);
    const at = this.#grow(bytes.length + 1);
    this.#bytes.set(bytes, at);
  }

  #variant({ signature, value }: Variant): void {
    this.#string('g', signature);
    this.values(signature, [value]);
  }

  /** Its length in bytes, then the elements; the padding before the first one isn't counted. */
  #array(element: string, value: Value): void {
    this.#basic('u', 0);
    const length = this.#length - 4;
    this.pad(alignmentOf(element));
    const start = this.#length;
    if (value instanceof Uint8Array) {
      const at = this.#grow(value.length);
      this.#bytes.set(value, at);
    } else {
      for (const each of value as Value[]) this.#value(element, each);
    }
    this.#view.setUint32(length, this.#length - start, true);
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
