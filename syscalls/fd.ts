import { perform, syscall } from './syscall.ts';

/** fcntl.h */
const F_DUPFD_CLOEXEC = 1030;
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

/** The same descriptor with a number that an agent doesn't use for itself. Takes over `fd`. */
export function passableFd(fd: number): number {
  if (fd >= LOWEST_PASSABLE) return fd;
  const copy = syscall('fcntl', fd, F_DUPFD_CLOEXEC, LOWEST_PASSABLE);
  closeFd(fd);
  return copy;
}
