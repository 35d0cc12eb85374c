/**
 * Files of the host by path, straight through system calls: the module node:fs would cost two milliseconds at start,
 * as much as a container.
 */
import { allowing, call } from '../syscalls/call.ts';
import { AT, O, S } from '../syscalls/constants.ts';
import { owned } from '../syscalls/fd.ts';
import { type FileStatus, fileType, readAll, readLinkIn, statusOfPath } from '../syscalls/file.ts';
import { perform, syscall } from '../syscalls/syscall.ts';

/** Files that are read whole are configuration and lists of the kernel's. */
const LARGEST_FILE = 16 << 20;

/** Errors that mean that a path leads nowhere. */
const NOTHING_THERE = ['ENOENT', 'ENOTDIR'];

/** Status of what a path leads to; undefined when there is nothing. Throws SyscallError. */
export function hostStatus(path: string): FileStatus | undefined {
  const { call: look, status } = statusOfPath(path);
  return perform(allowing(look, ...NOTHING_THERE)) < 0 ? undefined : status();
}

/** Whether a path leads to something. Throws SyscallError. */
export const hostHas = (path: string): boolean =>
  perform(allowing(call('faccessat', AT.FDCWD, path, F_OK), ...NOTHING_THERE)) === 0;
export const isDirectory = ({ mode }: FileStatus): boolean => fileType(mode) === S.IFDIR;

const may = (path: string, how: number): boolean =>
  perform(allowing(call('faccessat', AT.FDCWD, path, how), 'EACCES', 'EROFS', ...NOTHING_THERE)) === 0;
/** Whether this process may read a file. */
export const mayRead = (path: string): boolean => may(path, R_OK);
/** Whether this process may list a directory and use what is in it. */
export const mayList = (path: string): boolean => may(path, R_OK | X_OK);
/** Whether this process may write to a file or directory. */
export const mayWrite = (path: string): boolean => may(path, W_OK);
/** unistd.h */
const F_OK = 0;
const R_OK = 4;
const W_OK = 2;
const X_OK = 1;

/** A path without symlinks, `.` and `..`; undefined when its last name is missing. Throws SyscallError. */
export function canonicalPath(path: string): string | undefined {
  const fd = perform(allowing(call('openat', AT.FDCWD, path, O.PATH | O.CLOEXEC, 0), 'ENOENT'));
  if (fd < 0) return undefined;
  using opened = owned(fd);
  return readLink(`/proc/self/fd/${opened.fd}`);
}

/** A symlink's target; undefined when there is none. Throws SyscallError. */
export function readLink(path: string): string | undefined {
  const { call: read, target } = readLinkIn(AT.FDCWD, path);
  const length = perform(allowing(read, ...NOTHING_THERE, 'EINVAL'));
  return length < 0 ? undefined : target(length);
}

/** A file's bytes. Throws SyscallError. */
export function readHostFile(path: string): Buffer {
  using file = owned(perform(openForReading(path)));
  return readAll(file.fd, LARGEST_FILE);
}

/** A file's bytes; undefined when there is none. Throws SyscallError. */
export function readIfThere(path: string): Buffer | undefined {
  const fd = perform(allowing(openForReading(path), ...NOTHING_THERE));
  if (fd < 0) return undefined;
  using file = owned(fd);
  return readAll(file.fd, LARGEST_FILE);
}

/** Writes a file that is there in one call, as those of /proc and of cgroups want it. Throws SyscallError. */
export function writeHostFile(path: string, text: string): void {
  using file = owned(syscall('openat', AT.FDCWD, path, O.WRONLY | O.CLOEXEC, 0));
  const bytes = Buffer.from(text);
  syscall('write', file.fd, bytes, bytes.length);
}

const openForReading = (path: string) =>
  call('openat', AT.FDCWD, path, O.RDONLY | O.NONBLOCK | O.NOCTTY | O.CLOEXEC, 0);

/** The host's name, uname(2). */
export function hostName(): string {
  // struct new_utsname, linux/utsname.h: six fields of 65 bytes; the second is the node name.
  const names = new Uint8Array(6 * 65);
  syscall('uname', { out: names });
  const name = Buffer.from(names.buffer, 65, 65);
  return name.subarray(0, name.indexOf(0)).toString();
}
