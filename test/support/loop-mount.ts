/** File systems of their own, in an image that is mounted for as long as a test needs it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Need } from './needs.ts';
import { tool } from './needs.ts';
import { type TemporaryDirectory, temporaryDirectory } from './temporary.ts';

/** For needs(): mkfs.TYPE is installed, and such an image can be mounted here. */
export const loopMount =
  (type: string): Need =>
  () => {
    const missing = tool(`mkfs.${type}`)() ?? tool('mount')();
    if (missing !== undefined) return missing;
    try {
      using _ = mounted(type, '300M');
      return undefined;
    } catch (error) {
      return `no ${type} can be mounted: ${(error as Error).message.split('\n')[0]}`;
    }
  };

/** An empty file system of this type and size, such as '300M', with options for mkfs. */
export function mounted(type: string, size: string, ...options: string[]): TemporaryDirectory {
  const directory = temporaryDirectory();
  const [image, path] = [join(directory.path, 'image'), join(directory.path, 'mounted')];
  try {
    execFileSync('truncate', ['-s', size, image]);
    execFileSync(`mkfs.${type}`, [...options, image], { stdio: ['ignore', 'ignore', 'pipe'] });
    mkdirSync(path);
    execFileSync('mount', ['-o', 'loop', image, path]);
  } catch (error) {
    directory[Symbol.dispose]();
    throw error;
  }
  return {
    path,
    [Symbol.dispose]() {
      execFileSync('umount', [path]);
      directory[Symbol.dispose]();
    },
  };
}
