/** Files that a set-up makes in the container. */
import { type Argument, type Call, call, resultOf } from '../../syscalls/call.ts';
import { O } from '../../syscalls/constants.ts';

/** The calls that make a file which must not be there yet: so it is a regular one, and nobody else's. */
export function writeNewFile(directory: Argument, name: string, content: Uint8Array, mode: number): Call[] {
  const open = call('openat', directory, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC, mode);
  return [open, call('write', resultOf(open), content, content.length), call('close', resultOf(open))];
}
