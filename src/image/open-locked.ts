/** An image's file for as long as it is in use: whoever writes to it is alone. */
import { setTimeout } from 'node:timers/promises';
import { LockedError, lock } from '../container/lock.ts';
import type { FileSystem, HostObject, Plan } from '../plan/steps.ts';
import { type ImageFile, openImageFile } from './image-file.ts';

export const isFileSystem = (object: HostObject): object is FileSystem => object.kind === 'file system';

/** Opens the image of a plan for what is to be done with it, and locks it as the plan says. Rejects with an Error. */
export async function openLocked({ directory: path, hostObjects, lock: kind }: Plan): Promise<ImageFile> {
  const write = Object.values(hostObjects).some(object => isFileSystem(object) && !object.readOnly);
  using opening = new DisposableStack();
  const file = opening.use(openFile(path, write));
  if (kind !== 'none') await lockPatiently(file.fd, kind, path);
  opening.move();
  return file;
}

function openFile(path: string, write: boolean): ImageFile {
  try {
    return openImageFile(path, { write });
  } catch (error) {
    throw new Error(`opening the image ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** How long a container that has just ended or been killed may take to let go of an image. */
const LOCK_PATIENCE_MS = 500;
const LOCK_PAUSE_MS = 10;

async function lockPatiently(file: number, kind: 'shared' | 'exclusive', path: string): Promise<void> {
  for (const end = performance.now() + LOCK_PATIENCE_MS; ; await setTimeout(LOCK_PAUSE_MS)) {
    try {
      lock(file, kind, path, 'image');
      return;
    } catch (error) {
      if (!(error instanceof LockedError) || performance.now() > end) throw error;
    }
  }
}
