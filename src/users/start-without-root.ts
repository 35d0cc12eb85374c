/**
 * The agents of an ordinary user's container. The one outside of the container's user namespace is root of another, which
 * is all that makes it different from one that root starts: src/plan/users.ts. What the container gets of the host is
 * opened by it as well, since this process may not mount anything.
 */
import { type Agent, type AgentOptions, type Channel, makeChannel, startAgent } from '../../syscalls/agent/agent.ts';
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, MOUNT_ATTR, MS, O, PR } from '../../syscalls/constants.ts';
import { openInRoot } from '../../syscalls/file.ts';
import { formatMap, type IdRange, writeMaps } from '../../syscalls/idmap.ts';
import { cloneTree, newMount, setMountAttributes } from '../../syscalls/mount.ts';
import { dieWithParent, setGid, setGroups, setUid } from '../../syscalls/process.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import { attempt } from '../execute/attempt.ts';
import type { Origins } from '../execute/host-objects.ts';
import { readLink, writeHostFile } from '../host.ts';
import { describeObject, type HostObject, type Plan, type Users } from '../plan/steps.ts';
import type { Agents } from './namespace.ts';
import type { Started } from './start.ts';
import { writeMapsByHelpers } from './subordinate.ts';

type Maps = NonNullable<Users['maps']>;

/**
 * Starts both agents, and has the first one open the plan's host objects; `fds` gets its descriptors. Throws an Error that
 * says what was being done.
 */
export function startWithoutRoot(
  plan: Plan,
  fds: Map<string, number>,
  options: AgentOptions,
  origins: Omit<Origins, 'base'>,
): Started {
  using undo = new DisposableStack();
  const { outside, inside } = startAgents(options, plan.users!.maps!);
  undo.use(outside);
  undo.use(inside);
  for (const [key, object] of Object.entries(plan.hostObjects)) {
    const open = () => openInAgent(object, plan.directory, outside, origins);
    fds.set(key, attempt(`opening ${describeObject(object, key)}`, open));
  }
  undo.move();
  return { outside, inside, ownership: 'off', bound: [] };
}

function startAgents(options: AgentOptions, maps: Maps): Agents {
  using undo = new DisposableStack();
  const channels = { outside: undo.use(makeChannel()), inside: undo.use(makeChannel()) };
  const fds = Object.values(channels).flatMap(({ theirs, arena }) => [theirs, arena.fd]);
  // A new program loses all rights in a user namespace that has no map yet; a forked agent does not.
  using first = startAgent({ ...options, fds: [...options.fds, ...fds], namespaces: 0n });
  const outside = undo.use(fork(first, CLONE.NEWUSER | CLONE.NEWNS, channels.outside));
  attempt('mapping the user and group ids', () => writeOwnMaps(outside.pid, maps));
  outside.run([
    ...(isOneId(maps.uids) ? [] : [setGroups([])]),
    setGid(0),
    setUid(0),
    dieWithParent,
    // A change of credentials has made the files in /proc of it and of what it forks root's.
    call('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0),
  ]);
  const inside = undo.use(fork(outside, CLONE.NEWUSER | (options.namespaces & ~CLONE.NEWNS), channels.inside));
  // Only who is in the namespace above may write them.
  outside.run([...writeMapCalls(inside.pid, 'uid_map', maps.uids), ...writeMapCalls(inside.pid, 'gid_map', maps.gids)]);
  undo.move();
  return { outside, inside };
}

const isOneId = ([first, ...others]: readonly IdRange[]): boolean => first?.count === 1 && others.length === 0;

function fork(agent: Agent, namespaces: bigint, channel: Channel): Agent {
  try {
    return attempt('making a user namespace', () => agent.fork(namespaces, channel));
  } catch (error) {
    const { cause } = error as Error;
    if (!(cause instanceof SyscallError) || !['EPERM', 'EACCES', 'ENOSPC', 'EUSERS'].includes(cause.code)) throw error;
    throw new Error(
      `${(error as Error).message}: this machine doesn't let ordinary users do so; see user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns in sysctl(8)`,
      { cause },
    );
  }
}

/** user_namespaces(7): one's own ids may be mapped by oneself, without setgroups(2); others take newuidmap(1). */
function writeOwnMaps(pid: number, { uids, gids }: Maps): void {
  if (!isOneId(uids)) {
    writeMapsByHelpers(pid, uids, gids);
    return;
  }
  writeHostFile(`/proc/${pid}/setgroups`, 'deny');
  writeMaps(pid, uids, gids);
}

/** The calls by which root of a namespace gives one below it the same ids. */
function writeMapCalls(pid: number, name: string, ranges: readonly IdRange[]): Call[] {
  const text = Buffer.from(formatMap(ranges.map(({ inside, count }) => ({ inside, outside: inside, count }))));
  const open = call('openat', AT.FDCWD, `/proc/${pid}/${name}`, O.WRONLY | O.CLOEXEC, 0);
  return [open, call('write', resultOf(open), text, text.length), call('close', resultOf(open))];
}

/** Has the agent open something of the host's; returns its descriptor. Throws an Error for what is not there. */
function openInAgent(
  object: HostObject,
  directory: string,
  agent: Agent,
  { console, notifySocket }: Omit<Origins, 'base'>,
): number {
  switch (object.kind) {
    case 'tree': {
      const { path, inRoot, recursive, readOnly } = object;
      const top = call('openat', AT.FDCWD, inRoot ? directory : path, O.PATH | O.CLOEXEC, 0);
      const source = inRoot ? openInRoot(top, path, O.PATH) : top;
      const copy = cloneTree(source, '', { recursive });
      const calls = [
        top,
        ...(inRoot ? [source] : []),
        copy,
        setMountAttributes(copy, { propagation: MS.SLAVE, recursive: true }),
        ...(readOnly ? [setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY, recursive: true })] : []),
        call('close', resultOf(top)),
        ...(inRoot ? [call('close', resultOf(source))] : []),
      ];
      return resultIn(agent, calls, copy);
    }
    case 'scratch': {
      const calls = newMount(
        'tmpfs',
        [{ key: 'mode', value: '0755' }, ...(object.options ?? [])],
        object.readOnly ? MOUNT_ATTR.RDONLY : MOUNT_ATTR.STRICTATIME,
      );
      return resultIn(agent, [...calls, call('close', resultOf(calls[0]!))], calls.at(-1)!);
    }
    case 'console': {
      if (!console) throw new Error('setting up the console: there is no pseudo terminal');
      // By its name: what this process has open is of other mounts than the agent's.
      const copy = cloneTree(AT.FDCWD, readLink(`/proc/self/fd/${console.fd}`)!, { recursive: false });
      return resultIn(agent, [copy], copy);
    }
    case 'notify socket':
      if (!notifySocket) throw new Error('nobody listens');
      return agent.sendFds([notifySocket.fd])[0]!;
    case 'ephemeral':
    case 'file system':
    case 'network namespace':
      throw new Error('only root can have it');
  }
}

const resultIn = (agent: Agent, calls: readonly Call[], wanted: Call): number =>
  agent.run(calls)[calls.indexOf(wanted)]!;
