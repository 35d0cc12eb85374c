import { partitionType } from './partition-types.ts';

/** Attribute bits of a partition that have a name, as bit numbers. */
export const FLAGS = {
  /** The platform needs it: do not delete. UEFI 2.10, table 5.8. */
  requiredPartition: 0,
  /** Firmware is not to look into it. UEFI 2.10, table 5.8. */
  noBlockIo: 1,
  /** UEFI 2.10, table 5.8. */
  legacyBiosBootable: 2,
  /** Grow the file system to the size of the partition. Discoverable Partitions Specification. */
  growFileSystem: 59,
  /** Discoverable Partitions Specification; Microsoft basic data. */
  readOnly: 60,
  /** Microsoft basic data: winioctl.h, GPT_BASIC_DATA_ATTRIBUTE_SHADOW_COPY. */
  shadowCopy: 61,
  /** Microsoft basic data: GPT_BASIC_DATA_ATTRIBUTE_HIDDEN. */
  hidden: 62,
  /** Not to be mounted by itself (DPS); no drive letter (Microsoft basic data). */
  noAuto: 63,
} as const;

export type Flag = keyof typeof FLAGS;

/** Bits that every type has. From 48 on they mean what the partition's type says: UEFI 2.10, table 5.8. */
const COMMON: readonly Flag[] = ['requiredPartition', 'noBlockIo', 'legacyBiosBootable'];
const DISCOVERABLE: readonly Flag[] = [...COMMON, 'growFileSystem', 'readOnly', 'noAuto'];
const BASIC_DATA: readonly Flag[] = [...COMMON, 'readOnly', 'shadowCopy', 'hidden', 'noAuto'];

/** The flags that are set in the attributes of a partition of that type (a GUID). Other bits have no name. */
export function flagsOf(type: string, attributes: bigint): Flag[] {
  const known = partitionType(type);
  const flags = known?.designator ? DISCOVERABLE : known?.name === 'microsoft-basic-data' ? BASIC_DATA : COMMON;
  return flags.filter(flag => (attributes >> BigInt(FLAGS[flag])) & 1n);
}

/** The attributes in which these flags are set. */
export function attributesOf(flags: readonly Flag[]): bigint {
  return flags.reduce((bits, flag) => bits | (1n << BigInt(FLAGS[flag])), 0n);
}
