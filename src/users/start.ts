/** What a start with users of the container's own does more: their ids, the agents, and whose the tree is. */
import type { AgentOptions } from '../../syscalls/agent/agent.ts';
import { allowing } from '../../syscalls/call.ts';
import { type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { idmapMount, openUserNamespace } from '../../syscalls/idmap.ts';
import { cloneTree } from '../../syscalls/mount.ts';
import { perform } from '../../syscalls/syscall.ts';
import { type Origins, openHostObject } from '../execute/host-objects.ts';
import type { Logger } from '../log.ts';
import type { HostObject, Plan, Users } from '../plan/steps.ts';
import { idmapTree, REFUSALS } from './idmap.ts';
import { type ContainerIds, settleIds, settleOwnership } from './ids.ts';
import { type Agents, startAgents } from './namespace.ts';

export type PlanWithUsers = Plan & { users: Users };

export interface Started extends Agents {
  /** How the tree's files have come to belong to the container. */
  ownership: 'off' | 'chown' | 'map';
}

/** Settles on the ids of a container with users of its own. Throws an Error. */
export function openIds(plan: PlanWithUsers, origins: Origins): ContainerIds {
  if (typeof plan.users.base === 'number') return settleIds(plan, -1);
  using tree = openTree(plan, origins);
  return settleIds(plan, tree.fd);
}

/**
 * Starts the agents, and has the tree belong to the container: `fds` are its host objects, of which those are shown with
 * other owners for which the plan says so. Rejects with an Error; nothing is left then.
 */
export async function startWithUsers(
  plan: PlanWithUsers,
  ids: ContainerIds,
  fds: ReadonlyMap<string, number>,
  options: AgentOptions,
  origins: Origins,
  log: Logger,
): Promise<Started> {
  using undo = new DisposableStack();
  const { outside, inside } = startAgents(options, ids, log);
  undo.use(outside);
  undo.use(inside);
  ids.belongsTo(inside.pidfd);
  using namespace = openUserNamespace(inside.pid);
  const ownership = await settle(plan, ids, namespace.fd, origins, log);
  if (ownership === 'map' && ids.base !== 0) {
    for (const [key, object] of Object.entries(plan.hostObjects)) {
      const fd = fds.get(key);
      // The agent has the same mount: it is shown so for all.
      if (fd !== undefined && 'mapped' in object) map(fd, object, plan, namespace.fd);
    }
  }
  undo.move();
  return { outside, inside, ownership };
}

async function settle(
  plan: PlanWithUsers,
  ids: ContainerIds,
  namespace: number,
  origins: Origins,
  log: Logger,
): Promise<Started['ownership']> {
  const { ownership, base } = plan.users;
  if (ownership === 'off' || (ownership === 'map' && typeof base === 'number')) return ownership;
  using tree = openTree(plan, origins);
  const canMap = () => perform(allowing(idmapMount(tree.fd, namespace, { recursive: false }), ...REFUSALS)) >= 0;
  const settled = settleOwnership(plan, tree.fd, canMap);
  if (settled === 'chown') await giveTree(plan, tree.fd, ids, log);
  return settled;
}

function map(mount: number, object: HostObject, plan: Plan, namespace: number): void {
  const change = idmapMount(mount, namespace, { recursive: true });
  // What is mounted in a tree, such as /proc, may be of another kind, and keeps its owners then.
  if (object.kind === 'tree' && object.recursive && perform(allowing(change, ...REFUSALS)) >= 0) return;
  idmapTree(mount, namespace, sourceOf(object, plan), false);
}

/** The root directory, without what is mounted below it, as a detached mount. */
function openTree({ hostObjects }: PlanWithUsers, origins: Origins): OwnedFd {
  const { root } = origins;
  if (root) return owned(passableFd(perform(cloneTree(root.fd, '', { recursive: false }))));
  const ofImage = Object.values(hostObjects).find(({ kind }) => kind === 'file system');
  return openHostObject(ofImage!, origins);
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
