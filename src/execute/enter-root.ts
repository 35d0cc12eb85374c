import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, MNT_DETACH, O } from '../../syscalls/constants.ts';
import { attachMount, cloneTree, type Fd, type MountOption, newMount } from '../../syscalls/mount.ts';
import { dieWithParent, setGid, setGroups, setUid } from '../../syscalls/process.ts';

/** The calls by which an agent makes a detached mount its root directory, and lets go of all other mounts. */
export function enterRoot(root: Fd): Call[] {
  const rootFd = typeof root === 'number' ? root : resultOf(root);
  const top = call('openat', AT.FDCWD, '/', O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  return [
    // On top of the old root: no mount point in the host's tree is needed, nor left.
    top,
    attachMount(root, top),
    call('fchdir', rootFd),
    call('pivot_root', '.', '.'),
    // The old root now lies on top of the new one: pivot_root(2), "pivot_root(".", ".")".
    call('umount2', '.', MNT_DETACH),
    call('chdir', '/'),
    call('close', rootFd),
    call('close', resultOf(top)),
  ];
}

/** Where the container's root is, while API file systems of the host stay beside it. */
const BESIDE = '/root';
const BASE_OPTIONS: readonly MountOption[] = [{ key: 'mode', value: '0755' }];

/**
 * The same, but the API file systems at the paths `keeping` stay mounted, where the container's root directory can't
 * reach them. Mounts below them don't: those could hide parts.
 */
export function enterRootBeside(root: Fd, keeping: readonly string[]): Call[] {
  const copies = keeping.map(path => cloneTree(AT.FDCWD, path, { recursive: false }));
  const base = newMount('tmpfs', BASE_OPTIONS, 0);
  const made = base.at(-1)!;
  const attach = (mount: Fd, path: string): Call[] => {
    const place = call('openat', AT.FDCWD, path, O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
    return [place, attachMount(mount, place), call('close', resultOf(place))];
  };
  return [
    ...copies,
    ...base,
    ...[...keeping, BESIDE].map(path => call('mkdirat', resultOf(made), path.slice(1), 0o755)),
    ...enterRoot(made),
    ...copies.flatMap((copy, i) => [...attach(copy, keeping[i]!), call('close', resultOf(copy))]),
    ...attach(root, BESIDE),
    ...(typeof root === 'number' ? [call('close', root)] : []),
    call('close', resultOf(base[0])),
    call('chdir', BESIDE),
    call('chroot', '.'),
  ];
}

/**
 * The calls by which an agent in a user namespace, in the mount namespace of one that has done that, becomes root, takes
 * a copy of it and makes the container's root its own. The calls of `mounts` come when the API file systems can still be
 * seen.
 */
export function followBeside(mounts: readonly Call[]): Call[] {
  // What the kernel locks in the copy can't become a root directory; a copy of that can.
  const root = cloneTree(AT.FDCWD, BESIDE, { recursive: true });
  return [
    setGroups([]),
    setGid(0),
    setUid(0),
    dieWithParent,
    call('unshare', CLONE.NEWNS),
    ...mounts,
    root,
    ...enterRoot(root),
  ];
}
