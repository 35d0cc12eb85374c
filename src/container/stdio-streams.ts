/** Pipes and pseudo terminals whose other side are node's streams. */
import type { Writable } from 'node:stream';
import { O } from '../../syscalls/constants.ts';
import { duplicate, type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { setWindowSize } from '../../syscalls/tty.ts';
import { type FdReadable, readableFrom } from '../streams/readable.ts';
import { writableTo } from '../streams/writable.ts';
import { openOwnPty } from './own-pty.ts';
import type { Connected } from './stdio.ts';

export function connectPipes(): Connected {
  using made = new DisposableStack();
  const [stdin, stdout, stderr] = [makePipe(made), makePipe(made), makePipe(made)] as const;
  const theirs = [stdin.read, stdout.write, stderr.write] as const;
  const ours = made.move();
  let stdinStream: Writable | undefined;
  let readables: FdReadable[] = [];
  return {
    payload: { fds: [theirs[0].fd, theirs[1].fd, theirs[2].fd] },
    open() {
      for (const end of theirs) end[Symbol.dispose]();
      stdinStream = writableTo(stdin.write.fd);
      readables = [readableFrom(stdout.read.fd), readableFrom(stderr.read.fd)];
      return { stdin: stdinStream, stdout: readables[0]!, stderr: readables[1]! };
    },
    finish() {
      stdinStream?.destroy();
      for (const readable of readables) readable.finish();
    },
    resize() {},
    [Symbol.dispose]() {
      if (readables.length === 0) ours.dispose();
    },
  };
}

export function connectPty(label: string | undefined): Connected {
  using made = new DisposableStack();
  const { master, terminal } = made.use(openOwnPty(label));
  // Now, for nothing may fail once the payload runs.
  const keys = made.use(duplicate(master.fd));
  const ours = made.move();
  let input: Writable | undefined;
  let output: FdReadable | undefined;
  return {
    payload: terminal,
    open() {
      terminal.devpts?.[Symbol.dispose]();
      input = writableTo(keys.fd);
      output = readableFrom(master.fd);
      return { stdin: input, stdout: output, stderr: null };
    },
    finish() {
      input?.destroy();
      output?.finish();
      // Held until now: the terminal would hang up whenever the payload closes its last descriptor.
      terminal.console[Symbol.dispose]();
    },
    resize(columns, rows) {
      if (!output?.destroyed) setWindowSize(master.fd, { rows, columns, width: 0, height: 0 });
    },
    [Symbol.dispose]() {
      if (!output) ours.dispose();
    },
  };
}

function makePipe(stack: DisposableStack): { read: OwnedFd; write: OwnedFd } {
  const pair = new Int32Array(2);
  syscall('pipe2', { out: new Uint8Array(pair.buffer) }, O.CLOEXEC);
  return { read: stack.use(owned(passableFd(pair[0]!))), write: stack.use(owned(passableFd(pair[1]!))) };
}
