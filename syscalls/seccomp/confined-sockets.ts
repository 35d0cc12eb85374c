/**
 * Rules that leave only sockets which a network namespace of one's own confines. Others reach the machine past it, such as
 * those to the hypervisor (vsock(7)), or kernel code that few programs need, such as the kernel's ciphers (AF_ALG).
 */
import type { Condition, Rule } from './rules.ts';

/** <asm-generic/errno.h>: what a kernel says that doesn't have the family. */
const EAFNOSUPPORT = 97;

/** <linux/socket.h>: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. */
const CONFINED = [1n, 2n, 10n, 16n];
/** <linux/net.h>: SYS_SOCKET, SYS_SOCKETPAIR. */
const MAKING = [1n, 8n];
/** An int, of which the kernel drops the upper half. */
const INT = 0xffff_ffffn;

const isOther = CONFINED.map((value): Condition => ({ index: 0, op: 'masked !=', mask: INT, value }));

export const CONFINED_SOCKETS: readonly Rule[] = [
  ...['socket', 'socketpair'].map((syscall): Rule => ({ syscall, args: isOther, action: { errno: EAFNOSUPPORT } })),
  // The family is in memory, where no filter can look: so 32-bit x86 programs that make sockets this way can't.
  ...MAKING.map(
    (value): Rule => ({
      syscall: 'socketcall',
      args: [{ index: 0, op: 'masked ==', mask: INT, value }],
      action: { errno: EAFNOSUPPORT },
    }),
  ),
];
