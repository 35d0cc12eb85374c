import { perform, syscall } from './syscall.ts';

/** fcntl.h */
export const F_DUPFD_CLOEXEC = 1030;
/** The lowest number that neither standard streams nor an agent's own descriptors have. */
const LOWEST_PASSABLE = 5;

/** A descriptor with an owner: `using` closes it. */
export interface OwnedFd extends Disposable {
  readonly fd: number;
}

/** Makes the caller the owner of `fd`. */
export function owned(fd: number): OwnedFd {
  let open = true;
  return {
    fd,
    [Symbol.dispose]() {
      if (!open) return;
      open = false;
      closeFd(fd);
    },
  };
}

/** close(2): the descriptor is gone even when it reports a write-back error, so there is nothing to do about one. */
export function closeFd(fd: number): void {
  perform({ name: 'close', args: [fd], allow: 'any' });
}

/** The same descriptor with a number that an agent doesn't use for itself. Takes over `fd`. Throws SyscallError. */
export function passableFd(fd: number): number {
  if (fd >= LOWEST_PASSABLE) return fd;
  try {
    return syscall('fcntl', fd, F_DUPFD_CLOEXEC, LOWEST_PASSABLE);
  } finally {
    closeFd(fd);
  }
}

/** Another descriptor for the same, under a number that an agent doesn't use for itself. Throws SyscallError. */
export const duplicate = (fd: number, lowest = 0): OwnedFd =>
  owned(syscall('fcntl', fd, F_DUPFD_CLOEXEC, Math.max(LOWEST_PASSABLE, lowest)));

/** asm-generic/poll.h */
const POLLIN = 1;

/**
 * Waits until a descriptor can be read; a socket also when it is at its end, a pidfd when its process has ended. False
 * if that takes longer than this many seconds. Nothing else goes on in this thread meanwhile. Throws SyscallError.
 */
export function readableWithin(fd: number, seconds: number): boolean {
  poll[0] = fd;
  // The upper halves stay 0.
  time[0] = Math.floor(seconds);
  time[2] = Math.floor((seconds % 1) * 1e9);
  return syscall('ppoll', POLL, 1, TIME, null, 0) > 0;
}

/** struct pollfd: the descriptor; the events, and above them those that happened. Made once, as buffers take long to make. */
const poll = new Int32Array([0, POLLIN]);
const POLL = { out: new Uint8Array(poll.buffer) };
/** struct timespec: seconds, nanoseconds. The kernel keeps what is left in it, for when a signal interrupts. */
const time = new Int32Array(4);
const TIME = { out: new Uint8Array(time.buffer) };
