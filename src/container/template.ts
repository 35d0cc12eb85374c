/** --template=: makes a root directory that isn't there yet, of another one. */
import { createSubvolume, isSubvolume } from '../../syscalls/btrfs.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O, RENAME_NOREPLACE } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { fileStatus, openBelow, splitPath } from '../../syscalls/file.ts';
import { cloneTree } from '../../syscalls/mount.ts';
import { perform, SyscallError, syscall } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';
import { nextTurn } from '../streams/next-turn.ts';
import { type Copied, copyTree } from '../trees/copy.ts';
import { CopyError } from '../trees/copy-workers.ts';
import { countFiles } from '../trees/count.ts';
import { type HiddenDirectory, makeHiddenDirectory, removeLeftovers } from '../trees/hidden-directory.ts';
import { makeReadOnly, snapshotTree } from '../trees/snapshot.ts';

export interface Population {
  /** Canonical paths of directories; there is no `directory` yet. */
  template: string;
  directory: string;
  /** A snapshot, or a copy on btrfs, becomes a read-only subvolume. */
  readOnly: boolean;
}

/** Told of a copy now and then: what was copied so far, of about so many files. */
export type Progress = (copied: Copied, files: number) => void;

const COPY = 'tree';
/** How long others wait for their turn, in milliseconds. */
const LONGEST_TURN = 50;

/**
 * Makes the directory: by a snapshot where both are on the same btrfs and the template is a subvolume, else by a copy.
 * It appears whole or not at all. Resolves to false when somebody else has made it meanwhile; rejects with an Error
 * that names the file that can't be copied.
 */
export async function populate(
  { template, directory, readOnly }: Population,
  log: Logger,
  progress?: Progress,
): Promise<boolean> {
  try {
    const { parent, name } = splitPath(directory);
    removeLeftovers(parent, log);
    using hidden = makeHiddenDirectory(parent, log);
    using original = owned(syscall('openat', AT.FDCWD, template, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));
    if (!isSubvolume(original.fd) || !trySnapshot(original.fd, hidden.fd)) await copy(original.fd, hidden, progress);
    using made = openDirectory(hidden.fd, COPY);
    // Under its name it is whole after a crash, too.
    perform(call('syncfs', made.fd));
    const rename = call('renameat2', hidden.fd, COPY, hidden.parent, name, RENAME_NOREPLACE);
    if (perform(allowing(rename, 'EEXIST')) < 0) return false;
    if (readOnly && isSubvolume(made.fd)) makeReadOnly(made.fd);
    return true;
  } catch (error) {
    const reason = error instanceof CopyError ? `${error.path}: ${error.message}` : (error as Error).message;
    throw new Error(`copying ${template} to ${directory}: ${reason}`, { cause: error });
  }
}

/** False when the two are not on the same file system, or not by the same mount. */
function trySnapshot(original: number, at: number): boolean {
  try {
    snapshotTree(original, at, COPY);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'EXDEV') return false;
    throw error;
  }
}

async function copy(original: number, hidden: HiddenDirectory, progress: Progress | undefined): Promise<void> {
  // A copy of the mount has none of the mounts below it.
  using mount = owned(perform(cloneTree(original, '', { recursive: false })));
  using from = openDirectory(mount.fd, '.');
  // On btrfs a subvolume, so that snapshots can be made of it.
  if (!createSubvolume(hidden.fd, COPY)) syscall('mkdirat', hidden.fd, COPY, 0o700);
  using to = openDirectory(hidden.fd, COPY);
  const files = progress ? countIn(mount.fd) : 0;
  let turn = performance.now();
  for (const copied of copyTree(from.fd, to.fd, fileStatus(hidden.fd))) {
    if (performance.now() - turn < LONGEST_TURN) continue;
    progress?.(copied, files);
    await nextTurn();
    turn = performance.now();
  }
}

function countIn(mount: number): number {
  using directory = openDirectory(mount, '.');
  return countFiles(directory.fd);
}

const openDirectory = (at: number, name: string): OwnedFd =>
  owned(perform(openBelow(at, name, O.RDONLY | O.DIRECTORY | O.NOATIME)));
