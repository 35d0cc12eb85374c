/** Owner, extended attributes (with them ACLs and capabilities), permissions and times of files. */
import { allowing, type Call, call } from '../../syscalls/call.ts';
import { AT, S } from '../../syscalls/constants.ts';
import { type FileStatus, fileType } from '../../syscalls/file.ts';
import { perform } from '../../syscalls/syscall.ts';

/** What a descriptor refers to, O_PATH or not, as a path for calls that don't take every descriptor. */
export const byDescriptor = (fd: number): string => `/proc/self/fd/${fd}`;

/**
 * Gives the file behind `to` what the one behind `from` has, whose status is given. Extended attributes are left out
 * where the file system of the one or the other has none. Throws SyscallError.
 */
export function copyAttributes(from: number, { mode, uid, gid, times }: FileStatus, to: number): void {
  const path = byDescriptor(to);
  perform(call('fchownat', to, '', uid, gid, AT.EMPTY_PATH));
  copyExtendedAttributes(byDescriptor(from), path);
  // After the owner, whose change takes set-user-ID away. A symlink's permissions can't be set, and mean nothing.
  if (fileType(mode) !== S.IFLNK) perform(call('fchmodat', AT.FDCWD, path, mode & 0o7777));
  perform(call('utimensat', AT.FDCWD, path, times, 0));
}

/** How the kernel's overlays mark what is in their layers: of no meaning, or of a wrong one, anywhere else. */
const OVERLAY = 'trusted.overlay.';

export const hasExtendedAttributes = (fd: number): boolean => listOf(byDescriptor(fd)).length > 0;

/** The value of an extended attribute; nothing where there is none. Throws SyscallError. */
export const extendedAttribute = (path: string, name: string): Uint8Array =>
  read(out => call('getxattr', path, name, { out }, out.length));

const listOf = (path: string) => read(out => call('listxattr', path, { out }, out.length));

function copyExtendedAttributes(from: string, to: string): void {
  const list = listOf(from);
  // A name's bytes, whatever they are.
  for (const name of Buffer.from(list).toString('latin1').split('\0')) {
    if (name === '' || name.startsWith(OVERLAY)) continue;
    const key = Buffer.from(`${name}\0`, 'latin1');
    const value = read(out => call('getxattr', from, key, { out }, out.length));
    perform(allowing(call('setxattr', to, key, value, value.length, 0), 'ENOTSUP'));
  }
}

/** linux/limits.h: XATTR_LIST_MAX, XATTR_SIZE_MAX */
const LARGEST = 65536;
/** Enough for nearly all. */
const USUAL = 1024;
const usual = new Uint8Array(USUAL);
const ERANGE = 34;

/** What a call puts into a buffer: nothing where a file system has no attributes, or when one is gone meanwhile. */
function read(make: (out: Uint8Array) => Call): Uint8Array {
  const allowed = ['ENOTSUP', 'ENODATA', 'ERANGE'];
  let buffer = usual;
  let size = perform(allowing(make(buffer), ...allowed));
  if (size === -ERANGE) {
    buffer = new Uint8Array(LARGEST);
    size = perform(allowing(make(buffer), ...allowed));
  }
  return buffer.slice(0, Math.max(size, 0));
}
