/**
 * The agents of a container with users of its own: one outside of its user namespace, which makes its mounts with the
 * rights of this process, and one inside, which becomes the payload. Why there are two: src/plan/users.ts.
 */
import { type Agent, type AgentOptions, makeChannel, startAgent } from '../../syscalls/agent/agent.ts';
import { call } from '../../syscalls/call.ts';
import { CLONE } from '../../syscalls/constants.ts';
import { type IdRange, writeMaps } from '../../syscalls/idmap.ts';
import { actAs } from '../../syscalls/process.ts';
import { attempt } from '../execute/attempt.ts';
import { resetLoginuid } from '../execute/dynamic-steps.ts';
import type { Logger } from '../log.ts';

/** So many ids of the host's, from the first one on, are the container's. */
export interface IdsOfHost {
  base: number;
  count: number;
}

export interface Agents {
  outside: Agent;
  /** In the user namespace, and in the others that were asked for; still with the mounts of the other agent. */
  inside: Agent;
}

/** The maps of a container's users and groups. */
export interface IdMaps {
  uids: IdRange[];
  gids: IdRange[];
}

/**
 * Starts both; with a descriptor of a network namespace in that one. Throws SyscallError, or an Error that says what was
 * being done.
 */
export function startAgents(
  options: AgentOptions,
  { base, count }: IdsOfHost,
  maps: IdMaps,
  network: number | undefined,
  log: Logger,
): Agents {
  using undo = new DisposableStack();
  using channel = makeChannel();
  const fds = [...options.fds, channel.theirs, channel.arena.fd];
  const outside = undo.use(startAgent({ ...options, fds, namespaces: CLONE.NEWNS }));
  try {
    resetLoginuid(outside);
  } catch (error) {
    log.warn(`resetting the audit login uid: ${(error as Error).message}`);
  }
  // The other one has no right to.
  if (network !== undefined) {
    attempt('joining the network namespace', () => outside.run([call('setns', network, CLONE.NEWNET)]));
  }
  // What it makes from now on belongs to the container.
  const namespaces = CLONE.NEWUSER | (options.namespaces & ~CLONE.NEWNS);
  const inside = undo.use(attempt('making a user namespace', () => outside.fork(namespaces, channel, actAs(base))));
  attempt(`mapping the user ids 0 to ${count - 1} to ${base} to ${base + count - 1}`, () =>
    writeMaps(inside.pid, maps.uids, maps.gids),
  );
  undo.move();
  return { outside, inside };
}
