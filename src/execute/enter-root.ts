import { type Argument, allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, MNT_DETACH, O } from '../../syscalls/constants.ts';
import { attachMount, cloneTree, type Fd } from '../../syscalls/mount.ts';
import { dieWithParent, setGid, setGroups, setUid, setUmask } from '../../syscalls/process.ts';

/** The calls by which an agent makes a detached mount its root directory, and lets go of all other mounts. */
export function enterRoot(root: Fd): Call[] {
  const rootFd = fdOf(root);
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

/** Where an agent has what it attaches before it lets go of the host's mounts. Every host has this directory. */
export const BESIDE = '/dev';

/**
 * The calls by which an agent makes a detached mount its root directory while the host's mounts stay, where it can't reach
 * them any more: for one that follows it into a user namespace, and needs to see all of the API file systems at the paths
 * `seen`. So they are mounted once more, without what may hide parts of them.
 */
export function enterRootBeside(root: Fd, seen: readonly string[]): Call[] {
  const attachAt = (path: string, mount: Fd): Call[] => {
    const place = call('openat', AT.FDCWD, path, O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
    return [place, attachMount(mount, place), ...[place, mount].map(fd => call('close', fdOf(fd)))];
  };
  return [
    ...seen.flatMap(path => {
      const copy = cloneTree(AT.FDCWD, path, { recursive: false });
      return [copy, ...attachAt(path, copy)];
    }),
    ...attachAt(BESIDE, root),
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
    // In a namespace of an ordinary user's with one group they can't be given up: user_namespaces(7).
    allowing(setGroups([]), 'EPERM'),
    setGid(0),
    setUid(0),
    dieWithParent,
    setUmask(0),
    call('unshare', CLONE.NEWNS),
    root,
    ...mounts,
    ...enterRoot(root),
  ];
}

const fdOf = (fd: Fd): Argument => (typeof fd === 'number' ? fd : resultOf(fd));
