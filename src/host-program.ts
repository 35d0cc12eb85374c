/** Programs of the host's that nspawn runs beside a container, each in the place of an agent. */
import process from 'node:process';
import { type Agent, startAgent } from '../syscalls/agent/agent.ts';
import { type Call, call, resultOf } from '../syscalls/call.ts';
import { AT, MFD, O, SIG } from '../syscalls/constants.ts';
import { owned, passableFd } from '../syscalls/fd.ts';
import { readAll } from '../syscalls/file.ts';
import { defaultSignalAction, leaveSession, NO_SIGNALS, setSignalMask } from '../syscalls/process.ts';
import { syscall } from '../syscalls/syscall.ts';
import { mayRead } from './host.ts';

const MOST_WORDS = 1 << 20;

/** The path of a program in PATH; undefined where it isn't installed. */
export function findProgram(name: string): string | undefined {
  const directories = (process.env['PATH'] ?? '/usr/bin:/bin').split(':');
  const directory = directories.find(each => mayRead(`${each}/${name}`));
  return directory === undefined ? undefined : `${directory}/${name}`;
}

/** A program that runs. Disposing of it kills it. */
export interface HostProgram extends Disposable {
  readonly pid: number;
  readonly pidfd: number;
  /** The lines that it has written to standard output and error. */
  said(): string[];
}

interface Start {
  path: string;
  words: readonly string[];
  /** Descriptors that the agent shall have for `calls`, and the program as well unless they close them. */
  fds: readonly number[];
  /** What the agent does last before it becomes the program, once standard streams are what the program gets. */
  calls: readonly Call[];
  /** Told of the process before it is the program. */
  born?: (agent: Agent) => void;
}

/**
 * Starts a program with nothing on standard input, an environment of PATH only, and the descriptors `fds`.
 * Throws SyscallError.
 */
export function startProgram({ path, words, fds, calls, born }: Start): HostProgram {
  using starting = new DisposableStack();
  const said = starting.use(owned(passableFd(syscall('memfd_create', words[0] ?? path, MFD.CLOEXEC))));
  const agent = starting.use(startAgent({ namespaces: 0n, fds: [...fds, said.fd], dieWithParent: true }));
  born?.(agent);
  const nothing = call('openat', AT.FDCWD, '/dev/null', O.RDWR | O.CLOEXEC, 0);
  agent.exec([
    leaveSession,
    setSignalMask(NO_SIGNALS),
    // Bun ignores it, and pasta takes that for an error.
    defaultSignalAction(SIG.PIPE),
    nothing,
    call('dup3', resultOf(nothing), 0, 0),
    call('dup3', said.fd, 1, 0),
    call('dup3', said.fd, 2, 0),
    ...calls,
    call('execve', path, [path, ...words], ['PATH=/usr/sbin:/usr/bin:/sbin:/bin']),
  ]);
  const held = starting.move();
  return {
    pid: agent.pid,
    pidfd: agent.pidfd,
    said() {
      syscall('lseek', said.fd, 0, 0);
      return readAll(said.fd, MOST_WORDS).toString().trim().split('\n').filter(Boolean);
    },
    [Symbol.dispose]: () => held.dispose(),
  };
}
