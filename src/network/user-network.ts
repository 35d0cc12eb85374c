/**
 * --network=user: a container's network by way of this user's own sockets. pasta(1) or slirp4netns(1) is on the other end
 * of an interface in it, and does for it what it asks of the world. With the same addresses for either.
 */
import process from 'node:process';
import { type Agent, startAgent } from '../../syscalls/agent/agent.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { call, resultOf } from '../../syscalls/call.ts';
import { AT, MFD, O, SIG } from '../../syscalls/constants.ts';
import { owned, passableFd, readableWithin } from '../../syscalls/fd.ts';
import { readAll } from '../../syscalls/file.ts';
import { defaultSignalAction, killAndWait, NO_SIGNALS, setSignalMask } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { mayRead } from '../host.ts';
import type { Logger } from '../log.ts';
import { USER_NETWORK } from '../plan/user-network.ts';

const { address, gateway, nameServer, prefix, interfaceName } = USER_NETWORK;
/** Seconds until it must be there. */
const LONGEST_START = 10;
const STDOUT = 1;
/** Another number than an agent's own have. */
const SPARE = 10;
const MOST_WORDS = 1 << 20;

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
  const directories = (process.env['PATH'] ?? '/usr/bin:/bin').split(':');
  for (const helper of HELPERS) {
    const directory = directories.find(each => mayRead(`${each}/${helper.name}`));
    if (directory === undefined) continue;
    start(`${directory}/${helper.name}`, helper, pid, keep);
    return;
  }
  log.warn(
    "--network=user takes pasta (Debian's package passt) or slirp4netns, and neither is installed: the container's network is a private one",
  );
}

function start(path: string, { name, readyFd, words }: Helper, pid: number, keep: DisposableStack): void {
  using starting = new DisposableStack();
  const said = starting.use(owned(passableFd(syscall('memfd_create', name, MFD.CLOEXEC))));
  const pipe = new Int32Array(2);
  syscall('pipe2', { out: new Uint8Array(pipe.buffer) }, O.CLOEXEC);
  const heard = starting.use(owned(pipe[0]!));
  const agent = starting.use(startHelper(path, words(pid), { ready: passableFd(pipe[1]!), said: said.fd, readyFd }));
  const isReady =
    readableWithin(heard.fd, LONGEST_START) && syscall('read', heard.fd, { out: new Uint8Array(1) }, 1) === 1;
  if (!isReady) {
    syscall('lseek', said.fd, 0, 0);
    const words = readAll(said.fd, MOST_WORDS).toString().trim().split('\n').at(-1);
    throw new Error(`${name}: ${words || `nothing was ready after ${LONGEST_START} s`}`);
  }
  starting.use(entrust([agent.pidfd], ([pidfd]) => killAndWait(pidfd!)));
  keep.use(starting.move());
}

/** Has an agent become the program; closes our copy of `ready`. */
function startHelper(
  path: string,
  words: readonly string[],
  { ready, said, readyFd }: { ready: number; said: number; readyFd: number },
): Agent {
  using starting = new DisposableStack();
  using writing = owned(ready);
  const agent = starting.use(startAgent({ namespaces: 0n, fds: [writing.fd, said], dieWithParent: true }));
  const nothing = call('openat', AT.FDCWD, '/dev/null', O.RDWR | O.CLOEXEC, 0);
  agent.exec([
    setSignalMask(NO_SIGNALS),
    // Bun ignores it, and pasta takes that for an error.
    defaultSignalAction(SIG.PIPE),
    nothing,
    call('dup3', resultOf(nothing), 0, 0),
    call('dup3', said, 1, 0),
    call('dup3', said, 2, 0),
    call('dup3', writing.fd, readyFd, 0),
    call('execve', path, [path, ...words], ['PATH=/usr/sbin:/usr/bin:/sbin:/bin']),
  ]);
  starting.move();
  return agent;
}
