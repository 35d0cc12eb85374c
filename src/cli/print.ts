/** Standard output, for what is printed whole. */
import { allowing, call } from '../../syscalls/call.ts';
import { errnoByNumber } from '../../syscalls/errno.ts';
import { perform } from '../../syscalls/syscall.ts';

/** Writes all of it, however slowly it is read. That nobody reads it to its end is no failure. Throws an Error. */
export function print(text: string): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let rest = new TextEncoder().encode(text); rest.length > 0; ) {
    const written = perform(allowing(call('write', 1, rest, rest.length)));
    const code = written < 0 ? errnoByNumber(-written).name : undefined;
    if (code === 'EPIPE') return;
    // Whoever shares it with us may have made it non-blocking.
    if (code === 'EAGAIN') Atomics.wait(pause, 0, 0, 10);
    else if (code !== undefined) throw new Error(`writing to standard output: ${errnoByNumber(-written).text}`);
    else rest = rest.subarray(written);
  }
}
