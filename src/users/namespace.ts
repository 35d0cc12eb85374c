/**
 * The agents of a container with users of its own: one outside of its user namespace, which makes its mounts with the
 * rights of this process, and one inside, which becomes the payload. Why there are two: src/plan/users.ts.
 */
import { type Agent, type AgentOptions, startAgent } from '../../syscalls/agent/agent.ts';
import { call } from '../../syscalls/call.ts';
import { CLONE } from '../../syscalls/constants.ts';
import { writeMaps } from '../../syscalls/idmap.ts';
import { dieWithParent, setGid, setGroups, setInheritable, setUid } from '../../syscalls/process.ts';
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
  /** Root of the user namespace, and of the others that were asked for; still in the mounts of the other agent. */
  inside: Agent;
}

/** Starts both. Throws SyscallError, or an Error that says what was being done. */
export function startAgents(options: AgentOptions, { base, count }: IdsOfHost, log: Logger): Agents {
  using undo = new DisposableStack();
  const outside = undo.use(startAgent({ ...options, namespaces: CLONE.NEWNS }));
  try {
    resetLoginuid(outside);
  } catch (error) {
    log.warn(`resetting the audit login uid: ${(error as Error).message}`);
  }
  const namespaces = CLONE.NEWUSER | (options.namespaces & ~CLONE.NEWNS);
  const inside = undo.use(attempt('making a user namespace', () => outside.fork(namespaces)));
  attempt(`mapping the user ids 0 to ${count - 1} to ${base} to ${base + count - 1}`, () =>
    writeMaps(inside.pid, [{ inside: 0, outside: base, count }]),
  );
  // The working directory follows when the other one changes the root directory.
  inside.run([call('chdir', '/'), setGroups([]), setGid(0), setUid(0), dieWithParent]);
  // What it makes belongs to the container. That takes rights over files away, which the last call gives back.
  outside.run([call('setfsgid', base), call('setfsuid', base), setInheritable(0n)]);
  undo.move();
  return { outside, inside };
}
