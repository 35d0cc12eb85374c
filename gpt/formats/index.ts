import type { Format } from '../superblock.ts';
import { BCACHEFS } from './bcachefs.ts';
import { BTRFS } from './btrfs.ts';
import { EROFS } from './erofs.ts';
import { EXFAT } from './exfat.ts';
import { EXT } from './ext.ts';
import { F2FS } from './f2fs.ts';
import { FAT } from './fat.ts';
import { ISO9660 } from './iso9660.ts';
import { LUKS } from './luks.ts';
import { LVM } from './lvm.ts';
import { MD } from './md.ts';
import { NTFS } from './ntfs.ts';
import { SQUASHFS } from './squashfs.ts';
import { SWAP } from './swap.ts';
import { UDF } from './udf.ts';
import { VERITY } from './verity.ts';
import { XFS } from './xfs.ts';
import { ZFS } from './zfs.ts';

/** All that are looked for. The order matters for UDF and ISO 9660 only: see readSuperblock. */
export const FORMATS: readonly Format[] = [
  MD,
  LVM,
  ZFS,
  LUKS,
  VERITY,
  EXT,
  XFS,
  BTRFS,
  FAT,
  EXFAT,
  NTFS,
  SQUASHFS,
  EROFS,
  F2FS,
  BCACHEFS,
  UDF,
  ISO9660,
  SWAP,
];
