import { hasBytes, le32, le64, text } from '../bytes.ts';
import { crc32From } from '../crc32.ts';
import type { Format } from '../superblock.ts';

/** LVM2, lib/label/label.h: the label is in one of the first four sectors. */
const SECTOR = 512;
const SECTORS = [0, 1, 2, 3];
const TYPE = 'LVM2 001';
/** INITIAL_CRC, lib/misc/crc.h. It starts the checksum of the label from `offset_xl` on. */
const INITIAL_CRC = 0xf597_a6cf;
const SUMMED_FROM = 20;

/** A physical volume of LVM2. */
export const LVM: Format = {
  length: SECTOR,
  signatures: SECTORS.map(sector => ({ superblock: sector * SECTOR, at: 0, bytes: ['LABELONE'] })),
  read(label, _source, offset) {
    const volume = le32(label, 20);
    if (le64(label, 8) * SECTOR !== offset || !hasBytes(label, 24, TYPE)) return undefined;
    if (crc32From(INITIAL_CRC, label.subarray(SUMMED_FROM)) !== le32(label, 16)) return undefined;
    return {
      type: 'LVM2_member',
      uuid: grouped(text(label, volume, 32)),
      version: TYPE,
      size: le64(label, volume + 32),
    };
  },
};

/** As LVM itself writes it: 6-4-4-4-4-4-6. */
const grouped = (id: string | undefined) =>
  id?.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, '$1-$2-$3-$4-$5-$6-$7');
