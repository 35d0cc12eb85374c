/** A directory tree that is not trusted, looked at from outside: nothing in it leads out of it. */
import { allowing } from '../syscalls/call.ts';
import { O, S } from '../syscalls/constants.ts';
import { errnoNumber } from '../syscalls/errno.ts';
import { type OwnedFd, owned } from '../syscalls/fd.ts';
import {
  type FileStatus,
  fileStatus,
  fileType,
  openInRoot,
  readAll,
  readLinkIn,
  splitPath,
  typeName,
} from '../syscalls/file.ts';
import { perform, syscall } from '../syscalls/syscall.ts';
import { readLink } from './host.ts';

/** Files larger than this are not configuration: nothing that is read from a tree comes near. */
const LARGEST_FILE = 16 << 20;

/** What can be told of a tree. */
export interface TreeView extends Disposable {
  /** Status of what a path leads to, symlinks followed inside the tree; undefined when there is nothing. */
  status(path: string): FileStatus | undefined;
  /** Whether a path leads to something. */
  has(path: string): boolean;
  /** A regular file's text; undefined when there is nothing. Throws when it is something else. */
  readText(path: string): string | undefined;
  /** A symlink's target; undefined when there is nothing, or no symlink. */
  readLink(path: string): string | undefined;
}

/** The same of one that this process may look into. */
export interface RootView extends TreeView, OwnedFd {
  /** The host's path of what a path leads to, without symlinks; undefined when there is nothing. */
  canonicalPath(path: string): string | undefined;
  /** Opens what a path leads to as O_PATH; undefined when there is nothing. */
  open(path: string): OwnedFd | undefined;
}

/** Errors that mean that a path leads nowhere. */
export const NOTHING_THERE = ['ENOENT', 'ENOTDIR', 'ELOOP'];
/** How often a path is looked up again. */
const MOST_TRIES = 1000;
const EAGAIN = errnoNumber('EAGAIN');

/** Looks at the tree below `directory`, a path of the host. Throws SyscallError. */
export function viewRoot(directory: string): RootView {
  return viewFd(syscall('openat', -100, directory, O.PATH | O.DIRECTORY | O.CLOEXEC, 0));
}

function viewFd(root: number): RootView {
  const openPath = (path: string, flags: number): OwnedFd | undefined => {
    const open = openInRoot(root, path, flags);
    for (let tries = 1; ; tries++) {
      // EAGAIN: a rename or mount anywhere on the machine while a `..` was resolved, see openat2(2).
      const fd = perform(allowing(open, ...NOTHING_THERE, ...(tries < MOST_TRIES ? ['EAGAIN'] : [])));
      if (fd >= 0) return owned(fd);
      if (fd !== -EAGAIN) return undefined;
    }
  };
  return {
    ...owned(root),
    open: path => openPath(path, O.PATH),
    has(path) {
      using file = openPath(path, O.PATH);
      return file !== undefined;
    },
    status(path) {
      using file = openPath(path, O.PATH);
      return file && fileStatus(file.fd);
    },
    canonicalPath(path) {
      using file = openPath(path, O.PATH);
      return file && readLink(`/proc/self/fd/${file.fd}`);
    },
    readText(path) {
      using file = openPath(path, O.PATH);
      if (!file) return undefined;
      checkReadable(path, fileStatus(file.fd));
      // Only now that it has proved to be a regular file is it opened for reading; the link names this very inode.
      using readable = owned(
        syscall('openat', -100, `/proc/self/fd/${file.fd}`, O.RDONLY | O.NONBLOCK | O.NOCTTY | O.CLOEXEC, 0),
      );
      return textIn(readable.fd);
    },
    readLink(path) {
      const { parent, name } = splitPath(path);
      using directory = openPath(parent, O.PATH | O.DIRECTORY);
      if (!directory) return undefined;
      const { call: read, target } = readLinkIn(directory.fd, name);
      // EINVAL: there is something, but no symlink.
      const length = perform(allowing(read, ...NOTHING_THERE, 'EINVAL'));
      return length < 0 ? undefined : target(length);
    },
  };
}

/** Throws an Error for what is no configuration. */
export function checkReadable(path: string, { mode, size }: FileStatus): void {
  if (fileType(mode) !== S.IFREG)
    throw new Error(`reading ${path} in the container: it is ${typeName(mode)}, not a regular file`);
  if (size > LARGEST_FILE) throw new Error(`reading ${path} in the container: it is too large (${size} bytes)`);
}

export const textIn = (fd: number): string => readAll(fd, LARGEST_FILE).toString();

/** Looks at the file system of a running container, by any process in it. Throws SyscallError. */
export const containerView = (pid: number): RootView => viewRoot(`/proc/${pid}/root`);
