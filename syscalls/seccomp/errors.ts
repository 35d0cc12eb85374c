/** A filter that cannot be compiled: a rule that makes no sense, or more rules than a program can hold. */
export class FilterError extends Error {
  override name = 'FilterError';
}

/** A BPF program that the kernel's seccomp would refuse to load (EINVAL). */
export class ProgramError extends Error {
  override name = 'ProgramError';
}
