/** Node streams that read raw descriptors, in any runtime. */
import { Buffer } from 'node:buffer';
import { Readable } from 'node:stream';
import { closeFd } from '../../syscalls/fd.ts';
import { stopWaiting, untilReadable } from '../../syscalls/readiness.ts';
import { nonBlocking, readSome } from './transfer.ts';

/** A stream of bytes that can be told that no more will come. */
export interface FdReadable extends Readable {
  /**
   * Takes in what is already there, after which the stream ends; the descriptor is closed at once, for the stream may
   * never be read. A pseudo-terminal needs it: it has no end while its slave is held open.
   */
  finish(): void;
}

/** All streams read into the same memory, and copy: a chunk of a few bytes must not hold more. */
let buffer: Uint8Array | undefined;
const BUFFER_SIZE = 65536;

/** Other writers, which may go on, can't keep `finish` busy for more than so many buffers. */
const MOST_LEFT = 1024;

/**
 * A stream of what comes from a pipe or the master of a pseudo-terminal. It takes over the descriptor, which it makes
 * non-blocking, and closes it at its end or when the stream is destroyed. Errors are SyscallErrors.
 */
export function readableFrom(fd: number): FdReadable {
  const end = nonBlocking(fd);
  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    stopWaiting(fd);
    closeFd(fd);
  };
  const pushEnd = () => {
    close();
    stream.push(null);
  };

  /** Pushes what there is now, or the end; false if there is nothing. */
  function pushSome(): boolean {
    buffer ??= new Uint8Array(BUFFER_SIZE);
    const size = readSome(end, buffer);
    if (size) stream.push(Buffer.from(buffer.subarray(0, size)));
    else if (size === 0) pushEnd();
    return size !== undefined;
  }

  async function readOnce(): Promise<void> {
    do {
      // To wait before each read gives others their turn, however fast bytes come.
      await untilReadable(fd);
    } while (isOpen && !pushSome());
  }

  const stream = new Readable({
    read() {
      readOnce().catch((error: Error) => stream.destroy(error));
    },
    destroy(error, done) {
      close();
      done(error);
    },
  });
  return Object.assign(stream, {
    finish() {
      if (!isOpen) return;
      try {
        for (let left = MOST_LEFT; left > 0 && isOpen && pushSome(); ) left--;
        if (isOpen) pushEnd();
      } catch (error) {
        stream.destroy(error as Error);
      }
    },
  });
}
