/**
 * Removes directory trees that nobody has looked after: all by descriptor, so that no symlink and no mount is followed,
 * whoever changes the tree meanwhile.
 */
import { destroySubvolume, isSubvolume, setReadOnly } from '../../syscalls/btrfs.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O, S } from '../../syscalls/constants.ts';
import { nameText, nextEntries } from '../../syscalls/directory.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { fileStatus, fileType, openBelow } from '../../syscalls/file.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';

/** Deeper directories are moved up before they are emptied: a tree may be deeper than descriptors can be open. */
const DEEPEST = 64;

/** linux/fs.h: attributes that chattr(1) sets */
const FS_IOC_SETFLAGS = 0x40086602;
const NO_FLAGS = new Uint8Array(8);

/** Makes it possible for this process to change a directory, which is open as O_PATH. Throws an Error. */
export type MakeOurs = (directory: number) => void;

/**
 * Removes the directory `name` in the directory `at`, with all below it; nothing is fine, too. Who is not root may need
 * `makeOurs` for directories in it. Throws an Error that names what can't be removed.
 */
export function removeTree(at: number, name: string, makeOurs?: MakeOurs): void {
  removeEntry({ fd: at, top: at, depth: 0, makeOurs }, new TextEncoder().encode(`${name}\0`));
}

interface Directory {
  fd: number;
  makeOurs: MakeOurs | undefined;
  /** Where directories are moved that are too deep: an outer directory, on the same subvolume. */
  top: number;
  depth: number;
}

/** Removes all in a directory: again and again, as long as something is there. */
function empty(directory: Directory): void {
  for (;;) {
    perform(call('lseek', directory.fd, 0, 0));
    const entries = nextEntries(directory.fd);
    if (!entries || entries.length === 0) return;
    for (const { name } of entries) {
      try {
        removeEntry(directory, name);
      } catch (error) {
        throw error instanceof SyscallError
          ? new Error(`${nameText(name)}: ${error.message}`, { cause: error })
          : error;
      }
    }
  }
}

function removeEntry(directory: Directory, name: Uint8Array): void {
  const unlink = call('unlinkat', directory.fd, name, 0);
  const result = retrying(directory.fd, name, () => perform(allowing(unlink, 'EISDIR', 'ENOENT')));
  if (result >= 0 || result === -ENOENT) return;
  const removeDirectory = call('unlinkat', directory.fd, name, AT.REMOVEDIR);
  // A read-only subvolume can't be removed like a directory, not even an empty one: EPERM or EROFS.
  const removed = perform(allowing(removeDirectory, 'ENOENT', 'ENOTEMPTY', 'EPERM', 'EROFS'));
  if (removed >= 0 || removed === -ENOENT) return;

  const { makeOurs } = directory;
  if (makeOurs) {
    using found = owned(perform(openBelow(directory.fd, name, O.PATH | O.DIRECTORY)));
    makeOurs(found.fd);
  }
  if (directory.depth >= DEEPEST) {
    const newName = `.#${crypto.randomUUID()}`;
    retrying(directory.fd, name, () => perform(call('renameat2', directory.fd, name, directory.top, newName, 0)));
    return;
  }
  {
    using child = owned(perform(openBelow(directory.fd, name, O.RDONLY | O.DIRECTORY)));
    if (isSubvolume(child.fd)) {
      setReadOnly(child.fd, false);
      if (destroySubvolume(directory.fd, name)) return;
      empty({ fd: child.fd, top: child.fd, depth: 0, makeOurs });
    } else {
      const top = directory.depth === 0 ? child.fd : directory.top;
      empty({ fd: child.fd, top, depth: directory.depth + 1, makeOurs });
    }
  }
  retrying(directory.fd, name, () => perform(removeDirectory));
}
const ENOENT = 2;

/** Does something to an entry; where attributes forbid it (chattr +i, +a), once more without them. */
function retrying(at: number, name: Uint8Array, work: () => number): number {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EPERM') throw error;
  }
  // Those of the directory that it is in were taken away when that was to be removed.
  using file = openPlain(at, name);
  if (file) perform(allowing(call('ioctl', file.fd, FS_IOC_SETFLAGS, NO_FLAGS)));
  return work();
}

/** Opens a regular file or directory; undefined when it is something else, which has no attributes. */
function openPlain(at: number, name: Uint8Array): OwnedFd | undefined {
  using found = owned(perform(openBelow(at, name, O.PATH)));
  const type = fileType(fileStatus(found.fd).mode);
  if (type !== S.IFREG && type !== S.IFDIR) return undefined;
  const path = `/proc/self/fd/${found.fd}`;
  return owned(perform(call('openat', AT.FDCWD, path, O.RDONLY | O.NONBLOCK | O.CLOEXEC, 0)));
}
