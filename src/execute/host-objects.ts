/** Opens what a container gets from its host, before the container exists. All of it ends up as descriptors. */
import { allowing, call } from '../../syscalls/call.ts';
import { AT, CLONE, MOUNT_ATTR, MS, O } from '../../syscalls/constants.ts';
import { duplicate, type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { mountFileSystem } from '../../syscalls/file-system.ts';
import { cloneTree, setMountAttributes } from '../../syscalls/mount.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import type { EphemeralRoot } from '../container/ephemeral.ts';
import type { Terminal } from '../container/own-pty.ts';
import type { OpenImage } from '../image/open.ts';
import type { HostObject } from '../plan/steps.ts';
import type { RootView } from '../root-view.ts';

/** Where objects come from. */
export interface Origins {
  /** The tree, where it is a directory of the host. */
  root: RootView | undefined;
  /** The same where it is an ephemeral root. */
  ephemeral: EphemeralRoot | undefined;
  /** The pseudo terminal. */
  terminal: Terminal | undefined;
  /** The socket by which the payload tells how it does. */
  notifySocket: OwnedFd | undefined;
  /** The disk image, where it is in one. */
  image: OpenImage | undefined;
  /** The host's id of the container's root. */
  base: number;
}

/**
 * Opens an object as a detached mount, under a number that an agent can have. Throws an Error that says what is missing.
 */
export function openHostObject(
  object: HostObject,
  { root, ephemeral, terminal, notifySocket, image, base }: Origins,
): OwnedFd {
  switch (object.kind) {
    case 'tree':
      return openTree(object, root, ephemeral);
    case 'ephemeral':
      if (!ephemeral) throw new Error('it was not made');
      return ephemeral.clone('/', false);
    case 'layer':
      throw new Error('an ordinary user alone needs one');
    case 'scratch':
      return scratch(object, base);
    case 'file system':
      return image!.mount(object);
    case 'console':
      if (!terminal?.devpts) throw new Error('the file system that it is in was not given');
      return duplicate(terminal.devpts.fd);
    case 'notify socket':
      if (!notifySocket) throw new Error('nobody listens');
      return duplicate(notifySocket.fd);
    case 'network namespace':
      return openNetworkNamespace(object.path);
  }
}

type Scratch = Extract<HostObject, { kind: 'scratch' }>;
type Tree = Extract<HostObject, { kind: 'tree' }>;

/** Opens a tree as a detached mount. Throws SyscallError, or an Error when there is nothing. */
export function openTree(tree: Tree, root?: RootView, ephemeral?: EphemeralRoot): OwnedFd {
  using made = new DisposableStack();
  const copy = made.use(
    tree.inRoot && ephemeral ? ephemeral.clone(tree.path, tree.recursive) : cloneSource(tree, root),
  );
  // The host's later mounts shall come in, and none of the container's go out: see mount_namespaces(7).
  perform(setMountAttributes(copy.fd, { propagation: MS.SLAVE, recursive: true }));
  if (tree.readOnly) perform(setMountAttributes(copy.fd, { set: MOUNT_ATTR.RDONLY, recursive: true }));
  made.move();
  return copy;
}

function cloneSource(tree: Tree, root: RootView | undefined): OwnedFd {
  using source = openSource(tree, root);
  return owned(passableFd(perform(cloneTree(source.fd, '', { recursive: tree.recursive }))));
}

/** Opens the original of a tree, as O_PATH. Throws an Error when there is nothing. */
export function openSource({ path, inRoot }: Tree, root: RootView | undefined): OwnedFd {
  if (!inRoot) return owned(syscall('openat', AT.FDCWD, path, O.PATH | O.CLOEXEC, 0));
  const found = root?.open(path);
  if (!found) throw new Error('no such file or directory');
  return found;
}

/** What ioctl_ns(2) tells of a namespace's file: its kind, as clone(2) has it. linux/nsfs.h */
const NS_GET_NSTYPE = 0xb703;

function openNetworkNamespace(path: string): OwnedFd {
  using made = new DisposableStack();
  const flags = O.RDONLY | O.NONBLOCK | O.NOCTTY | O.CLOEXEC;
  const file = made.use(owned(passableFd(syscall('openat', AT.FDCWD, path, flags, 0))));
  const kind = perform(allowing(call('ioctl', file.fd, NS_GET_NSTYPE, 0)));
  if (BigInt(kind) !== CLONE.NEWNET) throw new Error('it is not a network namespace');
  made.move();
  return file;
}

/** A new tmpfs, which belongs to this user and group. */
function scratch({ readOnly, context, options: asked = [] }: Scratch, owner: number): OwnedFd {
  const options = [
    ...asked,
    { key: 'source', value: 'tmpfs' },
    { key: 'mode', value: '0755' },
    ...(context === undefined ? [] : [{ key: 'context', value: context }]),
    ...(owner === 0 ? [] : ['uid', 'gid'].map(key => ({ key, value: `${owner}` }))),
  ];
  return mountFileSystem('tmpfs', options, readOnly ? MOUNT_ATTR.RDONLY : MOUNT_ATTR.STRICTATIME);
}
