/** What a payload's standard streams are connected to, and this side of them. */
import type { Readable, Writable } from 'node:stream';
import { F, O } from '../../syscalls/constants.ts';
import { duplicate, type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { standardEnd } from '../console/standard-stream.ts';
import type { Stdio } from '../spawn.ts';
import type { PayloadStreams } from './start.ts';

export interface Connected extends Disposable {
  /** The payload's side. */
  payload: PayloadStreams;
  /** This side. Called once the payload runs; from then on the streams own their descriptors. */
  open(): { stdin: Writable | null; stdout: Readable | null; stderr: Readable | null };
  /** The payload has ended: its output ends with what is there. */
  finish(): void;
  resize(columns: number, rows: number): void;
}

/**
 * Makes the connections that were asked for; node's streams are loaded only for those that have some. `label` as for
 * openOwnPty().
 */
export async function connect(stdio: Stdio, label?: string): Promise<Connected> {
  if (stdio === 'inherit') return connectGiven([0, 1, 2]);
  if (typeof stdio !== 'string') return connectGiven(stdio);
  const { connectPipes, connectPty } = await import('./stdio-streams.ts');
  return stdio === 'pipe' ? connectPipes() : connectPty(label);
}

const NO_STREAMS = { stdin: null, stdout: null, stderr: null };

/** Descriptors of the caller's, or a pseudo terminal that it looks after. */
function connectGiven(stdio: Exclude<Stdio, string>): Connected {
  const isConsole = 'console' in stdio;
  // The same numbers stay as they are; others need one that an agent doesn't use for itself.
  const copies = new DisposableStack();
  const copyOf = (fd: number, at: number) => {
    const blocking = blockingCopy(fd);
    return fd === at && !blocking ? fd : copies.use(blocking ?? duplicate(fd)).fd;
  };
  return {
    payload: isConsole ? stdio : { fds: [copyOf(stdio[0], 0), copyOf(stdio[1], 1), copyOf(stdio[2], 2)] },
    open() {
      copies.dispose();
      return NO_STREAMS;
    },
    finish() {},
    resize() {},
    [Symbol.dispose]: () => copies.dispose(),
  };
}

/**
 * Bun makes a pipe non-blocking when it writes to it, for all who share it, and few programs can live with that. Opened
 * again it is blocking for the payload, and as before for everyone else. Undefined where there is no need, or no way.
 */
function blockingCopy(fd: number): OwnedFd | undefined {
  const flags = syscall('fcntl', fd, F.GETFL);
  if (!(flags & O.NONBLOCK)) return undefined;
  const copy = standardEnd(fd, flags & ACCESS_MODE);
  if (copy.blocking) return undefined;
  syscall('fcntl', copy.fd, F.SETFL, flags & ~O.NONBLOCK);
  return owned(passableFd(copy.fd));
}

/** asm-generic/fcntl.h: O_ACCMODE */
const ACCESS_MODE = 3;
