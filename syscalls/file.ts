/**
 * Files by descriptor. Paths "in root" are resolved by openat2(2) so that no symlink, no `..` and no magic link of
 * /proc leads out of the tree below a directory.
 */
import { type Argument, allowing, type Call, call, resultOf } from './call.ts';
import { AT, O, RESOLVE, S, STATX } from './constants.ts';
import type { Fd } from './mount.ts';
import { perform, syscall } from './syscall.ts';

const fdOf = (fd: Fd): Argument => (typeof fd === 'number' ? fd : resultOf(fd));

/** struct open_how, linux/openat2.h: flags, mode, resolve; each a word. There are few different ones. */
function openHow(flags: number, mode: number, resolve: number): Uint8Array {
  const key = `${flags} ${mode} ${resolve}`;
  const known = openHows.get(key);
  if (known) return known;
  const how = new Uint8Array(new BigUint64Array([flags, mode, resolve].map(BigInt)).buffer);
  openHows.set(key, how);
  return how;
}
const openHows = new Map<string, Uint8Array>();
const IN_ROOT = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS;
const BELOW = RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_SYMLINKS;

/** Opens `path` with `root` as its root directory. Opening never waits, not even for a fifo. */
export function openInRoot(root: Fd, path: string, flags: number, mode = 0): Call {
  const how = openHow(flags | O.CLOEXEC | (flags & O.PATH ? 0 : O.NONBLOCK | O.NOCTTY), mode, IN_ROOT);
  return call('openat2', fdOf(root), path, how, how.length);
}

/**
 * Opens what is below a directory: no symlink is followed and no mount point crossed, but as O_PATH a symlink itself can
 * be opened. Opening never waits. `name` is a string, or bytes with their NUL.
 */
export function openBelow(at: Fd, name: string | Uint8Array, flags: number, mode = 0): Call {
  const how = openHow(flags | O.NOFOLLOW | O.CLOEXEC | (flags & O.PATH ? 0 : O.NONBLOCK | O.NOCTTY), mode, BELOW);
  return call('openat2', fdOf(at), name, how, how.length);
}

/** The directory part and the last name of an absolute path; the last name may itself be a symlink. */
export function splitPath(path: string): { parent: string; name: string } {
  const trimmed = path.replace(/\/+$/, '');
  const slash = trimmed.lastIndexOf('/');
  return { parent: trimmed.slice(0, slash) || '/', name: trimmed.slice(slash + 1) };
}

/** The calls that make directories from the root down to `path`; what exists is left as it is (mkdir -p). */
export function makeDirectories(root: Fd, path: string, mode: number): Call[] {
  const names = path.split('/').filter(Boolean);
  return names.flatMap((name, i) =>
    makeInDirectory(root, `/${names.slice(0, i).join('/')}`, at => [
      allowing(call('mkdirat', at, name, mode), 'EEXIST'),
    ]),
  );
}

/** The calls that open a directory, do something in it, and close it. The root itself needs no opening. */
export function makeInDirectory(root: Fd, directory: string, calls: (at: Argument) => Call[]): Call[] {
  if (directory === '/') return calls(fdOf(root));
  const open = openInRoot(root, directory, O.PATH | O.DIRECTORY);
  return [open, ...calls(resultOf(open)), call('close', resultOf(open))];
}

/** What statx(2) tells of a file. */
export interface FileStatus {
  /** File type and permissions, as st_mode. */
  mode: number;
  size: number;
  /** What it takes on disk, in units of 512 bytes. */
  blocks: number;
  /** How many names it has. */
  links: number;
  uid: number;
  gid: number;
  inode: bigint;
  /** Whether something is mounted there. */
  isMountPoint: boolean;
  deviceMajor: number;
  deviceMinor: number;
  /** Of a device node: what it stands for. */
  rdevMajor: number;
  rdevMinor: number;
  /** When it was last read and changed, as utimensat(2) takes it: two of struct timespec. */
  times: Uint8Array;
}

/** Offsets in struct statx, linux/stat.h */
const STATX_OFFSETS = {
  attributes: 8,
  links: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  inode: 32,
  size: 40,
  blocks: 48,
  accessed: 64,
  modified: 112,
  rdevMajor: 128,
  rdevMinor: 132,
  devMajor: 136,
  devMinor: 140,
  total: 256,
} as const;

/** linux/stat.h: STATX_ATTR_MOUNT_ROOT */
const MOUNT_ROOT = 0x2000n;

/** A call, and what reads its answer once it has run. */
interface StatusCall {
  call: Call;
  status: () => FileStatus;
}

