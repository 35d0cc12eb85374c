/** The root of --ephemeral: what is written to it goes with it, and the tree that it is made of stays as it is. */
import { type Agent, startAgent } from '../../syscalls/agent/agent.ts';
import { isSubvolume } from '../../syscalls/btrfs.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, O, S } from '../../syscalls/constants.ts';
import { type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { type FileStatus, fileStatus, openBelow, openInRoot } from '../../syscalls/file.ts';
import { cloneTree, makeAllSlaves } from '../../syscalls/mount.ts';
import { actAs, leaveSession } from '../../syscalls/process.ts';
import { perform, SyscallError, syscall } from '../../syscalls/syscall.ts';
import { enterRoot } from '../execute/enter-root.ts';
import { makeOverlay } from '../execute/overlay.ts';
import { canonicalPath } from '../host.ts';
import type { Logger } from '../log.ts';
import { containerView, type RootView, viewRoot } from '../root-view.ts';
import { byDescriptor, copyAttributes } from '../trees/attributes.ts';
import { type HiddenDirectory, makeHiddenDirectory, removeLeftovers } from '../trees/hidden-directory.ts';
import type { MakeOurs } from '../trees/remove.ts';
import { snapshotTree } from '../trees/snapshot.ts';
import { lockTree } from './lock.ts';

/** Shows what a root is made of with other owners. */
export interface OtherOwners {
  /** Who root is shown as. */
  root: number;
  /** Shows a detached mount so; it is of this path, for messages, or else of the tree's. Throws an Error. */
  map(mount: number, path?: string): void;
}

/** Disposing of it removes all that was written to it: containers on it must have ended then. */
export interface EphemeralRoot extends Disposable {
  /** Looks at it. */
  view(): RootView;
  /** A detached mount of what a path in it leads to, for a container to have. Throws SyscallError. */
  clone(path: string, recursive: boolean): OwnedFd;
  /** Without root: the directory for what is written, of which each container mounts the root itself. */
  layers?: string;
}

/** Where an upper layer goes that can't be beside its tree. */
const ELSEWHERE = '/var/tmp';
const SNAPSHOT = 'snapshot';
const UPPER = 'upper';
const WORK = 'work';

/**
 * Makes an ephemeral root of the directory `path`: a snapshot where it is a subvolume of btrfs, else an overlay; `owners` is how
 * it is seen.  Throws an Error.
 */
export function makeEphemeralRoot(path: string, log: Logger, owners: OtherOwners | undefined): EphemeralRoot {
  using original = owned(syscall('openat', AT.FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));
  const beside = path.replace(/\/[^/]*$/, '') || '/';
  if (isSubvolume(original.fd)) {
    // A subvolume that is mounted by itself has another file system beside it.
    const made = tryInEach([...new Set([beside, path])], log, directory =>
      snapshotRoot(original.fd, directory, owners),
    );
    if ('view' in made) return made;
    log.debug(`no snapshot can be made of ${path}: ${made.failures.join('; ')}`);
  }
  using made = new DisposableStack();
  // What is below an overlay must not change.
  made.use(lockTree(path, 'shared'));
  const lower = () => owned(passableFd(perform(cloneTree(original.fd, '', { recursive: false }))));
  const root = made.use(overlayRoot(lower, path === '/' ? [] : [beside], log, owners, path));
  const held = made.move();
  return { ...root, [Symbol.dispose]: () => held.dispose() };
}

/**
 * Makes an ephemeral root of a detached mount, which `lower` makes: an overlay whose upper layer is in the first of the
 * directories `places` that can have one, or in /var/tmp. Those that lie in `tree`, which it is a mount of, are hidden
 * in it. Throws an Error.
 */
export function overlayRoot(
  lower: () => OwnedFd,
  places: readonly string[],
  log: Logger,
  owners: OtherOwners | undefined,
  tree?: string,
): EphemeralRoot {
  // Each place gets one of its own, as it is used up where an overlay can't be mounted after all. All stay open, as the
  // device of a disk image goes with the last one.
  using mounts = new DisposableStack();
  return inFirstOf(places, log, (directory, place) => {
    const { fd } = mounts.use(lower());
    using upper = makeUpper(directory, fd, fileStatus(fd));
    if (tree !== undefined) hide(directory, place, tree, fd, upper.fd);
    owners?.map(fd);
    return mountOverlay(directory, fd, place, owners);
  });
}

/** Why there is no overlay with its upper layer in some place. */
class NoOverlayError extends Error {}

type Make = (directory: HiddenDirectory, place: string) => EphemeralRoot;

/**
 * Makes a root in a hidden directory of the first of these places that can have it, or in /var/tmp. `makeOurs` is what
 * removeTree() needs. Throws an Error.
 */
export function inFirstOf(places: readonly string[], log: Logger, make: Make, makeOurs?: MakeOurs): EphemeralRoot {
  const made = tryInEach([...places, canonicalPath(ELSEWHERE) ?? ELSEWHERE], log, make, makeOurs);
  if ('view' in made) return made;
  throw new Error(`making a writable layer over the root directory: ${made.failures.join('; ')}`);
}

/** Makes it in the first that can have it, or says why none can. */
function tryInEach(
  places: readonly string[],
  log: Logger,
  make: Make,
  makeOurs?: MakeOurs,
): EphemeralRoot | { failures: string[] } {
  const failures: string[] = [];
  for (const place of places) {
    try {
      removeLeftovers(place, log, makeOurs);
      using made = new DisposableStack();
      const root = make(made.use(makeHiddenDirectory(place, log, makeOurs)), place);
      made.use(root);
      const held = made.move();
      return { ...root, [Symbol.dispose]: () => held.dispose() };
    } catch (error) {
      if (!(error instanceof SyscallError || error instanceof NoOverlayError)) throw error;
      failures.push(`in ${place}: ${error.message}`);
    }
  }
  return { failures };
}

function snapshotRoot(original: number, directory: HiddenDirectory, owners: OtherOwners | undefined): EphemeralRoot {
  snapshotTree(original, directory.fd, SNAPSHOT);
  const made = owned(perform(openBelow(directory.fd, SNAPSHOT, O.RDONLY | O.DIRECTORY)));
  // Where it was made in the original, it has an empty copy of the directory that it is in.
  perform(allowing(call('unlinkat', made.fd, directory.name, AT.REMOVEDIR), 'ENOENT'));
  return {
    view: () => viewRoot(byDescriptor(made.fd)),
    clone(path, recursive) {
      using source = owned(perform(openInRoot(made.fd, path, O.PATH)));
      using cloning = new DisposableStack();
      const copy = cloning.use(owned(passableFd(perform(cloneTree(source.fd, '', { recursive })))));
      owners?.map(copy.fd);
      cloning.move();
      return copy;
    },
    [Symbol.dispose]: () => made[Symbol.dispose](),
  };
}

/** Makes the layer and its working directory; the layer's top is what the container sees as its root directory. */
function makeUpper(directory: HiddenDirectory, lower: number, original: FileStatus): OwnedFd {
  syscall('mkdirat', directory.fd, WORK, 0o700);
  syscall('mkdirat', directory.fd, UPPER, 0o700);
  const upper = owned(perform(openBelow(directory.fd, UPPER, O.RDONLY | O.DIRECTORY)));
  copyAttributes(lower, original, upper.fd);
  return upper;
}

/**
 * Covers the hidden directory in `place` where that lies in the tree: the kernel takes a device 0:0 in the upper layer
 * for something that was removed.
 */
function hide(directory: HiddenDirectory, place: string, tree: string, lower: number, upper: number): void {
  const above = tree === '/' ? '/' : `${tree}/`;
  if (!`${place}/`.startsWith(above)) return;
  using opened = new DisposableStack();
  let [from, to] = [lower, upper];
  for (const name of place.slice(above.length).split('/').filter(Boolean)) {
    const fd = perform(allowing(openBelow(from, name, O.RDONLY | O.DIRECTORY), 'EXDEV', 'ENOENT'));
    // On another mount than the tree, and so not in the overlay.
    if (fd < 0) return;
    from = opened.use(owned(fd)).fd;
    syscall('mkdirat', to, name, 0o700);
    to = opened.use(owned(perform(openBelow(to, name, O.RDONLY | O.DIRECTORY)))).fd;
    copyAttributes(from, fileStatus(from), to);
  }
  syscall('mknodat', to, directory.name, S.IFCHR, 0);
}

/** What is written is of no use after a crash. Without this, all of the host's file system would be synced at the end. */
const VOLATILE = [{ key: 'volatile' }];

/**
 * The overlay is the root directory of an agent, in a mount namespace that has nothing else: there it can be copied
 * again and again, which only Linux 6.15 and later let others do with a detached mount.
 */
function mountOverlay(
  directory: HiddenDirectory,
  lower: number,
  place: string,
  owners: OtherOwners | undefined,
): EphemeralRoot {
  using made = new DisposableStack();
  using above = owned(passableFd(perform(cloneTree(directory.fd, '', { recursive: false }))));
  mapUpper(above.fd, place, owners);
  const agent = made.use(startAgent({ namespaces: CLONE.NEWNS, fds: [lower, above.fd], dieWithParent: true }));
  const upper = { fd: above.fd, directory: UPPER, work: WORK };
  const { calls, made: mount } = makeOverlay({ lower: [lower], upper, options: VOLATILE });
  // What the overlay makes for itself must have an owner that can be shown.
  const before = [leaveSession, makeAllSlaves, ...(owners ? actAs(owners.root) : []), ...calls];
  agent.run(enterRoot(runOverlay(agent, before)[before.indexOf(mount)]!));
  const held = made.move();
  return {
    view: () => containerView(agent.pid),
    clone: (path, recursive) => cloneInAgent(agent, path, recursive),
    [Symbol.dispose]: () => held.dispose(),
  };
}

/** An overlay can't be shown with other owners, but its layers can. */
function mapUpper(mount: number, place: string, owners: OtherOwners | undefined): void {
  try {
    owners?.map(mount, place);
  } catch (error) {
    throw new NoOverlayError((error as Error).message, { cause: error });
  }
}

function runOverlay(agent: Agent, calls: readonly Call[]): number[] {
  try {
    return agent.run(calls);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EINVAL') throw error;
    throw new NoOverlayError("its file system can't have the upper layer of this overlay", { cause: error });
  }
}

function cloneInAgent(agent: Agent, path: string, recursive: boolean): OwnedFd {
  const source = openInRoot(AT.FDCWD, path, O.PATH);
  const copy = cloneTree(source, '', { recursive });
  const fd = agent.run([source, copy, call('close', resultOf(source))])[1]!;
  try {
    return agent.takeFd(fd);
  } finally {
    agent.run([call('close', fd)]);
  }
}
