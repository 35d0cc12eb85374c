import { O } from '../../syscalls/constants.ts';
import { allEntries, DT } from '../../syscalls/directory.ts';
import { owned } from '../../syscalls/fd.ts';
import { openBelow } from '../../syscalls/file.ts';
import { perform } from '../../syscalls/syscall.ts';

/**
 * How many files are in a directory that was opened just now, and in those below it: about as many, for somebody who
 * waits. What can't be opened counts as one; whoever copies it says why.
 */
export function countFiles(directory: number): number {
  const entries = allEntries(directory);
  let count = entries.length;
  for (const { name } of entries.filter(({ type }) => type === DT.DIR)) {
    const fd = perform({ ...openBelow(directory, name, O.RDONLY | O.DIRECTORY | O.NOATIME), allow: 'any' });
    if (fd < 0) continue;
    using below = owned(fd);
    count += countFiles(below.fd);
  }
  return count;
}
