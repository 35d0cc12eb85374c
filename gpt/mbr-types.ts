/** Names of well-known partition types of an MBR. Nobody keeps a register of them; fdisk(8) lists many more. */
export const MBR_TYPES: Readonly<Record<number, string>> = {
  1: 'fat12',
  4: 'fat16',
  5: 'extended',
  6: 'fat16',
  7: 'ntfs-exfat',
  11: 'fat32',
  12: 'fat32-lba',
  14: 'fat16-lba',
  15: 'extended-lba',
  39: 'windows-recovery',
  65: 'powerpc-prep-boot',
  130: 'swap',
  131: 'linux',
  133: 'linux-extended',
  142: 'linux-lvm',
  165: 'freebsd',
  166: 'openbsd',
  169: 'netbsd',
  175: 'apple-hfs',
  191: 'solaris',
  /** Boot Loader Specification, UAPI group. */
  234: 'xbootldr',
  /** UEFI 2.10, table 5.2. */
  238: 'gpt-protective',
  239: 'esp',
  251: 'vmware-vmfs',
  253: 'linux-raid',
};

/** UEFI 2.10, 5.2.3: protects a GPT from tools that don't know of it. */
export const PROTECTIVE = 0xee;

/** Partitions that hold a chain of partitions: linux/block/partitions/msdos.c, is_extended_partition(). */
export const EXTENDED: readonly number[] = [0x05, 0x0f, 0x85];
