/** Cyclic redundancy checks of 32 bits, of which each bit order is reflected. */

/** CRC-32 of ISO 3309 and zlib: GPT, LVM, F2FS. */
const ISO = 0xedb88320;
/** CRC-32C (Castagnoli) of RFC 3720: ext4, XFS, Btrfs, EROFS. */
const CASTAGNOLI = 0x82f63b78;

const tables = new Map<number, Int32Array>();

/** What each byte value does to the remainder. Made when first needed. With signed numbers it is faster. */
function tableOf(polynomial: number): Int32Array {
  const known = tables.get(polynomial);
  if (known) return known;
  const table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ polynomial : remainder >>> 1;
    table[byte] = remainder;
  }
  tables.set(polynomial, table);
  return table;
}

function remainderOf(polynomial: number, bytes: Uint8Array, start: number): number {
  const table = tableOf(polynomial);
  let remainder = start | 0;
  for (let i = 0; i < bytes.length; i++) remainder = table[(remainder ^ bytes[i]!) & 0xff]! ^ (remainder >>> 8);
  return remainder >>> 0;
}

/** CRC-32 as zlib computes it: the remainder starts as ones, and is inverted at the end. */
export const crc32 = (bytes: Uint8Array): number => ~remainderOf(ISO, bytes, 0xffff_ffff) >>> 0;

/** CRC-32 from a start of one's own, not inverted at the end. */
export const crc32From = (start: number, bytes: Uint8Array): number => remainderOf(ISO, bytes, start);

/** CRC-32C, not inverted at the end; kernel code calls it crc32c(~0, …). */
export const crc32c = (bytes: Uint8Array): number => remainderOf(CASTAGNOLI, bytes, 0xffff_ffff);

/** A copy in which `length` bytes at `at` are zero: a checksum counts as zero in the bytes that it is of. */
export function withZeros(bytes: Uint8Array, at: number, length: number): Uint8Array {
  const copy = bytes.slice();
  copy.fill(0, at, at + length);
  return copy;
}
