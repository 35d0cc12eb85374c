import { be16, hasBytes, hex, le16, le32, u8, utf16 } from '../bytes.ts';
import { type ByteSource, readRange } from '../source.ts';
import type { Contents, Format } from '../superblock.ts';

/** ECMA-167: volume structure descriptors from 32 KiB on, each 2048 bytes long, or a block where those are longer. */
const FIRST = 32 * 1024;
const STRUCTURES = ['BEA01', 'BOOT2', 'CD001', 'CDW02', 'TEA01'];
const NSR = ['NSR02', 'NSR03'];
const MOST_STRUCTURES = 64;
/** UDF 2.60, 2: a block has the size of a sector; the anchor is in block 256. */
const BLOCK_SIZES = [512, 1024, 2048, 4096];
const ANCHOR = 256;
const MOST_DESCRIPTORS = 64;
/** ECMA-167, 3/7.2.1 and the paragraphs of each. */
const TAG = { primary: 1, anchor: 2, partition: 5, logical: 6, terminating: 8 };

export const UDF: Format = {
  length: 6,
  signatures: [{ superblock: FIRST, at: 1, bytes: [...STRUCTURES, ...NSR] }],
  async read(_first, source) {
    for (const blockSize of BLOCK_SIZES) {
      if (!(await hasNsr(source, Math.max(2048, blockSize)))) continue;
      const anchor = await readDescriptor(source, ANCHOR, blockSize);
      if (anchor && le16(anchor, 0) === TAG.anchor) return readVolume(source, anchor, blockSize);
    }
    return undefined;
  },
};

/** True if the sequence of structures has one that says: this is UDF. */
async function hasNsr(source: ByteSource, step: number): Promise<boolean> {
  for (let index = 0; index < MOST_STRUCTURES; index++) {
    const structure = await readRange(source, FIRST + index * step, 6);
    if (!structure) return false;
    if (NSR.some(id => hasBytes(structure, 1, id))) return true;
    if (!STRUCTURES.some(id => hasBytes(structure, 1, id))) return false;
  }
  return false;
}

/** A descriptor whose tag has the right place and checksum: ECMA-167, 3/7.2. */
async function readDescriptor(source: ByteSource, block: number, blockSize: number): Promise<Uint8Array | undefined> {
  const descriptor = await readRange(source, block * blockSize, 512);
  if (!descriptor || le32(descriptor, 12) !== block) return undefined;
  const sum = descriptor.subarray(0, 16).reduce((total, byte, index) => (index === 4 ? total : total + byte), 0);
  return (sum & 0xff) === u8(descriptor, 4) ? descriptor : undefined;
}

/** Reads the volume descriptors that the anchor points to. */
async function readVolume(source: ByteSource, anchor: Uint8Array, blockSize: number): Promise<Contents> {
  const found = new Map<number, Uint8Array>();
  const count = Math.min(Math.floor(le32(anchor, 16) / blockSize), MOST_DESCRIPTORS);
  for (let index = 0; index < count; index++) {
    const descriptor = await readDescriptor(source, le32(anchor, 20) + index, blockSize);
    const tag = descriptor ? le16(descriptor, 0) : 0;
    if (!descriptor || tag === 0 || tag === TAG.terminating) break;
    if (!found.has(tag)) found.set(tag, descriptor);
  }
  const primary = found.get(TAG.primary);
  const logical = found.get(TAG.logical);
  const partition = found.get(TAG.partition);
  return {
    type: 'udf',
    label: logical && dstring(logical, 84, 128),
    uuid: primary && idOf(dstring(primary, 72, 128)),
    version: logical && revision(logical),
    blockSize,
    // The end of the partition: the anchors behind it are not told of.
    size: partition && (le32(partition, 188) + le32(partition, 192)) * blockSize,
  };
}

/** UDF 2.60, 2.1.5.3: the revision that the volume complies with is in BCD: 0x0201 is 2.01. */
function revision(logical: Uint8Array): string | undefined {
  if (!hasBytes(logical, 217, '*OSTA UDF Compliant')) return undefined;
  return le16(logical, 240).toString(16).replace(/(..)$/, '.$1');
}

/** UDF 2.60, 2.1.3: one byte tells how wide characters are, the last one of the field how many bytes are used. */
function dstring(descriptor: Uint8Array, at: number, length: number): string | undefined {
  const width = u8(descriptor, at);
  const used = Math.min(Math.max(u8(descriptor, at + length - 1) - 1, 0), length - 2);
  if (width === 16) return utf16(descriptor, at + 1, used, be16);
  if (width !== 8) return undefined;
  return String.fromCharCode(...descriptor.subarray(at + 1, at + 1 + used)).trimEnd() || undefined;
}

/**
 * The first 16 characters of the volume set's identifier are to be unique (UDF 2.60, 2.2.2.5): eight hexadecimal digits
 * of a time, and eight of one's own. As in blkid, what is no digit is given as the code of the character.
 */
function idOf(volumeSet: string | undefined): string | undefined {
  const bytes = new TextEncoder().encode(volumeSet).subarray(0, 16);
  if (bytes.length < 8) return undefined;
  const characters = String.fromCharCode(...bytes).padEnd(16, '\0');
  if (/^[0-9a-f]{16}$/i.test(characters)) return characters.toLowerCase();
  if (!/^[0-9a-f]{8}/i.test(characters)) return hex(bytes.subarray(0, 8));
  return characters.slice(0, 8).toLowerCase() + hex(bytes.subarray(8, 12)).padEnd(8, '0');
}
