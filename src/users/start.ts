/** What a start with users of the container's own does first: their ids, the agents, and whose the tree is. */
import type { AgentOptions } from '../../syscalls/agent/agent.ts';
import { allowing } from '../../syscalls/call.ts';
import { type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { idmapMount, openUserNamespace } from '../../syscalls/idmap.ts';
import { cloneTree } from '../../syscalls/mount.ts';
import { perform } from '../../syscalls/syscall.ts';
import { type Origins, type OwnUsers, openHostObject } from '../execute/host-objects.ts';
import type { Logger } from '../log.ts';
import type { HostObject, Plan, Users } from '../plan/steps.ts';
import { idmapTree, REFUSALS } from './idmap.ts';
import { type ContainerIds, settleIds, settleOwnership } from './ids.ts';
import { type Agents, startAgents } from './namespace.ts';

export interface Started extends Agents, OwnUsers {
  ids: ContainerIds;
  /** How the tree's files have come to belong to them. */
  ownership: 'off' | 'chown' | 'map';
}

type PlanWithUsers = Plan & { users: Users };

/** Starts the agents of a container with users of its own. Rejects with an Error; nothing is left then. */
export async function startWithUsers(
  plan: PlanWithUsers,
  options: AgentOptions,
  origins: Origins,
  log: Logger,
): Promise<Started> {
  using undo = new DisposableStack();
  using tree = openTree(plan, origins);
  const ids = undo.use(settleIds(plan, tree.fd));
  const { outside, inside } = startAgents(options, ids, log);
  undo.use(outside);
  undo.use(inside);
  ids.belongsTo(inside.pidfd);
  const map = (mount: number, recursive: boolean): boolean => {
    using namespace = openUserNamespace(inside.pid);
    return perform(allowing(idmapMount(mount, namespace.fd, { recursive }), ...REFUSALS)) >= 0;
  };
  const ownership = settleOwnership(plan, tree.fd, () => map(tree.fd, false));
  if (ownership === 'chown') await giveTree(plan, tree.fd, ids, log);
  undo.move();
  return {
    outside,
    inside,
    ids,
    ownership,
    base: ids.base,
    map(mount, object) {
      if (ownership !== 'map' || ids.base === 0) return;
      // What is mounted in a tree, such as /proc, may be of another kind, and keeps its owners then.
      if (object.kind === 'tree' && object.recursive && map(mount, true)) return;
      using namespace = openUserNamespace(inside.pid);
      idmapTree(mount, namespace.fd, sourceOf(object, plan), false);
    },
  };
}

/** The root directory, without what is mounted below it, as a detached mount. */
function openTree({ hostObjects }: PlanWithUsers, origins: Origins): OwnedFd {
  const { root } = origins;
  if (root) return owned(passableFd(perform(cloneTree(root.fd, '', { recursive: false }))));
  const ofImage = Object.values(hostObjects).find(({ kind }) => kind === 'file system');
  return openHostObject({ ...ofImage!, mapped: false } as HostObject, origins);
}

/** Gives the files to them for good, unless this container is to leave them alone. */
async function giveTree(
  { directory: path, lock }: PlanWithUsers,
  tree: number,
  { base, count }: ContainerIds,
  log: Logger,
): Promise<void> {
  const { isShifted, shiftTree } = await import('./shift-tree.ts');
  if (lock === 'exclusive') await shiftTree({ tree, path, base, count }, log);
  else if (!isShifted(tree, base)) {
    throw new Error(
      `giving the files of ${path} to the user ids from ${base} on: this container writes nothing to them; start it once without --read-only, --volatile and --ephemeral`,
    );
  }
}

function sourceOf(object: HostObject, { directory }: Plan): { path: string } | { type: string } {
  if (object.kind === 'file system') return { type: object.type };
  const path = 'path' in object ? object.path : '';
  return { path: object.kind === 'tree' && object.inRoot ? `${directory}${path}` : path };
}
