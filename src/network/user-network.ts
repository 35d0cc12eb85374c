/**
 * --network=user: a container's network by way of this user's own sockets. pasta(1) or slirp4netns(1) is on the other end
 * of an interface in it, and does for it what it asks of the world. With the same addresses for either.
 */
import { entrust } from '../../syscalls/agent/janitor.ts';
import { call } from '../../syscalls/call.ts';
import { O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned, passableFd, readableWithin } from '../../syscalls/fd.ts';
import { killAndWait } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { findProgram, type HostProgram, startProgram } from '../host-program.ts';
import type { Logger } from '../log.ts';
import { USER_NETWORK } from '../plan/user-network.ts';

const { address, gateway, nameServer, prefix, interfaceName } = USER_NETWORK;
/** Seconds until it must be there. */
const LONGEST_START = 10;
const STDOUT = 1;
/** Another number than an agent's own have. */
const SPARE = 10;

interface Helper {
  name: string;
  readyFd: number;
  words: (pid: number) => string[];
}

/** Each says by a byte that all is there; `readyFd` is where it can. Neither lets the container reach the host's loopback. */
const HELPERS: readonly Helper[] = [
  {
    name: 'pasta',
    readyFd: STDOUT,
    words: pid => [
      ...['--foreground', '--quiet', '--config-net', '--ipv4-only', '--no-map-gw', '--pid', `/proc/self/fd/${STDOUT}`],
      ...['--address', address, '--netmask', `${prefix}`, '--gateway', gateway, '--dns-forward', nameServer],
      ...['--ns-ifname', interfaceName, '--tcp-ports', 'none', '--udp-ports', 'none', '--tcp-ns', 'none'],
      ...['--udp-ns', 'none', `${pid}`],
    ],
  },
  {
    name: 'slirp4netns',
    readyFd: SPARE,
    words: pid => [
      ...['--configure', '--disable-host-loopback', `--ready-fd=${SPARE}`, `--userns-path=/proc/${pid}/ns/user`],
      ...[`${pid}`, interfaceName],
    ],
  },
];

/**
 * Connects the network of a process with users of its own; `keep` owns what does so, which ends with this process as
 * well. Where nothing is installed that could, the network stays private, which is a warning. Throws an Error with what
 * the helper said.
 */
export function connectUserNetwork(pid: number, keep: DisposableStack, log: Logger): void {
  for (const helper of HELPERS) {
    const path = findProgram(helper.name);
    if (path === undefined) continue;
    start(path, helper, pid, keep);
    return;
  }
  log.warn(
    "--network=user takes pasta (Debian's package passt) or slirp4netns, and neither is installed: the container's network is a private one",
  );
}

function start(path: string, { name, readyFd, words }: Helper, pid: number, keep: DisposableStack): void {
  using starting = new DisposableStack();
  const pipe = new Int32Array(2);
  syscall('pipe2', { out: new Uint8Array(pipe.buffer) }, O.CLOEXEC);
  const heard = starting.use(owned(pipe[0]!));
  const ready = owned(passableFd(pipe[1]!));
  const program = starting.use(startHelper(path, words(pid), ready, readyFd));
  const isReady =
    readableWithin(heard.fd, LONGEST_START) && syscall('read', heard.fd, { out: new Uint8Array(1) }, 1) === 1;
  if (!isReady) {
    throw new Error(`${name}: ${program.said().at(-1) ?? `nothing was ready after ${LONGEST_START} s`}`);
  }
  starting.use(entrust([program.pidfd], ([pidfd]) => killAndWait(pidfd!)));
  keep.use(starting.move());
}

/** Starts it; closes our copy of `ready`. */
function startHelper(path: string, words: readonly string[], ready: OwnedFd, readyFd: number): HostProgram {
  using writing = ready;
  return startProgram({ path, words, fds: [writing.fd], calls: [call('dup3', writing.fd, readyFd, 0)] });
}
