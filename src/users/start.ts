/** What a start with users of the container's own does more: their ids, the agents, and whose the tree is. */
import type { AgentOptions } from '../../syscalls/agent/agent.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { allowing } from '../../syscalls/call.ts';
import { owned } from '../../syscalls/fd.ts';
import { fileStatus } from '../../syscalls/file.ts';
import { idmapMount, openUserNamespace } from '../../syscalls/idmap.ts';
import { cloneTree } from '../../syscalls/mount.ts';
import { killAndWait } from '../../syscalls/process.ts';
import { perform } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';
import { type HostObject, NETWORK, type Plan, type Users } from '../plan/steps.ts';
import { viewRoot } from '../root-view.ts';
import { type BoundUser, mapsWith, placeUsers } from './bound-users.ts';
import { idmapTree, REFUSALS } from './idmap.ts';
import type { Lease } from './lease.ts';
import { type Agents, type IdsOfHost, startAgents } from './namespace.ts';
import { baseOfTree, pickRange, settledBaseOfTree } from './range.ts';
import type { Progress } from './shift-tree.ts';

/** Disposing of it lets the ids go. */
export interface ContainerIds extends IdsOfHost, Disposable {
  /** For picked ones. */
  lease: Lease | undefined;
}

/** Settles on the ids of a container with this root directory, for a plan with users. Throws an Error if there are none. */
export function settleIds({ machine, users }: Pick<Plan, 'machine' | 'users'>, root: number): ContainerIds {
  const { base, count } = users!;
  const lease = base === 'pick' ? pickRange(machine, fileStatus(root)) : undefined;
  return {
    base: lease?.base ?? (typeof base === 'number' ? base : settledBaseOfTree(fileStatus(root))),
    count,
    lease,
    [Symbol.dispose]: () => lease?.[Symbol.dispose](),
  };
}

export interface Started extends Agents {
  /** How the tree's files have come to belong to the container. */
  ownership: Ownership;
  bound: BoundUser[];
}

type Ownership = Exclude<Users['ownership'], 'auto'>;

/** A container with users of its own. */
interface WithUsers {
  plan: Plan & { users: Users };
  ids: ContainerIds;
  /** Its host objects. */
  fds: ReadonlyMap<string, number>;
  /** The root directory of its tree. */
  root: number;
  log: Logger;
  /** Told how far it is while files are given to the container. */
  progress: Progress | undefined;
}

/**
 * Starts the agents, and has the tree belong to the container: host objects are shown with other owners where the plan
 * says so. Rejects with an Error; nothing is left then.
 */
export async function startWithUsers(container: WithUsers, options: AgentOptions): Promise<Started> {
  using undo = new DisposableStack();
  const { ids, log } = container;
  const bound = placeBoundUsers(container);
  const { outside, inside } = startAgents(options, ids, mapsWith(bound, ids), container.fds.get(NETWORK), log);
  undo.use(outside);
  undo.use(inside);
  using namespace = openUserNamespace(inside.pid);
  const { ownership, whyNotMapped } = settleOwnership(container, namespace.fd);
  if (ownership === 'chown') {
    const { lease } = ids;
    // That takes long, and is before anybody else is told of the container.
    using _ = lease && entrust([inside.pidfd, lease.fd], ([pidfd]) => [...killAndWait(pidfd!), lease.remove]);
    await giveTree(container, whyNotMapped);
  }
  undo.move();
  return { outside, inside, ownership, bound };
}

/** Users of the host with the ids that they have in the container. */
function placeBoundUsers({ plan, ids, root }: WithUsers): BoundUser[] {
  const { bound } = plan.users;
  if (bound.length === 0) return [];
  using view = viewRoot(`/proc/self/fd/${root}`);
  return placeUsers(bound, ids, view);
}

/** Settles on how the tree comes to belong to the container's users, and shows it as theirs if it is to be so. */
function settleOwnership(
  { plan, ids, fds, root, log }: WithUsers,
  namespace: number,
): { ownership: Ownership; whyNotMapped?: string } {
  const { base: asked, ownership } = plan.users;
  if (ownership === 'off' || ownership === 'chown') return { ownership };
  // What has been changed already is not shown as belonging to yet others: as with systemd-nspawn.
  const ofTree = typeof asked === 'number' ? 0 : baseOfTree(fileStatus(root));
  if (ofTree !== 0) {
    if (ownership === 'auto') return { ownership: 'chown' };
    throw new Error(
      `mapping the user ids of ${plan.directory}: its files belong to the user ids from ${ofTree} on already; use --private-users-ownership=chown`,
    );
  }
  if (ids.base === 0) return { ownership: 'map' };
  const mapped = Object.entries(plan.hostObjects).flatMap(([key, object]) => {
    const fd = fds.get(key);
    return fd !== undefined && 'mapped' in object ? [{ fd, object }] : [];
  });
  for (const [i, { fd, object }] of mapped.entries()) {
    try {
      // The agent has the same mount: it is shown so for all.
      map(fd, object, plan, namespace);
    } catch (error) {
      if (ownership === 'map') throw error;
      const whyNotMapped = (error as Error).message;
      if (i === 0) return { ownership: 'chown', whyNotMapped };
      log.warn(whyNotMapped);
    }
  }
  return { ownership: 'map' };
}

function map(mount: number, object: HostObject, plan: Plan, namespace: number): void {
  const change = idmapMount(mount, namespace, { recursive: true });
  // What is mounted in a tree, such as /proc, may be of another kind, and keeps its owners then.
  if (object.kind === 'tree' && object.recursive && perform(allowing(change, ...REFUSALS)) >= 0) return;
  idmapTree(mount, namespace, sourceOf(object, plan), false);
}

function sourceOf(object: HostObject, { directory }: Plan): { path: string } | { type: string } {
  if (object.kind === 'file system') return { type: object.type };
  const path = 'path' in object ? object.path : '';
  return { path: object.kind === 'tree' && object.inRoot ? `${directory}${path}` : path };
}

/** File systems whose files belong to nobody in particular. */
const NO_OWNERS: readonly string[] = ['vfat', 'exfat'];

/** Gives the files to them for good, unless this container is to leave them alone. */
async function giveTree(
  { plan, ids, fds, root, log, progress }: WithUsers,
  whyNotMapped: string | undefined,
): Promise<void> {
  const { isShifted, shiftTree } = await import('./shift-tree.ts');
  const { directory: path, lock, hostObjects } = plan;
  const { base, count }: IdsOfHost = ids;
  if (lock !== 'exclusive') {
    if (isShifted(root, base)) return;
    throw new Error(
      `giving the files of ${path} to the user ids from ${base} on: this container writes nothing to them; start it once without --read-only and --volatile${whyNotMapped ? ` (${whyNotMapped})` : ''}`,
    );
  }
  if (!plan.isImage) {
    // What is mounted in it is left alone.
    using tree = owned(perform(cloneTree(root, '', { recursive: false })));
    await shiftTree({ tree: tree.fd, path, base, count }, log, progress);
    return;
  }
  for (const [key, object] of Object.entries(hostObjects)) {
    if (object.kind !== 'file system' || object.readOnly || NO_OWNERS.includes(object.type)) continue;
    await shiftTree({ tree: fds.get(key)!, path: object.name, base, count }, log, progress);
  }
}
