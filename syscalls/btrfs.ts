/** Subvolumes of btrfs: linux/btrfs.h, linux/btrfs_tree.h, linux/magic.h. */
import { allowing, call } from './call.ts';
import { fileStatus } from './file.ts';
import { perform } from './syscall.ts';

const BTRFS_SUPER_MAGIC = 0x9123683e;
/** Each subvolume's root directory has this inode number: BTRFS_FIRST_FREE_OBJECTID. */
const ROOT_INODE = 256n;

const BTRFS_IOC = {
  SUBVOL_CREATE: 0x5000940e,
  SNAP_DESTROY: 0x5000940f,
  SNAP_CREATE_V2: 0x50009417,
  SUBVOL_SETFLAGS: 0x4008941a,
  GET_SUBVOL_ROOTREF: 0xd000943d,
  INO_LOOKUP_USER: 0xd000943e,
} as const;
const BTRFS_SUBVOL_RDONLY = 2n;

/** struct btrfs_ioctl_vol_args: a descriptor and a name. */
const VOL_ARGS = { fd: 0, name: 8, size: 4096 } as const;
/** struct btrfs_ioctl_vol_args_v2: also a transaction id, flags, and words without use. */
const VOL_ARGS_V2 = { fd: 0, flags: 16, name: 56, size: 4096 } as const;

/** struct btrfs_ioctl_get_subvol_rootref_args: the lowest id asked for, pairs of ids, how many there are. */
const ROOTREF = { pairs: 8, pairSize: 16, count: 4088, size: 4096 } as const;
/** struct btrfs_ioctl_ino_lookup_user_args: two ids, a name, and the path of its directory. */
const LOOKUP = { directory: 0, subvolume: 8, name: 16, path: 272, size: 4096 } as const;

/** A name's bytes with their NUL; a string, or what getdents64(2) gave. */
type Name = string | Uint8Array;

function volArgs(layout: { fd: number; name: number; size: number }, fd: number, name: Name): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  new DataView(bytes.buffer).setBigInt64(layout.fd, BigInt(fd), true);
  bytes.set(typeof name === 'string' ? new TextEncoder().encode(name) : name, layout.name);
  return bytes;
}

/** True if a directory is the root of a subvolume. Throws SyscallError. */
export function isSubvolume(fd: number): boolean {
  return fileStatus(fd).inode === ROOT_INODE && fileSystemType(fd) === BTRFS_SUPER_MAGIC;
}

/** The magic number of the file system that a descriptor is on, linux/magic.h. Throws SyscallError. */
function fileSystemType(fd: number): number {
  // struct statfs of 64-bit machines: the type is the first of its words.
  const words = new BigInt64Array(15);
  perform(call('fstatfs', fd, { out: new Uint8Array(words.buffer) }));
  return Number(words[0]);
}

/** Makes a writable snapshot of the subvolume `source` as `name` in the directory `at`. Throws SyscallError. */
export function snapshot(source: number, at: number, name: Name): void {
  perform(call('ioctl', at, BTRFS_IOC.SNAP_CREATE_V2, volArgs(VOL_ARGS_V2, source, name)));
}

/** Makes an empty subvolume `name` in the directory `at`. False where there can be none. Throws SyscallError. */
export function createSubvolume(at: number, name: Name): boolean {
  const create = call('ioctl', at, BTRFS_IOC.SUBVOL_CREATE, volArgs(VOL_ARGS, 0, name));
  return perform(allowing(create, 'ENOTTY', 'ENOTSUP', 'EINVAL')) >= 0;
}

/**
 * Removes the subvolume `name` in the directory `at`, with all that is in it. False if it has subvolumes in it. Throws
 * SyscallError.
 */
export function destroySubvolume(at: number, name: Name): boolean {
  const destroy = call('ioctl', at, BTRFS_IOC.SNAP_DESTROY, volArgs(VOL_ARGS, 0, name));
  return perform(allowing(destroy, 'ENOTEMPTY')) >= 0;
}

/** Makes a subvolume read-only, or writable. Throws SyscallError. */
export function setReadOnly(fd: number, readOnly: boolean): void {
  const flags = new BigUint64Array([readOnly ? BTRFS_SUBVOL_RDONLY : 0n]);
  perform(call('ioctl', fd, BTRFS_IOC.SUBVOL_SETFLAGS, new Uint8Array(flags.buffer)));
}

/** Paths of the subvolumes right below a subvolume, from its root directory on. Throws SyscallError. */
export function subvolumesBelow(fd: number): { directory: string; name: string }[] {
  const found: { directory: string; name: string }[] = [];
  for (let lowest = 0n; ; ) {
    const list = new DataView(new ArrayBuffer(ROOTREF.size));
    list.setBigUint64(0, lowest, true);
    const ask = call('ioctl', fd, BTRFS_IOC.GET_SUBVOL_ROOTREF, { out: new Uint8Array(list.buffer) });
    const isComplete = perform(allowing(ask, 'EOVERFLOW')) >= 0;
    for (let i = 0; i < list.getUint8(ROOTREF.count); i++) {
      const at = ROOTREF.pairs + i * ROOTREF.pairSize;
      const subvolume = list.getBigUint64(at, true);
      found.push(lookUp(fd, subvolume, list.getBigUint64(at + 8, true)));
      lowest = subvolume + 1n;
    }
    if (isComplete) return found;
  }
}

function lookUp(fd: number, subvolume: bigint, directory: bigint): { directory: string; name: string } {
  const bytes = new Uint8Array(LOOKUP.size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(LOOKUP.directory, directory, true);
  view.setBigUint64(LOOKUP.subvolume, subvolume, true);
  perform(call('ioctl', fd, BTRFS_IOC.INO_LOOKUP_USER, { out: bytes }));
  const text = (at: number) => Buffer.from(bytes.subarray(at, bytes.indexOf(0, at))).toString();
  return { directory: text(LOOKUP.path), name: text(LOOKUP.name) };
}
