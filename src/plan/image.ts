/** Where a container's root comes from when it is no directory. */
import { SyscallError } from '../../syscalls/syscall.ts';
import { canonicalPath, hostHas, hostStatus, isDirectory } from '../host.ts';
import type { Image } from '../image/read-image.ts';
import { checkOptions } from '../options/check.ts';
import { impliedOptions } from '../options/implied.ts';
import type { ContainerOptions } from '../options.ts';
import { MACHINES_DIRECTORY } from './plan.ts';

/**
 * Reads the disk image that options mean; undefined if they mean a directory. Changes nothing, and needs no privileges
 * but to read the image. Throws an Error, or a UsageError for options that can't be.
 */
export async function imageOf(asked: ContainerOptions): Promise<Image | undefined> {
  const path = imagePath(asked);
  if (path === undefined) return undefined;
  checkOptions(impliedOptions(asked));
  const { readImage } = await import('../image/read-image.ts');
  return await readImage(canonicalPath(path) ?? path);
}

/** -M alone means a directory, else an image: machinectl(1), "Files and Directories". */
function imagePath({ image, directory, machine }: ContainerOptions): string | undefined {
  if (image !== undefined || directory !== undefined || !machine) return image;
  const named = `${MACHINES_DIRECTORY}/${machine}`;
  try {
    const status = hostStatus(named);
    if (status && isDirectory(status)) return undefined;
    return hostHas(`${named}.raw`) ? `${named}.raw` : undefined;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new Error(`looking for ${named}: ${error.text} (${error.code})`, { cause: error });
  }
}
