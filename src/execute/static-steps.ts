/**
 * The system calls of each step that needs no look at what it finds. They run in the container's agent, whose working
 * directory is the container's root; paths are resolved in it. What they open of the container stays open until the
 * payload starts, when everything is closed at once.
 */
import { type Argument, allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, MOUNT_ATTR, O, OPEN_TREE, S } from '../../syscalls/constants.ts';
import { deviceNumber, makeDirectories, makeInDirectory, openInRoot, splitPath } from '../../syscalls/file.ts';
import {
  attachMount,
  cloneTree,
  detachMount,
  type Fd,
  type MountOption,
  makeAllShared,
  makeAllSlaves,
  newMount,
  setMountAttributes,
} from '../../syscalls/mount.ts';
import { setHostname, setUmask } from '../../syscalls/process.ts';
import { unixAddress } from '../../syscalls/socket.ts';
import { CONSOLE, type InterfaceAction, NOTIFY, ROOT, type StepAction } from '../plan/steps.ts';
import { BESIDE, enterRoot, enterRootBeside, followBeside } from './enter-root.ts';
import type { ImageAction } from './image-steps.ts';
import { writeNewFile } from './new-file.ts';
import { makeOverlay } from './overlay.ts';
import type { Setup } from './setup.ts';

/** The agent's root directory, as long as its working directory is that. */
const HERE = AT.FDCWD;
const DIRECTORY_MODE = 0o755;

/** A step's calls, and what is to be done with their results. */
export interface Prepared {
  calls: readonly Call[];
  /** A call whose result is the descriptor of a host object. */
  makes?: { object: string; by: Call };
  after?: ((results: readonly number[], setup: Setup) => void) | undefined;
}

/** Steps whose calls are known beforehand. The others are in dynamic-steps.ts. */
export type StaticAction = Exclude<
  StepAction,
  | {
      do:
        | 'bind'
        | 'hide'
        | 'copy file'
        | 'link time zone'
        | 'link journal'
        | 'write user records'
        | 'reset loginuid'
        | 'bring loopback up'
        | 'connect network'
        | 'write file'
        | 'hand over'
        | 'register';
    }
  | ImageAction
  | InterfaceAction
>;

/**
 * `idOf` tells which id of who carries the step out is an id of the container's; `made` are the calls of steps of the same
 * batch whose results are descriptors of host objects.
 */
type Prepare<A> = (
  action: A,
  fds: ReadonlyMap<string, number>,
  idOf: Setup['idOf'],
  made: ReadonlyMap<string, Call>,
) => Prepared;

/** The calls that attach a detached mount to a directory, which is made where it is missing. */
export function attachAt(path: string, mount: Fd): Call[] {
  const target = openInRoot(HERE, path, O.PATH | O.DIRECTORY);
  return [...makeDirectories(HERE, path, DIRECTORY_MODE), target, attachMount(mount, target)];
}

/** The same for a regular file, where the directory that it is in is there. */
function attachAtFile(path: string, mount: Fd): Call[] {
  const { parent, name } = splitPath(path);
  const make = (at: Argument) => [allowing(call('mknodat', at, name, S.IFREG | 0o644, 0), 'EEXIST')];
  const target = openInRoot(HERE, path, O.PATH);
  return [...makeInDirectory(HERE, parent, make), target, attachMount(mount, target)];
}

/** Mount options with the ids that they are about. */
const withIds = (options: readonly MountOption[], idOf: Setup['idOf']): MountOption[] =>
  options.map(({ key, value }) =>
    (key === 'uid' || key === 'gid') && value !== undefined
      ? { key, value: `${idOf(Number(value))}` }
      : { key, ...(value !== undefined && { value }) },
  );

/** By this key, what is needed to make overlays where the agent is in the container's root, and /proc not yet. */
const OWN_FDS = 'own descriptors';

