/** Which ids of the host a container's users have. */
import { fileStatus } from '../../syscalls/file.ts';
import type { Plan } from '../plan/steps.ts';
import type { IdsOfHost } from './namespace.ts';
import { baseOfTree, pickRange } from './range.ts';

/** Disposing of it lets the ids go. */
export interface ContainerIds extends IdsOfHost, Disposable {
  /** If this process is killed, the one behind the pidfd has them until it ends. */
  belongsTo(pidfd: number): void;
}

/** Settles on the ids of a container with this root directory, for a plan with users. Throws an Error if there are none. */
export function settleIds({ machine, users }: Pick<Plan, 'machine' | 'users'>, root: number): ContainerIds {
  const { base, count } = users!;
  const lease = base === 'pick' ? pickRange(machine, fileStatus(root)) : undefined;
  return {
    base: lease?.base ?? (typeof base === 'number' ? base : baseOfTree(fileStatus(root))),
    count,
    belongsTo: pidfd => lease?.belongsTo(pidfd),
    [Symbol.dispose]: () => lease?.[Symbol.dispose](),
  };
}