/** statx of what a descriptor refers to. */
export const statusOf = (fd: Fd): StatusCall => statx(fdOf(fd), '', AT.EMPTY_PATH | AT.SYMLINK_NOFOLLOW);

/** statx of what a path leads to. */
export const statusOfPath = (path: string): StatusCall => statx(AT.FDCWD, path, 0);

function statx(at: Argument, path: string, flags: number): StatusCall {
  const bytes = new Uint8Array(STATX_OFFSETS.total);
  return {
    call: call('statx', at, path, flags, STATX.BASIC_STATS, { out: bytes }),
    status() {
      const view = new DataView(bytes.buffer);
      return {
        mode: view.getUint16(STATX_OFFSETS.mode, true),
        size: Number(view.getBigUint64(STATX_OFFSETS.size, true)),
        blocks: Number(view.getBigUint64(STATX_OFFSETS.blocks, true)),
        links: view.getUint32(STATX_OFFSETS.links, true),
        uid: view.getUint32(STATX_OFFSETS.uid, true),
        gid: view.getUint32(STATX_OFFSETS.gid, true),
        isMountPoint: (view.getBigUint64(STATX_OFFSETS.attributes, true) & MOUNT_ROOT) !== 0n,
        inode: view.getBigUint64(STATX_OFFSETS.inode, true),
        deviceMajor: view.getUint32(STATX_OFFSETS.devMajor, true),
        deviceMinor: view.getUint32(STATX_OFFSETS.devMinor, true),
        rdevMajor: view.getUint32(STATX_OFFSETS.rdevMajor, true),
        rdevMinor: view.getUint32(STATX_OFFSETS.rdevMinor, true),
        times: timespecs(bytes),
      };
    },
  };
}

/** Status of what a descriptor refers to, now. Throws SyscallError. */
export function fileStatus(fd: number): FileStatus {
  const { call: look, status } = statusOf(fd);
  perform(look);
  return status();
}

/** struct statx_timestamp has 64 bits of seconds, 32 of nanoseconds and 32 of padding: a struct timespec. */
function timespecs(statx: Uint8Array): Uint8Array {
  const times = new Uint8Array(32);
  times.set(statx.subarray(STATX_OFFSETS.accessed, STATX_OFFSETS.accessed + 12));
  times.set(statx.subarray(STATX_OFFSETS.modified, STATX_OFFSETS.modified + 12), 16);
  return times;
}

export const fileType = (mode: number): number => mode & S.IFMT;

const TYPE_NAMES: readonly (readonly [number, string])[] = [
  [S.IFREG, 'a regular file'],
  [S.IFDIR, 'a directory'],
  [S.IFIFO, 'a fifo'],
  [S.IFSOCK, 'a socket'],
  [S.IFCHR, 'a character device'],
  [S.IFBLK, 'a block device'],
];
/** 'a directory', 'a fifo' …; a symlink is what is left. */
export const typeName = (mode: number): string =>
  TYPE_NAMES.find(([type]) => type === fileType(mode))?.[1] ?? 'a symlink';

/** A device number as the kernel's calls take it, linux/kdev_t.h new_encode_dev */
export const deviceNumber = (major: number, minor: number): number =>
  ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;

/** Reads a descriptor to its end. Throws SyscallError, or an Error when there are more than `limit` bytes. */
export function readAll(fd: number, limit: number): Buffer {
  const pieces: Buffer[] = [];
  let total = 0;
  page ??= Buffer.allocUnsafeSlow(PAGE);
  let buffer = page;
  for (;;) {
    const length = syscall('read', fd, { out: buffer }, buffer.length);
    if (length === 0) return Buffer.concat(pieces);
    pieces.push(Buffer.from(buffer.subarray(0, length)));
    total += length;
    if (total > limit) throw new Error(`reading a file: it has more than ${limit} bytes`);
    // Most of what is read is short, and of /proc there is seldom more than a page at a time.
    if (length === buffer.length) buffer = Buffer.allocUnsafeSlow(2 * length);
  }
}

/** Longest symlink target, linux/limits.h PATH_MAX, and the kernel's usual piece of a file of /proc. */
const PAGE = 4096;
/** What is read before it is copied: a buffer of this size takes longer to make than a call to the kernel. */
let page: Buffer | undefined;

/** readlinkat(2) of `name` in a directory. `target` is to be asked right after the call, for how long its result is. */
export function readLinkIn(at: number, name: string): { call: Call; target: (length: number) => string } {
  page ??= Buffer.allocUnsafeSlow(PAGE);
  const target = page;
  return {
    call: call('readlinkat', at, name, { out: target }, PAGE),
    target: length => target.toString('utf8', 0, length),
  };
}
