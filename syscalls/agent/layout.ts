/** Where things lie in the memory that the parent and an agent share, and what an op looks like. */

/** Where an agent maps the arena. Far from its text (0x400000) and from any address the kernel would choose. */
export const ARENA_ADDRESS = 0x10000000;
/**
 * Room for batches, strings and results. Only pages in use take memory; the arguments and the environment of a
 * command, the largest things in here, are limited to 6 MiB by execve(2).
 */
export const ARENA_SIZE = 16 << 20;

/** File descriptors that an agent finds open when it starts. The first one can be moved. */
export const CONTROL_FD = 3;
export const ARENA_FD = 4;

/** Offsets in the arena's header, each a word of 8 bytes. */
export const HEADER = {
  /** One byte: what is read from and written to the control socket. */
  token: 0,
  /** Address of the batch to run next. */
  batch: 8,
  /** Address of the batch to run when the parent is gone, or 0. */
  will: 16,
  /** The descriptor of the control socket. */
  control: 24,
  /** The process id of the agent that was forked last, or 0. */
  forked: 32,
  size: 64,
} as const;

/** A batch: the number of ops, then the ops. */
export const BATCH = { count: 0, ops: 8 } as const;

/** An op: a system call. Offsets of its words. */
export const OP = {
  number: 0,
  arguments: 8,
  result: 56,
  flags: 64,
  /** An errno that does not stop the batch, or 0. */
  allowed: 72,
  size: 80,
} as const;

/** Bits of an op's flags. Bit N below 6: argument N is the address of the value, such as an earlier op's result. */
export const FLAG = { anyError: 6 } as const;

/** In place of a system call's number: go on in a new child, while the caller becomes the init above it. */
export const BECOME_INIT = -1;
/** In place of a system call's number: have a child that is an agent of its own. */
export const FORK_AGENT = -2;

/** Result slots hold this until their op has run: no system call returns it. */
export const NOT_RUN = 2 ** 62;

/**
 * The will, in the arena's upper half: a batch of slots, each with the same number of ops (those without use do
 * nothing) and a piece of memory for what their arguments point to. The last slot is for what comes after all others.
 */
export const WILL = { start: ARENA_SIZE / 2, slots: 1025, opsPerSlot: 16, dataPerSlot: 2048 } as const;
