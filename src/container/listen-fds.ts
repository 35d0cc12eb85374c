/** Descriptors that a payload gets as 3 and up, by the protocol of socket activation: sd_listen_fds(3). */
import { duplicate, type OwnedFd } from '../../syscalls/fd.ts';
import { UsageError } from '../options/usage-error.ts';
import type { Payload, Plan } from '../plan/steps.ts';

/** A descriptor of this process, such as a listening socket, and what the payload knows it by. */
export interface ListenFd {
  fd: number;
  /** At most 255 characters, no colon among them. */
  name?: string;
}

const FIRST_LISTEN_FD = 3;
/** systemd's name for what has none. */
const NO_NAME = 'unknown';

/** Copies for an agent, with numbers that none of them gets in the payload. Throws SyscallError. */
export function passableFds(fds: readonly ListenFd[]): OwnedFd[] {
  using made = new DisposableStack();
  const copies = fds.map(({ fd }) => made.use(duplicate(fd, FIRST_LISTEN_FD + fds.length)));
  made.move();
  return copies;
}

/** The plan's payload, told in its environment of these descriptors. `pid`: its number, or its init's, on the host. */
export function withListenFds({ payload, shareSystem }: Plan, pid: number, fds: readonly ListenFd[]): Payload {
  if (fds.length === 0) return payload;
  const ownPid = payload.asPid2 ? 2 : 1;
  const names = fds.some(({ name }) => name !== undefined) ? [namesVariable(fds)] : [];
  const variables = [`LISTEN_FDS=${fds.length}`, `LISTEN_PID=${shareSystem ? pid : ownPid}`, ...names];
  return { ...payload, environment: [...variables, ...payload.environment] };
}

const namesVariable = (fds: readonly ListenFd[]) =>
  `LISTEN_FDNAMES=${fds.map(({ name }) => name ?? NO_NAME).join(':')}`;

/** Throws UsageError for names that the payload could not tell apart. */
export function checkListenFds(fds: readonly ListenFd[]): void {
  for (const { fd, name = NO_NAME } of fds) {
    if (/^[^:\p{Cc}]{0,255}$/u.test(name)) continue;
    throw new UsageError(`listenFds: the name of descriptor ${fd} must have at most 255 characters and no colon`);
  }
}
