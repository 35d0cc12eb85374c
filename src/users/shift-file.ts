/**
 * Shifts files one by one that have more than an owner: set-user-ID and set-group-ID bits and capabilities, which the
 * kernel takes away when the owner changes, and ACLs, which have ids in them.
 */
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O, S } from '../../syscalls/constants.ts';
import { owned } from '../../syscalls/fd.ts';
import { type FileStatus, fileStatus, fileType, openBelow } from '../../syscalls/file.ts';
import { perform } from '../../syscalls/syscall.ts';
import { byDescriptor, extendedAttribute } from '../trees/attributes.ts';
import { shiftedId } from './range.ts';
import { ACL_ATTRIBUTES, CAPABILITY_ATTRIBUTE, shiftAcl, shiftCapability } from './shifted-attributes.ts';

/** What a file that is being shifted had: its mode as two bytes, then its capabilities. For when we are killed meanwhile. */
const NOTE = 'trusted.nspawn.shifting';

/** Names that make a file one of these. */
export const ATTRIBUTES_TO_SHIFT: readonly string[] = [...ACL_ATTRIBUTES, CAPABILITY_ATTRIBUTE, NOTE];

/** Bits that a change of the owner takes away: chown(2). */
export const LOST_BITS = 0o6000;

/**
 * Shifts what is called `name` in the directory `at`; no link is followed. The end is the same if it is done again, also
 * if the first time was broken off anywhere. Throws SyscallError, or an Error for an ACL that makes no sense.
 */
export function shiftFile(at: number, name: string | Uint8Array, base: number): void {
  using file = owned(perform(openBelow(at, name, O.PATH)));
  shiftOpened(file.fd, fileStatus(file.fd), base);
}

/** The same for what is open, as O_PATH or otherwise, and has this status. */
export function shiftOpened(fd: number, status: FileStatus, base: number): void {
  const path = byDescriptor(fd);
  const [uid, gid] = [shiftedId(status.uid, base), shiftedId(status.gid, base)];
  const noted = readNote(path);
  const { mode, capability } = noted ?? {
    mode: status.mode & 0o7777,
    capability: extendedAttribute(path, CAPABILITY_ATTRIBUTE),
  };
  const loses = fileType(status.mode) === S.IFREG && ((mode & LOST_BITS) !== 0 || capability.length > 0);
  // Before the owner, which tells of the root directory that all is done.
  for (const attribute of ACL_ATTRIBUTES) {
    const acl = extendedAttribute(path, attribute);
    if (acl.length > 0) setAttribute(path, attribute, shiftAcl(acl, base));
  }
  if (status.uid !== uid || status.gid !== gid) {
    if (loses && !noted) writeNote(path, mode, capability);
    perform(call('fchownat', fd, '', uid, gid, AT.EMPTY_PATH));
  }
  if (!loses) return;
  perform(call('fchmodat', AT.FDCWD, path, mode));
  if (capability.length > 0) setAttribute(path, CAPABILITY_ATTRIBUTE, shiftCapability(capability, base));
  // It is on disk before the note is gone, as both are changes of the same inode.
  perform(allowing(call('removexattr', path, NOTE), 'ENODATA', 'ENOTSUP'));
}

function setAttribute(path: string, name: string, value: Uint8Array): void {
  perform(call('setxattr', path, name, value, value.length, 0));
}

function readNote(path: string): { mode: number; capability: Uint8Array } | undefined {
  const note = extendedAttribute(path, NOTE);
  return note.length < 2 ? undefined : { mode: note[0]! | (note[1]! << 8), capability: note.subarray(2) };
}

/** Where there is no place for a note, a file is without its bits if we are killed right now. */
function writeNote(path: string, mode: number, capability: Uint8Array): void {
  const note = new Uint8Array([mode & 0xff, mode >> 8, ...capability]);
  perform(allowing(call('setxattr', path, NOTE, note, note.length, 0), 'ENOTSUP', 'ENOSPC'));
}
