import { be16, hasBytes, le16, le32, text, u8, utf16 } from '../bytes.ts';
import { type ByteSource, readRange } from '../source.ts';
import type { Format } from '../superblock.ts';

/** ECMA-119: volume descriptors are in sectors of 2048 bytes from the 16th on. */
const SECTOR = 2048;
const FIRST = 16 * SECTOR;
const MOST_DESCRIPTORS = 16;
/** ECMA-119, 8.1.1. */
const PRIMARY = 1;
const SUPPLEMENTARY = 2;
const LAST = 255;
/** Joliet Specification, 1995: the supplementary descriptor is in UCS-2, of one of three levels. */
const JOLIET_ESCAPES = ['%/@', '%/C', '%/E'];
const VOLUME_ID = { at: 40, length: 32 };
const CREATED = 813;
const MODIFIED = 830;

/** Also with Joliet. High Sierra, which was before it, is not known here. */
export const ISO9660: Format = {
  length: SECTOR,
  signatures: [{ superblock: FIRST, at: 1, bytes: ['CD001'] }],
  async read(first, source) {
    const descriptors = await readDescriptors(first, source);
    const primary = descriptors.find(descriptor => u8(descriptor, 0) === PRIMARY);
    const joliet = descriptors.find(isJoliet);
    if (!primary) return undefined;
    const name = text(primary, VOLUME_ID.at, VOLUME_ID.length);
    const blockSize = le16(primary, 128);
    return {
      type: 'iso9660',
      label: joliet ? mergeLabels(utf16(joliet, VOLUME_ID.at, VOLUME_ID.length, be16), name) : name,
      uuid: date(primary, MODIFIED) ?? date(primary, CREATED),
      version: joliet && 'Joliet Extension',
      blockSize,
      size: le32(primary, 80) * blockSize,
    };
  },
};

async function readDescriptors(first: Uint8Array, source: ByteSource): Promise<Uint8Array[]> {
  const descriptors = [first];
  while (descriptors.length < MOST_DESCRIPTORS) {
    const descriptor = await readRange(source, FIRST + descriptors.length * SECTOR, SECTOR);
    if (!descriptor || !hasBytes(descriptor, 1, 'CD001') || descriptor[0] === LAST) break;
    descriptors.push(descriptor);
  }
  return descriptors;
}

const isJoliet = (descriptor: Uint8Array): boolean =>
  u8(descriptor, 0) === SUPPLEMENTARY && JOLIET_ESCAPES.some(bytes => hasBytes(descriptor, 88, bytes));

/** Joliet has room for 16 characters, the primary descriptor for 32, but for ASCII only: the rest may be there. */
function mergeLabels(joliet: string | undefined, primary: string | undefined): string | undefined {
  if (!joliet || !primary) return joliet ?? primary;
  return joliet.length === 16 ? joliet + primary.slice(16) : joliet;
}

/** A date and time of 16 digits, of which the UUID is made; undefined if it is unset: ECMA-119, 8.4.26.1. */
function date(descriptor: Uint8Array, at: number): string | undefined {
  const digits = text(descriptor, at, 16);
  if (!digits || !/^\d{16}$/.test(digits) || (/^0+$/.test(digits) && u8(descriptor, at + 16) === 0)) return undefined;
  return digits.replace(/^(....)(..)(..)(..)(..)(..)(..)$/, '$1-$2-$3-$4-$5-$6-$7');
}
