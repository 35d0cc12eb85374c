/**
 * The system calls of each step that needs no look at what it finds. They run in the container's agent, whose working
 * directory is the container's root; paths are resolved in it.
 */
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, MNT_DETACH, MOUNT_ATTR, O, S } from '../../syscalls/constants.ts';
import { deviceNumber, makeDirectories, makeInDirectory, openInRoot, splitPath } from '../../syscalls/file.ts';
import {
  attachMount,
  cloneTree,
  detachMount,
  makeAllSlaves,
  newMount,
  setMountAttributes,
} from '../../syscalls/mount.ts';
import { setHostname } from '../../syscalls/process.ts';
import { CONSOLE, ROOT, type StepAction } from '../plan/steps.ts';

/** The agent's root directory, as long as its working directory is that. */
const HERE = AT.FDCWD;
const DIRECTORY_MODE = 0o755;
/** The kernel's default when it makes no sense to ask for another: see mkdirat(2) and mknodat(2). */
const PARENT_MODE = 0o755;

type CallsOf<A> = (action: A, fds: ReadonlyMap<string, number>) => Call[];
/** Steps whose calls are known beforehand. The others are in dynamic-steps.ts. */
export type StaticAction = Exclude<
  StepAction,
  {
    do:
      | 'bind'
      | 'hide'
      | 'set up kernel log'
      | 'set boot id'
      | 'copy file'
      | 'link time zone'
      | 'make overlay'
      | 'reset loginuid'
      | 'bring loopback up';
  }
>;

export const STATIC_STEPS: { [K in StaticAction['do']]: CallsOf<Extract<StaticAction, { do: K }>> } = {
  'separate mounts': () => [makeAllSlaves],

  'enter root'(_, fds) {
    const root = fds.get(ROOT)!;
    const top = openTop();
    return [
      // On top of the old root: no mount point in the host's tree is needed, nor left.
      top,
      attachMount(root, top),
      call('fchdir', root),
      call('pivot_root', '.', '.'),
      // The old root now lies on top of the new one: pivot_root(2), "pivot_root(".", ".")".
      call('umount2', '.', MNT_DETACH),
      call('chdir', '/'),
      call('close', root),
    ];
  },

  unmount: ({ path }) => [allowing(detachMount(path), 'EINVAL')],

  'make directory': ({ path, mode }) => makeDirectories(HERE, path, mode),

  'make symlink'({ path, target, needs }) {
    const { parent, name } = splitPath(path);
    const needed = needs === undefined ? [] : [openInRoot(HERE, needs, O.PATH)];
    return [
      ...needed,
      ...needed.map(open => call('close', resultOf(open))),
      ...makeInDirectory(HERE, parent, at => [allowing(call('symlinkat', target, at, name), 'EEXIST')]),
    ];
  },

  'make device'({ path, mode, major, minor }) {
    const { parent, name } = splitPath(path);
    return [
      ...makeDirectories(HERE, parent, PARENT_MODE),
      ...makeInDirectory(HERE, parent, at => [call('mknodat', at, name, mode, deviceNumber(major, minor))]),
    ];
  },

  'make read-only'({ path }) {
    const open = openInRoot(HERE, path, O.PATH);
    return [open, setMountAttributes(open, { set: MOUNT_ATTR.RDONLY, recursive: true }), call('close', resultOf(open))];
  },

  mount({ type, path, options, attributes }) {
    const mount = newMount(type, options, attributes);
    const made = mount.at(-1)!;
    const target = openInRoot(HERE, path, O.PATH | O.DIRECTORY);
    return [
      ...makeDirectories(HERE, path, DIRECTORY_MODE),
      ...mount,
      target,
      attachMount(made, target),
      ...[mount[0], made, target].map(open => call('close', resultOf(open))),
    ];
  },

  'bind read-only'({ path }) {
    const source = openInRoot(HERE, path, O.PATH);
    const copy = cloneTree(source, '', { recursive: true });
    return [
      source,
      copy,
      setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY, recursive: true }),
      attachMount(copy, source),
      call('close', resultOf(source)),
      call('close', resultOf(copy)),
    ];
  },

  'set up console'(_, fds) {
    const console = fds.get(CONSOLE)!;
    const target = openInRoot(HERE, '/dev/console', O.PATH);
    return [
      // Something to mount on; a device policy lets everyone make a null device (1:3).
      ...makeInDirectory(HERE, '/dev', at => [call('mknodat', at, 'console', S.IFCHR | 0o600, deviceNumber(1, 3))]),
      target,
      attachMount(console, target),
      call('close', resultOf(target)),
      call('close', console),
    ];
  },

  remove({ path }) {
    const { parent, name } = splitPath(path);
    return makeInDirectory(HERE, parent, at => [allowing(call('unlinkat', at, name, 0), 'ENOENT')]);
  },

  'set host name': ({ name }) => [setHostname(name)],
};

/** The directory that the agent's paths start from, before it changes its root. */
const openTop = () => call('openat', AT.FDCWD, '/', O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
