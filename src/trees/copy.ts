/**
 * Copies directory trees that nobody trusts, with all that files have. Everything goes by descriptor, so that a tree
 * that is changed meanwhile leads nowhere else.
 */
import { allowing, call } from '../../syscalls/call.ts';
import { O, S } from '../../syscalls/constants.ts';
import { allEntries, nameText } from '../../syscalls/directory.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { deviceNumber, type FileStatus, fileStatus, fileType, openBelow } from '../../syscalls/file.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import { randomDigits } from '../random-digits.ts';
import { copyAttributes, hasExtendedAttributes } from './attributes.ts';
import { type Ability, copyData, openRegular } from './copy-data.ts';
import { CopyError, startWorkers, type Workers } from './copy-workers.ts';
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
  workers: Workers;
  /** Names from the top of the tree on. */
  path: string[];
  copied: Copied;
}

/**
 * Copies what is in the directory `from` to the empty directory `to`, and the attributes of the directory itself. The
 * directory `except` is left out, such as the one that the copy is in. Yields now and then what was copied so far.
 * Throws CopyError, or SyscallError for the directories themselves.
 */
export function* copyTree(from: number, to: number, except: Identity): Generator<Copied> {
  using workers = startWorkers();
  const linksName = `.#links-${randomDigits()}`;
  perform(call('mkdirat', to, linksName, 0o700));
  {
    using links = owned(perform(openBelow(to, linksName, O.RDONLY | O.DIRECTORY)));
    const can = { reflink: true, copyRange: true };
    const copied = { files: 0, bytes: 0 };
    yield* copyContents(from, to, { links: links.fd, except, can, copied, workers, path: [] });
    workers.finish();
  }
  removeTree(to, linksName);
  copyAttributes(from, fileStatus(from), to);
}

function* copyContents(from: number, to: number, copying: Copying): Generator<Copied> {
  for (const { name } of allEntries(from)) {
    copying.path.push(nameText(name));
    try {
      const source = openIfThere(from, name);
      if (source) yield* copyEntry(source, name, to, copying);
      yield copying.copied;
    } catch (error) {
      throw error instanceof SyscallError ? new CopyError(copying.path.join('/'), error) : error;
    }
    copying.path.pop();
  }
}

/** It may have been removed meanwhile. */
function openIfThere(at: number, name: Uint8Array): OwnedFd | undefined {
  const fd = perform(allowing(openBelow(at, name, O.PATH), 'ENOENT'));
  return fd < 0 ? undefined : owned(fd);
}

/** Copies the file behind `opened`, which is O_PATH and closed then, to `name` in the directory `to`. */
function* copyEntry(opened: OwnedFd, name: Uint8Array, to: number, copying: Copying): Generator<Copied> {
  using held = new DisposableStack();
  const source = held.use(opened).fd;
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
  if (type !== S.IFREG) copySpecial(source, status, name, to);
  // Whoever has taken it over closes it.
  else if (yield* copyFile(opened, status, name, to, copying)) held.move();
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

/** True if it was handed on to a worker, with `source`. */
function* copyFile(
  source: OwnedFd,
  status: FileStatus,
  name: Uint8Array,
  to: number,
  { can, copied, workers, path }: Copying,
): Generator<Copied, boolean> {
  using held = new DisposableStack();
  const copy = held.use(owned(perform(openBelow(to, name, O.WRONLY | O.CREAT | O.EXCL, 0o600))));
  // Only once it is known that files can't share their content.
  if (!can.reflink && isPlain(status) && !hasExtendedAttributes(source.fd)) {
    held.move();
    copied.bytes += status.size;
    workers.add({ from: source, to: copy, status, path: path.join('/') });
    return true;
  }
  using from = openRegular(source.fd);
  for (const bytes of copyData(from.fd, copy.fd, status.size, can)) {
    copied.bytes += bytes;
    yield copied;
  }
  copyAttributes(from.fd, status, copy.fd);
  return false;
}

/** Whether a file has no holes, and isn't so large that others would have to wait for it. */
const isPlain = ({ size, blocks }: FileStatus): boolean => size <= LARGEST_PLAIN && blocks * 512 >= size;
const LARGEST_PLAIN = 16 << 20;

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
