/**
 * Architectures as seccomp sees them: a value in seccomp_data.arch, and syscall numbers.
 */

/** An architecture of a syscall: the one that a process is in at the call, not the machine's. */
export type ArchitectureName = 'x86_64' | 'i386' | 'x32' | 'arm64' | 'arm';

/** What the compiler must know of an architecture. */
export interface Architecture {
  name: ArchitectureName;
  /** Syscall numbers by name; it need only hold the calls that the filter's rules name. */
  syscalls: Readonly<Record<string, number>>;
}

/**
 * seccomp_data.arch by architecture: <linux/audit.h>, an ELF machine number (<linux/elf-em.h>) with __AUDIT_ARCH_64BIT
 * (0x80000000) and __AUDIT_ARCH_LE (0x40000000).
 *
 * x32 has no value of its own: its calls come as x86-64, and bit 30 of the number (__X32_SYSCALL_BIT in <asm/unistd.h>)
 * tells them. A filter that forgets this lets everything through that it denies to x86-64. (Kernels before 5.4 also
 * took x86-64's own numbers with bit 30 and x32's own, 512 to 547, without it: see seccomp(2). This is not handled.)
 */
export const AUDIT_ARCH: Readonly<Record<ArchitectureName, number>> = {
  x86_64: 0xc000003e,
  i386: 0x40000003,
  x32: 0xc000003e,
  arm64: 0xc00000b7,
  arm: 0x40000028,
};

/** Some of the 32-bit syscall numbers of an architecture value: from one up to, and without, another. */
export interface NumberSpan {
  from: number;
  end: number;
  owner: ArchitectureName;
}

/**
 * Whose the numbers of AUDIT_ARCH_X86_64 are. -1 has bit 30 set, but is no x32 call: it is what a tracer puts in
 * place of a number to skip a call (ptrace(2), seccomp(2)), and the filter sees it. The kernel has no call there.
 */
const X86_64_NUMBERS: readonly NumberSpan[] = [
  { from: 0, end: 0x4000_0000, owner: 'x86_64' },
  { from: 0x4000_0000, end: 0x8000_0000, owner: 'x32' },
  { from: 0x8000_0000, end: 0xc000_0000, owner: 'x86_64' },
  { from: 0xc000_0000, end: 0xffff_ffff, owner: 'x32' },
  { from: 0xffff_ffff, end: 2 ** 32, owner: 'x86_64' },
];

/** The 32-bit syscall numbers of an architecture value in ascending spans, with the architecture that owns each. */
export function numberSpans(name: ArchitectureName): readonly NumberSpan[] {
  if (AUDIT_ARCH[name] === AUDIT_ARCH.x86_64) return X86_64_NUMBERS;
  return [{ from: 0, end: 2 ** 32, owner: name }];
}

/** Number of a syscall, or undefined where the architecture lacks it. */
export function syscallNumber(architecture: Architecture, name: string): number | undefined {
  return Object.hasOwn(architecture.syscalls, name) ? architecture.syscalls[name] : undefined;
}
