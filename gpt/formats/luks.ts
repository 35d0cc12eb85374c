import { be16, text } from '../bytes.ts';
import type { Format, Signature } from '../superblock.ts';

/**
 * LUKS On-Disk Format Specification 1.2.3 and LUKS2 On-Disk Format Specification 1.1.1. The second header of LUKS2 is at
 * one of these places, and stands in for a first one that is lost; the larger ones are for metadata of a size that
 * nobody chooses.
 */
const SECOND_HEADERS = [0x4000, 0x8000, 0x1_0000];
const second = (superblock: number): Signature => ({ superblock, at: 0, bytes: ['SKUL\xba\xbe'] });

export const LUKS: Format = {
  length: 512,
  signatures: [{ superblock: 0, at: 0, bytes: ['LUKS\xba\xbe'] }, ...SECOND_HEADERS.map(second)],
  read(header) {
    const version = be16(header, 6);
    if (version !== 1 && version !== 2) return undefined;
    return {
      type: 'crypto_LUKS',
      label: version === 2 ? text(header, 24, 48) : undefined,
      uuid: text(header, 168, 40),
      version: String(version),
    };
  },
};
