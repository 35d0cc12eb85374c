/** Steps that only containers from disk images have: what such a tree is, shows when it is mounted. */
import { call, resultOf } from '../../syscalls/call.ts';
import { AT, MOUNT_ATTR, O } from '../../syscalls/constants.ts';
import { openInRoot } from '../../syscalls/file.ts';
import { attachMount, cloneTree, detachMount, setMountAttributes } from '../../syscalls/mount.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import { isDirectory } from '../host.ts';
import type { StepAction } from '../plan/steps.ts';
import { containerView, type RootView } from '../root-view.ts';
import { checkTree } from './check-tree.ts';
import { containerTree } from './container-tree.ts';
import { DYNAMIC_STEPS, statusInContainer } from './dynamic-steps.ts';
import type { Setup } from './setup.ts';
import { STATIC_STEPS } from './static-steps.ts';

export type ImageAction = Extract<
  StepAction,
  { do: 'mount partition' | 'take' | 'forbid devices' | 'check tree' | 'make links' }
>;

const HERE = AT.FDCWD;

export const IMAGE_STEPS: {
  [K in ImageAction['do']]: (action: Extract<ImageAction, { do: K }>, setup: Setup) => void;
} = {
  'mount partition'({ object, path, fallback }, setup) {
    const mountPoint = fallback && isBetter(fallback, path, setup) ? fallback : path;
    try {
      DYNAMIC_STEPS.bind({ do: 'bind', object, path: mountPoint }, setup);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.code !== 'EROFS') throw error;
      throw new Error(`there is no ${mountPoint} in the image, and it can't be made as it would be read-only`, {
        cause: error,
      });
    }
  },

  take({ object: key, from }, { agent, fds, plan }) {
    const object = plan.hostObjects[key]!;
    if (object.kind !== 'tree') return;
    const { path, recursive, readOnly } = object;
    const root = from === undefined ? HERE : fds.get(from)!;
    // What is copied has to be attached somewhere; /proc surely exists on the host.
    const proc = call('openat', AT.FDCWD, '/proc', O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
    const [attach, detach] = from === undefined ? [[], []] : [[proc, attachMount(root, proc)], [detachMount('/proc')]];
    const source = openInRoot(root, path, O.PATH);
    const copy = cloneTree(source, '', { recursive });
    const protect = readOnly ? [setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY, recursive: true })] : [];
    const calls = [...attach, source, copy, ...protect, ...detach, call('close', resultOf(source))];
    fds.set(key, agent.run(calls)[calls.indexOf(copy)]!);
  },

  'forbid devices'({ path }, { agent }) {
    const mount = openInRoot(HERE, path, O.PATH);
    agent.run([mount, setMountAttributes(mount, { set: MOUNT_ATTR.NODEV }), call('close', resultOf(mount))]);
  },

  'check tree'(_, { agent, plan }) {
    using tree = containerTree({ agent, plan });
    checkTree(plan, tree);
  },

  'make links'({ links }, { agent }) {
    const found = statusInContainer(
      agent,
      links.map(({ needs }) => ({ path: needs })),
    );
    const wanted = links.filter((_, i) => found[i]);
    agent.run(
      wanted.flatMap(
        ({ path, target }) =>
          STATIC_STEPS['make symlink']({ do: 'make symlink', path, target }, new Map(), id => id, new Map()).calls,
      ),
    );
  },
};

function isBetter(fallback: string, path: string, { agent }: Setup): boolean {
  // The only one that has a fallback is never mounted by FUSE.
  using tree = containerView(agent.pid);
  return !tree.has(path) && isEmptyDirectory(tree, fallback);
}

function isEmptyDirectory(tree: RootView, path: string): boolean {
  const status = tree.status(path);
  using directory = status && isDirectory(status) ? tree.open(path) : undefined;
  if (!directory) return false;
  // Only few images need it, and a container takes less time than loading it.
  const { readdirSync } = process.getBuiltinModule('node:fs');
  return readdirSync(`/proc/self/fd/${directory.fd}`).length === 0;
}
