/** What nspawn was started with by socket activation: sd_listen_fds(3). */
import { F } from '../../syscalls/constants.ts';
import { syscall } from '../../syscalls/syscall.ts';
import type { ListenFd } from '../container/listen-fds.ts';
import type { Environment } from '../options/environment.ts';

const FIRST_LISTEN_FD = 3;
/** asm-generic/fcntl.h */
const FD_CLOEXEC = 1;

/** Its descriptors, which no other program gets now. Throws SyscallError when they aren't open. */
export function takeListenFds({ LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES }: Environment, pid: number): ListenFd[] {
  // Meant for another process, from which this one has the environment.
  if (Number(LISTEN_PID) !== pid) return [];
  const count = /^\d+$/.test(LISTEN_FDS ?? '') ? Number(LISTEN_FDS) : 0;
  const names = LISTEN_FDNAMES?.split(':') ?? [];
  const isNamed = names.length === count;
  return Array.from({ length: count }, (_, i) => {
    const fd = FIRST_LISTEN_FD + i;
    syscall('fcntl', fd, F.SETFD, FD_CLOEXEC);
    return { fd, ...(isNamed && { name: names[i]! }) };
  });
}
