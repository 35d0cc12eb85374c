/** Node streams that read raw descriptors, in any runtime. */
import { Buffer } from 'node:buffer';
import { Readable } from 'node:stream';
import { closeFd } from '../../syscalls/fd.ts';
import { stopWaiting, untilReadable } from '../../syscalls/readiness.ts';
import { nextTurn } from './next-turn.ts';
import { nonBlocking, readSome } from './transfer.ts';

/** A stream of bytes that can be told that no more will come. */
export interface FdReadable extends Readable {
  /**
   * Ends the stream once what is already there has been delivered. A pseudo-terminal needs it: it has no end while its
   * slave is held open.
   */
  finish(): void;
}

/** All streams read into the same memory, and copy: a chunk of a few bytes must not hold more. */
let buffer: Uint8Array | undefined;
const BUFFER_SIZE = 65536;

/**
 * A stream of what comes from a pipe or the master of a pseudo-terminal. It takes over the descriptor, which it makes
 * non-blocking, and closes it when it ends or is destroyed. Errors are SyscallErrors.
 */
export function readableFrom(fd: number): FdReadable {
  const end = nonBlocking(fd);
  let isFinishing = false;

  async function readOnce(): Promise<void> {
    for (;;) {
      // To wait before each read gives others their turn, however fast bytes come.
      await (isFinishing ? nextTurn() : untilReadable(fd));
      if (stream.destroyed) return;
      buffer ??= new Uint8Array(BUFFER_SIZE);
      const size = readSome(end, buffer);
      if (size === undefined && !isFinishing) continue;
      stream.push(size ? Buffer.from(buffer.subarray(0, size)) : null);
      return;
    }
  }

  const stream = new Readable({
    read() {
      readOnce().catch((error: Error) => stream.destroy(error));
    },
    destroy(error, done) {
      stopWaiting(fd);
      closeFd(fd);
      done(error);
    },
  });
  return Object.assign(stream, {
    finish() {
      isFinishing = true;
      if (!stream.destroyed) stopWaiting(fd);
    },
  });
}
