/** Who the payload runs as, by the container's own users. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { containerTree } from '../execute/container-tree.ts';
import { askGetent, GETENT, isRoot, lookUpUser, ROOT_USER, type RunInTree, type User } from '../execute/user.ts';
import { homeInContainer } from '../plan/bind-users.ts';
import type { Plan, Users } from '../plan/steps.ts';
import type { BoundUser } from '../users/bound-users.ts';

/**
 * Looks the payload's user up in the container that an agent has set up, where `bound` users of the host are known.
 * Throws an Error that says why the payload can't be this user.
 */
export async function payloadUser(
  plan: Plan,
  agent: Agent,
  bound: readonly BoundUser[],
  runInTree: RunInTree,
): Promise<User> {
  const user = await findUser(plan, agent, bound, runInTree);
  return plan.users ? withinUsers(user, plan.users) : user;
}

async function findUser(plan: Plan, agent: Agent, bound: readonly BoundUser[], runInTree: RunInTree): Promise<User> {
  const name = plan.payload.user;
  if (typeof name === 'object') {
    const { uid, gid, name: called = `${uid}`, home = '/' } = name;
    return { name: called, uid, gid, groups: [], home };
  }
  if (isRoot(name)) return name === 'root' ? ROOT_USER : { ...ROOT_USER, name };
  const id = bound.find(each => each.name === name)?.id;
  if (id !== undefined) return { name, uid: id, gid: id, groups: [id], home: homeInContainer(name) };
  using container = containerTree({ agent, plan });
  const found = lookUpUser(name, container);
  if (found) return found;
  if (container.has(GETENT)) return await askGetent(name, runInTree);
  throw new Error(
    `looking up the user ${JSON.stringify(name)}: the container's /etc/passwd does not know it, and there is no ${GETENT} to ask`,
  );
}

/** The user, if the container has such ids. Throws an Error. */
function withinUsers(user: User, { count, maps }: Users): User {
  const missing = [user.uid, user.gid, ...(user.groups ?? [])].find(id => id >= count);
  if (missing !== undefined) {
    const remedy =
      maps && count === 1
        ? "it has more where there are ranges for this user in /etc/subuid and /etc/subgid and Debian's package uidmap"
        : 'see --private-users=';
    throw new Error(
      `becoming the user ${user.name}: of the users and groups of its own the container has only 0 to ${count - 1}, not ${missing}; ${remedy}`,
    );
  }
  // Who has only one group may not give others up: user_namespaces(7), "Interaction with system calls…".
  return maps && count === 1 ? { ...user, groups: undefined } : user;
}