export const STATIC_STEPS: { [K in StaticAction['do']]: Prepare<Extract<StaticAction, { do: K }>> } = {
  'separate mounts': () => ({ calls: [setUmask(0), call('chdir', '/'), makeAllSlaves] }),

  'join network namespace'({ object }, fds) {
    const file = fds.get(object)!;
    return { calls: [call('setns', file, CLONE.NEWNET), call('close', file)] };
  },

  'make overlay'({ overlay, lower, upper, options }, fds, _, made) {
    const above = upper && { ...upper, fd: fds.get(upper.object)! };
    const directories = above
      ? [above.directory, above.work].map(name =>
          allowing(call('mkdirat', above.fd, name, above.mode ?? DIRECTORY_MODE), 'EEXIST'),
        )
      : [];
    const ownFds = made.get(OWN_FDS) ?? fds.get(OWN_FDS);
    const mounting = makeOverlay({ lower: lower.map(key => fds.get(key)!), upper: above, options, ownFds });
    return { calls: [...directories, ...mounting.calls], makes: { object: overlay, by: mounting.made } };
  },

  'enter root'({ seen }, fds, _, made) {
    const root = made.get(ROOT) ?? fds.get(ROOT)!;
    if (!seen) return { calls: enterRoot(root) };
    const ownFds = call('openat', AT.FDCWD, '/proc/self/fd', O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
    return { calls: [ownFds, ...enterRootBeside(root, seen)], makes: { object: OWN_FDS, by: ownFds } };
  },

  'enter user namespace'({ mounts }) {
    const made = mounts.map(({ type, options, attributes }) => newMount(type, options, attributes));
    return {
      calls: [...followBeside(made.flat()), ...mounts.flatMap(({ path }, i) => attachAt(path, made[i]!.at(-1)!))],
    };
  },

  // It may have been hidden by another mount (then nothing is there), or gone with the one that it was in.
  unmount: ({ path }) => ({ calls: [allowing(detachMount(path), 'EINVAL', 'ENOENT')] }),

  'make directories': ({ directories }) => ({
    calls: directories.flatMap(({ path, mode }) => makeDirectories(HERE, path, mode)),
  }),

  'make symlink'({ path, target }) {
    const { parent, name } = splitPath(path);
    const link = (at: Parameters<Parameters<typeof makeInDirectory>[2]>[0]) => [
      allowing(call('symlinkat', target, at, name), 'EEXIST'),
    ];
    return { calls: makeInDirectory(HERE, parent, link) };
  },

  'fill /dev': ({ directories, nodes, bound = [], links }, fds) => ({
    // /dev is a file system that nobody else has seen yet: paths in it need no care.
    calls: makeInDirectory(HERE, '/dev', dev => [
      ...directories.map(name => call('mkdirat', dev, name, DIRECTORY_MODE)),
      ...nodes.map(({ name, mode, major, minor }) => call('mknodat', dev, name, mode, deviceNumber(major, minor))),
      ...bound.flatMap(({ name, object }) => {
        const place = call('openat', dev, name, O.PATH | O.CLOEXEC, 0);
        const node = fds.get(object)!;
        return [
          call('mknodat', dev, name, S.IFREG | 0o600, 0),
          place,
          attachMount(node, place),
          call('close', node),
          call('close', resultOf(place)),
        ];
      }),
      ...links.map(({ name, target }) => call('symlinkat', target, dev, name)),
    ]),
  }),

  'make read-only'({ path, recursive }) {
    const open = openInRoot(HERE, path, O.PATH);
    return { calls: [open, setMountAttributes(open, { set: MOUNT_ATTR.RDONLY, recursive })] };
  },

  'separate cgroups': () => ({ calls: [call('unshare', CLONE.NEWCGROUP)] }),

  mount({ type, path, options, attributes }, _, idOf) {
    const mount = newMount(type, withIds(options, idOf), attributes);
    return { calls: [...mount, ...attachAt(path, mount.at(-1)!)] };
  },

  attach({ object, path, isFile }, fds, _, made) {
    const mount = made.get(object) ?? fds.get(object)!;
    const attached = isFile ? attachAtFile(path, mount) : attachAt(path, mount);
    return { calls: [...attached, call('close', typeof mount === 'number' ? mount : resultOf(mount))] };
  },

  'bind read-only'({ path }) {
    const source = openInRoot(HERE, path, O.PATH);
    const copy = cloneTree(source, '', { recursive: true });
    const protect = setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY, recursive: true });
    return { calls: [source, copy, protect, attachMount(copy, source)] };
  },

  // Before Linux 6.15 a mount of one file can be made only of one that is attached, in its own mount namespace.
  'take console'(_, fds) {
    const devpts = fds.get(CONSOLE)!;
    const place = call('openat', AT.FDCWD, BESIDE, O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
    const console = cloneTree(devpts, '0', { recursive: false });
    const closing = [call('close', devpts), call('close', resultOf(place))];
    return {
      calls: [place, attachMount(devpts, place), console, ...closing],
      makes: { object: CONSOLE, by: console },
    };
  },

  'set up console'(_, fds, __, made) {
    const console = made.get(CONSOLE) ?? fds.get(CONSOLE)!;
    const target = openInRoot(HERE, '/dev/console', O.PATH);
    return {
      calls: [
        // Something to mount on, which in a user namespace can be no device.
        ...makeInDirectory(HERE, '/dev', dev => [call('mknodat', dev, 'console', S.IFREG | 0o600, 0)]),
        target,
        attachMount(console, target),
        call('close', typeof console === 'number' ? console : resultOf(console)),
      ],
    };
  },

  'forbid user namespaces'() {
    // What a process finds there is about its own namespace: namespaces(7). Not yet read-only.
    const open = openInRoot(HERE, '/proc/sys/user/max_user_namespaces', O.WRONLY);
    return { calls: [open, call('write', resultOf(open), Buffer.from('0'), 1), call('close', resultOf(open))] };
  },

  'set up kernel log'() {
    const kmsg = openInRoot(HERE, '/proc/kmsg', O.PATH);
    const calls = makeInDirectory(HERE, '/dev', dev => {
      const fifo = call('openat', dev, 'kmsg', O.RDWR | O.NONBLOCK | O.CLOEXEC, 0);
      const copy = call('open_tree', dev, 'kmsg', OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC);
      return [
        call('mknodat', dev, 'kmsg', S.IFIFO | 0o600, 0),
        copy,
        kmsg,
        attachMount(copy, kmsg),
        fifo,
        // Under its own name it would block writers once it is full: a container has no /dev/kmsg.
        call('unlinkat', dev, 'kmsg', 0),
      ];
    });
    const opened = calls.findIndex(each => each.name === 'openat');
    return {
      calls,
      // A reader of /proc/kmsg shall wait, as on a host: so the fifo always has a writer, which is us.
      after: (results, { agent, keep }) => {
        keep.use(agent.takeFd(results[opened]!));
      },
    };
  },

  'set boot id'() {
    const target = openInRoot(HERE, '/proc/sys/kernel/random/boot_id', O.PATH);
    const name = '.boot-id';
    return {
      calls: makeInDirectory(HERE, '/dev', dev => {
        const copy = call('open_tree', dev, name, OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC);
        const { RDONLY, NOSUID, NODEV, NOEXEC } = MOUNT_ATTR;
        return [
          ...writeNewFile(dev, name, Buffer.from(`${crypto.randomUUID()}\n`), 0o444),
          copy,
          setMountAttributes(copy, { set: RDONLY | NOSUID | NODEV | NOEXEC }),
          target,
          attachMount(copy, target),
          call('unlinkat', dev, name, 0),
        ];
      }),
    };
  },

  remove({ path }) {
    const { parent, name } = splitPath(path);
    return { calls: makeInDirectory(HERE, parent, at => [allowing(call('unlinkat', at, name, 0), 'ENOENT')]) };
  },

  'bind notify socket'({ path }, fds) {
    const socket = fds.get(NOTIFY)!;
    const { parent, name } = splitPath(path);
    const directory = openInRoot(HERE, parent, O.PATH | O.DIRECTORY);
    const address = unixAddress(name);
    return {
      calls: [
        ...makeDirectories(HERE, parent, DIRECTORY_MODE),
        directory,
        allowing(call('unlinkat', resultOf(directory), name, 0), 'ENOENT'),
        // bind(2) knows no directory but this one, and would follow symlinks in a longer path.
        call('fchdir', resultOf(directory)),
        call('bind', socket, address, address.length),
        call('chdir', '/'),
        call('close', resultOf(directory)),
        call('close', socket),
      ],
    };
  },

  'share mounts': () => ({ calls: [makeAllShared] }),

  'set host name': ({ name }) => ({ calls: [setHostname(name)] }),
};
