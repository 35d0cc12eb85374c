/** What is in a directory: getdents64(2). Names are bytes, for a file system knows no character set. */
import { call } from './call.ts';
import { perform } from './syscall.ts';

/** An entry of a directory. */
export interface Entry {
  /** The name as the kernel takes it, with the NUL at its end. */
  name: Uint8Array;
  /** DT_DIR and its like, or DT_UNKNOWN where the file system doesn't tell. */
  type: number;
}

/** linux/fs_types.h */
export const DT = { UNKNOWN: 0, DIR: 4, REG: 8, LNK: 10 } as const;

/** struct linux_dirent64, linux/dirent.h: inode, offset, length of the record, type, name. */
export const DIRENT = { length: 16, type: 18, name: 19 } as const;
const BUFFER_SIZE = 32768;

/** The next entries of an open directory, without `.` and `..`; undefined at its end. Throws SyscallError. */
export function nextEntries(fd: number): Entry[] | undefined {
  const bytes = new Uint8Array(BUFFER_SIZE);
  const size = perform(call('getdents64', fd, { out: bytes }, bytes.length));
  if (size === 0) return undefined;
  const view = new DataView(bytes.buffer);
  const entries: Entry[] = [];
  for (let at = 0; at < size; at += view.getUint16(at + DIRENT.length, true)) {
    const start = at + DIRENT.name;
    const name = bytes.subarray(start, bytes.indexOf(0, start) + 1);
    if (!isDots(bytes, start)) entries.push({ name, type: bytes[at + DIRENT.type]! });
  }
  return entries;
}

/** All entries of a directory that was opened just now. Throws SyscallError. */
export function allEntries(fd: number): Entry[] {
  const all: Entry[] = [];
  for (;;) {
    const some = nextEntries(fd);
    if (!some) return all;
    all.push(...some);
  }
}

const DOT = 0x2e;
/** Whether the name at an offset is `.` or `..` */
export const isDots = (bytes: Uint8Array, at: number): boolean =>
  bytes[at] === DOT && (bytes[at + 1] === 0 || (bytes[at + 1] === DOT && bytes[at + 2] === 0));

/** A name to be read by people. */
export const nameText = (name: Uint8Array): string => Buffer.from(name.subarray(0, -1)).toString();
