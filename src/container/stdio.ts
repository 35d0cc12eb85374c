/** What a payload's standard streams are connected to, and this side of them. */
import type { Readable, Writable } from 'node:stream';
import { O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { openPty, setWindowSize } from '../../syscalls/tty.ts';
import type { Stdio } from '../spawn.ts';
import { type FdReadable, readableFrom } from '../streams/readable.ts';
import { writableTo } from '../streams/writable.ts';
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

/** Makes the connections that were asked for. Throws SyscallError. */
export function connect(stdio: Stdio): Connected {
  if (stdio === 'pipe') return connectPipes();
  if (stdio === 'pty') return connectPty();
  return connectGiven(typeof stdio === 'string' ? [0, 1, 2] : stdio);
}

const NO_STREAMS = { stdin: null, stdout: null, stderr: null };

/** Descriptors of the caller's, or a pseudo terminal that it looks after. */
function connectGiven(stdio: Exclude<Stdio, string>): Connected {
  const isConsole = 'console' in stdio;
  // The same numbers stay as they are; others need one that an agent doesn't use for itself.
  const copies = new DisposableStack();
  const copyOf = (fd: number, at: number) => (fd === at ? fd : copies.use(duplicate(fd)).fd);
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

function connectPipes(): Connected {
  using made = new DisposableStack();
  const [stdin, stdout, stderr] = [makePipe(made), makePipe(made), makePipe(made)] as const;
  const theirs = [stdin.read, stdout.write, stderr.write] as const;
  const ours = made.move();
  let readables: FdReadable[] = [];
  return {
    payload: { fds: [theirs[0].fd, theirs[1].fd, theirs[2].fd] },
    open() {
      for (const end of theirs) end[Symbol.dispose]();
      readables = [readableFrom(stdout.read.fd), readableFrom(stderr.read.fd)];
      return { stdin: writableTo(stdin.write.fd), stdout: readables[0]!, stderr: readables[1]! };
    },
    finish() {
      for (const readable of readables) readable.finish();
    },
    resize() {},
    [Symbol.dispose]() {
      if (readables.length === 0) ours.dispose();
    },
  };
}

function connectPty(): Connected {
  const { master, slave } = openPty();
  let output: FdReadable | undefined;
  return {
    payload: { console: slave },
    open() {
      output = readableFrom(master.fd);
      // Held until all output is read: the terminal would hang up whenever the payload closes its last descriptor.
      output.once('close', () => slave[Symbol.dispose]());
      return { stdin: writableTo(duplicate(master.fd).fd), stdout: output, stderr: null };
    },
    finish: () => output?.finish(),
    resize: (columns, rows) => setWindowSize(slave.fd, { rows, columns, width: 0, height: 0 }),
    [Symbol.dispose]() {
      if (output) return;
      master[Symbol.dispose]();
      slave[Symbol.dispose]();
    },
  };
}

/** fcntl.h: F_DUPFD_CLOEXEC */
const F_DUPFD_CLOEXEC = 1030;
const duplicate = (fd: number): OwnedFd => owned(passableFd(syscall('fcntl', fd, F_DUPFD_CLOEXEC, 0)));

function makePipe(stack: DisposableStack): { read: OwnedFd; write: OwnedFd } {
  const pair = new Int32Array(2);
  syscall('pipe2', { out: new Uint8Array(pair.buffer) }, O.CLOEXEC);
  return { read: stack.use(owned(passableFd(pair[0]!))), write: stack.use(owned(passableFd(pair[1]!))) };
}
