/** Snapshots of btrfs subvolumes, with the subvolumes in them. */
import { isSubvolume, setReadOnly, snapshot, subvolumesBelow } from '../../syscalls/btrfs.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { openBelow } from '../../syscalls/file.ts';
import { perform } from '../../syscalls/syscall.ts';
import { HIDDEN_PREFIX } from './hidden-directory.ts';

/**
 * Makes a writable snapshot of the subvolume `source` as `name` in the directory `at`, which may be in the subvolume.
 * What is in hidden directories of ours is left out. Throws SyscallError.
 */
export function snapshotTree(source: number, at: number, name: string): void {
  // Now, for the snapshot itself may soon be one of them.
  const all = subvolumesBelow(source).filter(({ directory }) => !isHidden(directory));
  snapshot(source, at, name);
  using copy = openDirectory(at, name);
  for (const below of all) {
    // In a snapshot each is an empty directory, which gives way to a snapshot of its own.
    using parent = openDirectory(copy.fd, below.directory);
    using original = openDirectory(source, `${below.directory}${below.name}`);
    if (!isSubvolume(original.fd)) continue;
    perform(allowing(call('unlinkat', parent.fd, below.name, AT.REMOVEDIR), 'ENOENT'));
    snapshotTree(original.fd, parent.fd, below.name);
  }
}

/** Makes a subvolume read-only, with those in it. Throws SyscallError. */
export function makeReadOnly(subvolume: number): void {
  for (const { directory, name } of subvolumesBelow(subvolume)) {
    using below = openDirectory(subvolume, `${directory}${name}`);
    makeReadOnly(below.fd);
  }
  setReadOnly(subvolume, true);
}

const isHidden = (directory: string) => directory.split('/').some(name => name.startsWith(HIDDEN_PREFIX));

const openDirectory = (at: number, path: string): OwnedFd =>
  owned(perform(openBelow(at, path || '.', O.RDONLY | O.DIRECTORY)));
