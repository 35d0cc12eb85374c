import { ShortReadError } from './error.ts';

/**
 * Where bytes come from: a file, a block device, a buffer, ranges of something on the network. What is at hand at once
 * is best returned as it is: a promise is only for what must be waited for.
 */
export interface ByteSource {
  /** How many bytes there are. */
  readonly size: number;
  /** Bytes in a logical sector of a device; an MBR counts in it. 512 if not given. A GPT tells its own. */
  readonly sectorSize?: number;
  /** The `length` bytes from `offset` on, all of which lie within `size`. The caller does not write to them. */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
}

/** Bytes in memory as a source. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

/**
 * A part of a source as a source of its own, such as one partition. What lies outside of the whole source is not part of
 * it.
 */
export function section(source: ByteSource, offset: number, size: number): ByteSource {
  const start = Math.min(offset, source.size);
  return {
    ...(source.sectorSize !== undefined && { sectorSize: source.sectorSize }),
    size: Math.min(size, source.size - start),
    read: (at, length) => source.read(start + at, length),
  };
}

/**
 * The `length` bytes at `offset`, or undefined when they are not all within the source.
 *
 * @throws ShortReadError if the source gives another number of bytes.
 */
export async function readRange(source: ByteSource, offset: number, length: number): Promise<Uint8Array | undefined> {
  if (!(offset >= 0 && offset + length <= source.size)) return undefined;
  const bytes = await source.read(offset, length);
  if (bytes.length === length) return bytes;
  throw new ShortReadError(
    `reading ${length} bytes at ${offset}: ${bytes.length} came, though the size is ${source.size}`,
  );
}

/**
 * The same source, whose first `length` bytes have been read at once, for where many look at its start: one read of some
 * kilobytes costs less than two small ones.
 */
export async function withHead(source: ByteSource, length: number): Promise<ByteSource> {
  const head = await readRange(source, 0, Math.min(length, source.size));
  if (!head) return source;
  return {
    ...(source.sectorSize !== undefined && { sectorSize: source.sectorSize }),
    size: source.size,
    read: (at, wanted) => (at + wanted <= head.length ? head.subarray(at, at + wanted) : source.read(at, wanted)),
  };
}
