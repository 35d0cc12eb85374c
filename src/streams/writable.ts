/** Node streams that write raw descriptors, in any runtime. */
import { Writable } from 'node:stream';
import { closeFd } from '../../syscalls/fd.ts';
import { stopWaiting } from '../../syscalls/readiness.ts';
import { nonBlocking, writeAll } from './transfer.ts';

/**
 * A stream into a pipe or the master of a pseudo-terminal. It takes over the descriptor, which it makes non-blocking,
 * and closes it when it ends or is destroyed. Errors are SyscallErrors, such as EPIPE when nobody reads any more.
 */
export function writableTo(fd: number): Writable {
  const end = nonBlocking(fd);
  const stream: Writable = new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      writeAll(end, chunk, () => stream.destroyed).then(() => done(), done);
    },
    destroy(error, done) {
      stopWaiting(fd);
      closeFd(fd);
      done(error);
    },
  });
  return stream;
}
