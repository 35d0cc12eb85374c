/** Opens what a container gets from its host, before the container exists. All of it ends up as descriptors. */
import { AT, FSCONFIG, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC, MOUNT_ATTR, MS, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { cloneTree, setMountAttributes } from '../../syscalls/mount.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import type { HostObject } from '../plan/steps.ts';
import type { RootView } from '../root-view.ts';

/**
 * Opens an object as a detached mount, under a number that an agent can have. `console` is the pseudo terminal's
 * slave. Throws an Error that says what is missing.
 */
export function openHostObject(object: HostObject, root: RootView, console: OwnedFd | undefined): OwnedFd {
  switch (object.kind) {
    case 'tree':
      return openTree(object, root);
    case 'scratch':
      return scratch(object.readOnly);
    case 'console':
      if (!console) throw new Error('setting up the console: there is no pseudo terminal');
      return owned(passableFd(perform(cloneTree(console.fd, '', { recursive: false }))));
  }
}

type Tree = Extract<HostObject, { kind: 'tree' }>;

function openTree(tree: Tree, root: RootView): OwnedFd {
  using source = openSource(tree, root);
  using made = new DisposableStack();
  const copy = made.use(owned(passableFd(perform(cloneTree(source.fd, '', { recursive: tree.recursive })))));
  // The host's later mounts shall come in, and none of the container's go out: see mount_namespaces(7).
  perform(setMountAttributes(copy.fd, { propagation: MS.SLAVE, recursive: true }));
  if (tree.readOnly) perform(setMountAttributes(copy.fd, { set: MOUNT_ATTR.RDONLY, recursive: true }));
  made.move();
  return copy;
}

/** Opens the original of a tree, as O_PATH. Throws an Error when there is nothing. */
export function openSource({ path, inRoot }: Tree, root: RootView): OwnedFd {
  if (!inRoot) return owned(syscall('openat', AT.FDCWD, path, O.PATH | O.CLOEXEC, 0));
  const found = root.open(path);
  if (!found) throw new Error('no such file or directory');
  return found;
}

/** A new tmpfs. */
function scratch(readOnly: boolean): OwnedFd {
  using context = owned(syscall('fsopen', 'tmpfs', FSOPEN_CLOEXEC));
  syscall('fsconfig', context.fd, FSCONFIG.SET_STRING, 'source', 'tmpfs', 0);
  syscall('fsconfig', context.fd, FSCONFIG.SET_STRING, 'mode', '0755', 0);
  syscall('fsconfig', context.fd, FSCONFIG.CMD_CREATE, null, null, 0);
  return owned(
    passableFd(syscall('fsmount', context.fd, FSMOUNT_CLOEXEC, readOnly ? MOUNT_ATTR.RDONLY : MOUNT_ATTR.STRICTATIME)),
  );
}
