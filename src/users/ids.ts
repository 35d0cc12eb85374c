/** Which ids of the host a container's users have, and how its tree comes to belong to them. */
import { fileStatus } from '../../syscalls/file.ts';
import type { Plan, Users } from '../plan/steps.ts';
import type { Lease } from './lease.ts';
import type { IdsOfHost } from './namespace.ts';
import { baseOfTree, pickRange } from './range.ts';

/** Disposing of it lets the ids go. */
export interface ContainerIds extends IdsOfHost, Disposable {
  /** If this process is killed, the one behind the pidfd has them until it ends. */
  belongsTo(pidfd: number): void;
}

/**
 * Settles on the ids of a container. `root` is its root directory; only for ids that are to be picked, or that are those
 * of the tree. Throws an Error when there are none.
 */
export function settleIds(plan: Plan & { users: Users }, root: number): ContainerIds {
  const { base, count } = plan.users;
  const lease: Lease | undefined = base === 'pick' ? pickRange(plan.machine, fileStatus(root)) : undefined;
  return {
    base: lease?.base ?? (typeof base === 'number' ? base : baseOfTree(fileStatus(root))),
    count,
    belongsTo: pidfd => lease?.belongsTo(pidfd),
    [Symbol.dispose]: () => lease?.[Symbol.dispose](),
  };
}

/**
 * How a tree whose root directory this is comes to belong to the container's users. `canMap` tells whether it can be
 * shown with other owners. Throws an Error for what can't be.
 */
export function settleOwnership(
  { users: { base, ownership }, directory }: Plan & { users: Users },
  root: number,
  canMap: () => boolean,
): 'off' | 'chown' | 'map' {
  if (ownership === 'off' || ownership === 'chown') return ownership;
  // What has been changed already is not shown as belonging to yet others: as with systemd-nspawn.
  const ofTree = typeof base === 'number' ? 0 : baseOfTree(fileStatus(root));
  if (ownership === 'auto') return ofTree === 0 && canMap() ? 'map' : 'chown';
  if (ofTree === 0) return 'map';
  throw new Error(
    `mapping the user ids of ${directory}: its files belong to the user ids from ${ofTree} on already; use --private-users-ownership=chown`,
  );
}
