/**
 * Copies directory trees that nobody trusts, with all that files have. Everything goes by descriptor, so that a tree
 * that is changed meanwhile leads nowhere else.
 */
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O, S } from '../../syscalls/constants.ts';
import { allEntries, nameText } from '../../syscalls/directory.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { deviceNumber, type FileStatus, fileStatus, fileType, openBelow } from '../../syscalls/file.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import { randomDigits } from '../random-digits.ts';
import { byDescriptor, copyAttributes } from './attributes.ts';
import { type Ability, copyData } from './copy-data.ts';
import { removeTree } from './remove.ts';

/** What tells a file from all others. */
export type Identity = Pick<FileStatus, 'inode' | 'deviceMajor' | 'deviceMinor'>;

/** What was copied so far. */
export interface Copied {
  files: number;
  bytes: number;
}

interface Copying {
  /** A directory in the copy for a name more of each file that has several, by which it is found again. */
  links: number;
  except: Identity;
  can: Ability;
  copied: Copied;
}

/** A file could not be copied. */
export class CopyError extends Error {
  /** Its path in the tree. */
  path: string;

  constructor(name: string, cause: unknown) {
    super((cause as Error).message, { cause });
    this.path = cause instanceof CopyError ? `${name}/${cause.path}` : name;
  }
}

/**
 * Copies what is in the directory `from` to the empty directory `to`, and the attributes of the directory itself. The
 * directory `except` is left out, such as the one that the copy is in. Yields now and then what was copied so far.
 * Throws CopyError, or SyscallError for the directories themselves.
 */
export function* copyTree(from: number, to: number, except: Identity): Generator<Copied> {
  const linksName = `.#links-${randomDigits()}`;
  perform(call('mkdirat', to, linksName, 0o700));
  {
    using links = owned(perform(openBelow(to, linksName, O.RDONLY | O.DIRECTORY)));
    const can = { reflink: true, copyRange: true };
    yield* copyContents(from, to, { links: links.fd, except, can, copied: { files: 0, bytes: 0 } });
  }
  removeTree(to, linksName);
  copyAttributes(from, fileStatus(from), to);
}

function* copyContents(from: number, to: number, copying: Copying): Generator<Copied> {
  for (const { name } of allEntries(from)) {
    try {
      using source = openIfThere(from, name);
      if (source) yield* copyEntry(source.fd, name, to, copying);
      yield copying.copied;
    } catch (error) {
      throw error instanceof SyscallError || error instanceof CopyError ? new CopyError(nameText(name), error) : error;
    }
  }
}

/** It may have been removed meanwhile. */
function openIfThere(at: number, name: Uint8Array): OwnedFd | undefined {
  const fd = perform(allowing(openBelow(at, name, O.PATH), 'ENOENT'));
  return fd < 0 ? undefined : owned(fd);
}

/** Copies the file behind `source`, which is O_PATH, to `name` in the directory `to`. */
function* copyEntry(source: number, name: Uint8Array, to: number, copying: Copying): Generator<Copied> {
  const status = fileStatus(source);
  const type = fileType(status.mode);
  copying.copied.files++;
  if (type === S.IFDIR) {
    if (!isSame(status, copying.except)) yield* copyDirectory(source, status, name, to, copying);
    return;
  }
  const link = status.links > 1 ? linkName(status) : undefined;
  // Copied before, under another name.
  if (link && perform(allowing(call('linkat', copying.links, link, to, name, 0), 'ENOENT')) >= 0) return;
  if (type === S.IFREG) yield* copyFile(source, status, name, to, copying);
  else copySpecial(source, status, name, to);
  if (link) perform(call('linkat', to, name, copying.links, link, 0));
}

function* copyDirectory(
  source: number,
  status: FileStatus,
  name: Uint8Array,
  to: number,
  copying: Copying,
): Generator<Copied> {
  using from = owned(perform(openBelow(source, '.', O.RDONLY | O.DIRECTORY | O.NOATIME)));
  perform(call('mkdirat', to, name, 0o700));
  using copy = owned(perform(openBelow(to, name, O.RDONLY | O.DIRECTORY)));
  yield* copyContents(from.fd, copy.fd, copying);
  // Last, for what is put in it changes its times.
  copyAttributes(source, status, copy.fd);
}

function* copyFile(
  source: number,
  status: FileStatus,
  name: Uint8Array,
  to: number,
  { can, copied }: Copying,
): Generator<Copied> {
  // Opened only now that it has proved to be a regular file; the link names this very inode.
  const flags = O.RDONLY | O.NONBLOCK | O.NOATIME | O.CLOEXEC;
  using from = owned(perform(call('openat', AT.FDCWD, byDescriptor(source), flags, 0)));
  using copy = owned(perform(openBelow(to, name, O.WRONLY | O.CREAT | O.EXCL, 0o600)));
  for (const bytes of copyData(from.fd, copy.fd, status.size, can)) {
    copied.bytes += bytes;
    yield copied;
  }
  copyAttributes(from.fd, status, copy.fd);
}

/** A symlink, a device node, a fifo or a socket. */
function copySpecial(source: number, status: FileStatus, name: Uint8Array, to: number): void {
  if (fileType(status.mode) === S.IFLNK) perform(call('symlinkat', linkTarget(source), to, name));
  else {
    const device = deviceNumber(status.rdevMajor, status.rdevMinor);
    perform(call('mknodat', to, name, fileType(status.mode) | 0o600, device));
  }
  using copy = owned(perform(openBelow(to, name, O.PATH)));
  copyAttributes(source, status, copy.fd);
}

/** linux/limits.h: PATH_MAX */
const LONGEST = 4096;
const target = new Uint8Array(LONGEST);

/** A symlink's target as bytes with a NUL at their end. */
function linkTarget(fd: number): Uint8Array {
  const length = perform(call('readlinkat', fd, '', { out: target }, LONGEST - 1));
  target[length] = 0;
  return target.slice(0, length + 1);
}

const linkName = ({ deviceMajor, deviceMinor, inode }: FileStatus): string => `${deviceMajor}:${deviceMinor}:${inode}`;

const isSame = (status: FileStatus, { inode, deviceMajor, deviceMinor }: Identity): boolean =>
  status.inode === inode && status.deviceMajor === deviceMajor && status.deviceMinor === deviceMinor;
