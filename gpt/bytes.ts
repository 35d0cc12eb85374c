/**
 * Fields of on-disk structures. What lies beyond the end of the bytes reads as zero: structures are read whole, so this
 * happens only with lengths that a damaged one makes up.
 */

export const u8 = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;
export const le16 = (bytes: Uint8Array, at: number): number => u8(bytes, at) | (u8(bytes, at + 1) << 8);
export const le32 = (bytes: Uint8Array, at: number): number => (le16(bytes, at) | (le16(bytes, at + 2) << 16)) >>> 0;
export const be16 = (bytes: Uint8Array, at: number): number => (u8(bytes, at) << 8) | u8(bytes, at + 1);
export const be32 = (bytes: Uint8Array, at: number): number => ((be16(bytes, at) << 16) | be16(bytes, at + 2)) >>> 0;

/** As a number, which is exact up to 2^53; more than that is more than any source has, and only compared. */
export const le64 = (bytes: Uint8Array, at: number): number => le32(bytes, at) + le32(bytes, at + 4) * 2 ** 32;
export const be64 = (bytes: Uint8Array, at: number): number => be32(bytes, at) * 2 ** 32 + be32(bytes, at + 4);

/** All 64 bits, for flags and identifiers. */
export const le64bits = (bytes: Uint8Array, at: number): bigint =>
  (BigInt(le32(bytes, at + 4)) << 32n) | BigInt(le32(bytes, at));
export const be64bits = (bytes: Uint8Array, at: number): bigint =>
  (BigInt(be32(bytes, at)) << 32n) | BigInt(be32(bytes, at + 4));

/** True if the characters, none above 0xff, stand at that place. */
export function hasBytes(bytes: Uint8Array, at: number, expected: string): boolean {
  for (let i = 0; i < expected.length; i++) if (bytes[at + i] !== expected.charCodeAt(i)) return false;
  return true;
}

/** 1, 2, 4, 8, … */
export const isPowerOfTwo = (number: number): boolean => number > 0 && Number.isInteger(Math.log2(number));

const utf8 = new TextDecoder();

/** UTF-8 up to the first zero byte, without white space at the end; undefined if nothing is left. */
export function text(bytes: Uint8Array, at: number, length: number): string | undefined {
  const field = bytes.subarray(at, at + length);
  const end = field.indexOf(0);
  return utf8.decode(end < 0 ? field : field.subarray(0, end)).trimEnd() || undefined;
}

/** UTF-16 up to the first zero, without white space at the end; undefined if nothing is left. `length` is in bytes. */
export function utf16(bytes: Uint8Array, at: number, length: number, unit = le16): string | undefined {
  let decoded = '';
  const end = Math.min(at + length, bytes.length) - 1;
  for (let place = at; place < end; place += 2) {
    const code = unit(bytes, place);
    if (code === 0) break;
    decoded += String.fromCharCode(code);
  }
  return decoded.toWellFormed().trimEnd() || undefined;
}

/** Lower-case hexadecimal digits. */
export function hex(bytes: Uint8Array): string {
  let digits = '';
  for (const byte of bytes) digits += byte.toString(16).padStart(2, '0');
  return digits;
}

/** A UUID as its 16 bytes stand (RFC 9562); undefined if all are zero. */
export function uuid(bytes: Uint8Array, at: number): string | undefined {
  const field = bytes.subarray(at, at + 16);
  if (field.every(byte => byte === 0)) return undefined;
  return dashed(hex(field));
}

/** 32 hexadecimal digits in the groups of a UUID. */
export const dashed = (digits: string): string => digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
