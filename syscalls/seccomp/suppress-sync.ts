/** Rules that make writing to disk right away succeed without being done, and files that ask for it fail to open. */
import type { Condition, Rule } from './rules.ts';

/** <asm-generic/errno-base.h>, <asm-generic/errno.h> */
const EINVAL = 22;
const ENOSYS = 38;

/** <asm-generic/fcntl.h>: O_SYNC has O_DSYNC's bit and one of its own. */
const O_DSYNC = 0x1000n;
/** The sign of a descriptor, an int. */
const SIGN = 0x8000_0000n;

/** A call with a descriptor that there can be; others still fail. */
const ifDescriptor: Condition = { index: 0, op: 'masked ==', mask: SIGN, value: 0n };
const ifSynchronous = (index: 1 | 2): Condition => ({ index, op: 'masked ==', mask: O_DSYNC, value: O_DSYNC });

const success = { errno: 0 };

export const SUPPRESS_SYNC: readonly Rule[] = [
  { syscall: 'sync', action: success },
  { syscall: 'msync', action: success },
  ...['fsync', 'fdatasync', 'syncfs', 'sync_file_range', 'sync_file_range2', 'arm_sync_file_range'].map(
    (syscall): Rule => ({ syscall, args: [ifDescriptor], action: success }),
  ),
  { syscall: 'open', args: [ifSynchronous(1)], action: { errno: EINVAL } },
  { syscall: 'openat', args: [ifSynchronous(2)], action: { errno: EINVAL } },
  // Its flags are in memory, where no filter can look: without it, programs take openat.
  { syscall: 'openat2', action: { errno: ENOSYS } },
];
