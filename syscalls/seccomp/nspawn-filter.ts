/**
 * The filter that containers get by default. All calls are allowed but a few that act on the machine as a whole, or
 * get round the container's file system (open_by_handle_at), and sockets of the kernel's audit system.
 */

import type { Architecture, ArchitectureName } from './arch.ts';
import type { Filter, Rule } from './rules.ts';

/** <asm-generic/errno-base.h>, <asm-generic/errno.h> */
const EPERM = 1;
const EAFNOSUPPORT = 97;

/** <linux/socket.h>, <linux/netlink.h> */
const AF_NETLINK = 16n;
const NETLINK_AUDIT = 9n;

/** The architectures whose programs a machine runs, its own first: its calls are the most frequent. */
export const HOST_ARCHITECTURES = {
  x86_64: ['x86_64', 'i386', 'x32'],
  arm64: ['arm64', 'arm'],
} as const satisfies Record<string, readonly ArchitectureName[]>;

/** A machine's own architecture. */
export type HostArchitecture = keyof typeof HOST_ARCHITECTURES;

/** Syscall numbers by architecture; one that lacks the call has none. */
type Numbers = Partial<Record<ArchitectureName, number>>;

/**
 * The calls denied with EPERM. Their numbers are in syscalls/tables, too, but this runs whenever a container starts,
 * and loading three full tables would take longer than everything else here.
 */
const DENIED: Readonly<Record<string, Numbers>> = {
  kexec_load: { x86_64: 246, i386: 283, x32: 0x40000210, arm64: 104, arm: 347 },
  open_by_handle_at: { x86_64: 304, i386: 342, x32: 0x40000130, arm64: 265, arm: 371 },
  init_module: { x86_64: 175, i386: 128, x32: 0x400000af, arm64: 105, arm: 128 },
  finit_module: { x86_64: 313, i386: 350, x32: 0x40000139, arm64: 273, arm: 379 },
  delete_module: { x86_64: 176, i386: 129, x32: 0x400000b0, arm64: 106, arm: 129 },
  iopl: { x86_64: 172, i386: 110, x32: 0x400000ac },
  ioperm: { x86_64: 173, i386: 101, x32: 0x400000ad },
  swapon: { x86_64: 167, i386: 87, x32: 0x400000a7, arm64: 224, arm: 87 },
  swapoff: { x86_64: 168, i386: 115, x32: 0x400000a8, arm64: 225, arm: 115 },
};

/** i386 can also make sockets with socketcall(2), whose arguments are in memory, where no filter can look. */
const SOCKET: Numbers = { x86_64: 41, i386: 359, x32: 0x40000029, arm64: 198, arm: 281 };

/**
 * Audit does not know containers: its user space is told, by the error that a kernel without audit gives, not to try.
 * The family and the protocol are ints, of which the kernel drops the upper halves: so the rule has to.
 */
export const NO_AUDIT: Rule = {
  syscall: 'socket',
  args: [
    { index: 0, op: 'masked ==', mask: 0xffff_ffffn, value: AF_NETLINK },
    { index: 2, op: 'masked ==', mask: 0xffff_ffffn, value: NETLINK_AUDIT },
  ],
  action: { errno: EAFNOSUPPORT },
};

/** The default filter of containers on a machine, for its own architecture and for the others that it runs. */
export function nspawnFilter(host: HostArchitecture): Filter {
  return {
    architectures: HOST_ARCHITECTURES[host].map(architecture),
    defaultAction: 'allow',
    unknownArchitecture: 'kill-process',
    rules: [...Object.keys(DENIED).map((syscall): Rule => ({ syscall, action: { errno: EPERM } })), NO_AUDIT],
  };
}

function architecture(name: ArchitectureName): Architecture {
  const syscalls: Record<string, number> = {};
  for (const [syscall, numbers] of Object.entries({ ...DENIED, socket: SOCKET })) {
    const number = numbers[name];
    if (number !== undefined) syscalls[syscall] = number;
  }
  return { name, syscalls };
}
