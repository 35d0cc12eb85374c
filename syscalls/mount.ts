/** Mounts by descriptor: open_tree(2), fsopen(2), fsmount(2), mount_setattr(2), move_mount(2). All are data. */
import { type Argument, type Call, call, resultOf } from './call.ts';
import {
  AT,
  FSCONFIG,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MNT_DETACH,
  MOVE_MOUNT,
  MS,
  OPEN_TREE,
  UMOUNT_NOFOLLOW,
} from './constants.ts';

/** A descriptor: a number, or what an earlier call of the batch returned. */
export type Fd = number | Call;
export const fdOf = (fd: Fd): Argument => (typeof fd === 'number' ? fd : resultOf(fd));

/** A detached copy of the mount tree at `path` below `at`; an empty path means `at` itself. */
export const cloneTree = (at: Fd, path: string, options: { recursive: boolean }): Call =>
  call(
    'open_tree',
    fdOf(at),
    path,
    OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC | (path === '' ? AT.EMPTY_PATH : 0) | (options.recursive ? AT.RECURSIVE : 0),
  );

interface MountChange {
  /** MOUNT_ATTR bits. */
  set?: number;
  clear?: number;
  /** MS.SLAVE and its like. */
  propagation?: number;
  /** Descriptor of the user namespace that MOUNT_ATTR.IDMAP is about. */
  userNamespace?: number;
}

/** struct mount_attr, linux/mount.h: what to set, what to clear, propagation, user namespace; each a word. */
function mountAttr(change: MountChange): Uint8Array {
  const words = new Uint32Array(8);
  words[0] = change.set ?? 0;
  words[2] = change.clear ?? 0;
  words[4] = change.propagation ?? 0;
  words[6] = change.userNamespace ?? 0;
  return new Uint8Array(words.buffer);
}

/** Changes a mount's attributes or propagation, and with `recursive` those below it. */
export function setMountAttributes(mount: Fd, change: MountChange & { recursive?: boolean }): Call {
  const attr = mountAttr(change);
  const flags = AT.EMPTY_PATH | (change.recursive ? AT.RECURSIVE : 0);
  return call('mount_setattr', fdOf(mount), '', flags, attr, attr.length);
}

/** Attaches a detached mount to what `target` refers to. */
export const attachMount = (mount: Fd, target: Fd): Call =>
  call('move_mount', fdOf(mount), '', fdOf(target), '', MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH);

/**
 * The calls that make a new, detached mount of a file system; the last one's result is its descriptor.
 * `options` are fsconfig strings (a value) or flags (no value); `attributes` are MOUNT_ATTR bits.
 */
export function newMount(type: string, options: readonly MountOption[], attributes: number): [...Call[], Call] {
  const context = call('fsopen', type, FSOPEN_CLOEXEC);
  // The source is what mountinfo shows in front of a file system without a device.
  const configure = [{ key: 'source', value: type }, ...options].map(({ key, value }: MountOption) =>
    value === undefined
      ? call('fsconfig', resultOf(context), FSCONFIG.SET_FLAG, key, null, 0)
      : call('fsconfig', resultOf(context), FSCONFIG.SET_STRING, key, value, 0),
  );
  return [
    context,
    ...configure,
    call('fsconfig', resultOf(context), FSCONFIG.CMD_CREATE, null, null, 0),
    call('fsmount', resultOf(context), FSMOUNT_CLOEXEC, attributes),
  ];
}

export interface MountOption {
  key: string;
  value?: string;
}

/** Makes all mounts of this mount namespace slaves: the host's later mounts come in, none go out. */
export const makeAllSlaves: Call = call('mount', null, '/', null, MS.REC | MS.SLAVE, null);

/** Makes all mounts of this mount namespace known to namespaces that are made from it: what is mounted later shows there. */
export const makeAllShared: Call = call('mount', null, '/', null, MS.REC | MS.SHARED, null);

/** Takes a mount away at once, with those below it; gone for good when its last user is. */
export const detachMount = (path: string): Call => call('umount2', path, MNT_DETACH | UMOUNT_NOFOLLOW);
