/** Calls that are newer than the headers of Linux 6.1, which the tables are made from. */
import type { Architecture } from './arch.ts';

/** New calls have the same number everywhere: scripts/syscall.tbl in the kernel. */
const NEWER: Readonly<Record<string, number>> = {
  ...{ cachestat: 451, fchmodat2: 452, map_shadow_stack: 453, futex_wake: 454, futex_wait: 455, futex_requeue: 456 },
  ...{ statmount: 457, listmount: 458, lsm_get_self_attr: 459, lsm_set_self_attr: 460, lsm_list_modules: 461 },
  ...{ mseal: 462, setxattrat: 463, getxattrat: 464, listxattrat: 465, removexattrat: 466, open_tree_attr: 467 },
  ...{ file_getattr: 468, file_setattr: 469 },
};

/** <asm/unistd.h>: __X32_SYSCALL_BIT */
const X32_BIT = 0x4000_0000;
/** For 64-bit programs only: arch/x86/entry/syscalls/syscall_64.tbl. */
const NOT_OF_X32 = 'map_shadow_stack';

/** The same architecture with the newer calls. */
export function withNewerCalls({ name, syscalls }: Architecture): Architecture {
  if (name !== 'x32') return { name, syscalls: { ...NEWER, ...syscalls } };
  const calls = Object.entries(NEWER).filter(([call]) => call !== NOT_OF_X32);
  return { name, syscalls: { ...Object.fromEntries(calls.map(([call, nr]) => [call, X32_BIT + nr])), ...syscalls } };
}
