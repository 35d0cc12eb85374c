/**
 * The agents of an ordinary user's container. The one outside of the container's user namespace is root of another, which
 * is all that makes it different from one that root starts: src/plan/users.ts. What the container gets of the host is
 * opened by it as well, since this process may not mount anything.
 */
import process from 'node:process';
import { type Agent, type AgentOptions, type Channel, makeChannel, startAgent } from '../../syscalls/agent/agent.ts';
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, MOUNT_ATTR, MS, O, PR } from '../../syscalls/constants.ts';
import { openInRoot } from '../../syscalls/file.ts';
import { formatMap, type IdRange, writeMaps } from '../../syscalls/idmap.ts';
import { cloneTree, newMount, setMountAttributes } from '../../syscalls/mount.ts';
import { dieWithParent, setGid, setGroups, setUid } from '../../syscalls/process.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import type { EphemeralRoot } from '../container/ephemeral.ts';
import { attempt } from '../execute/attempt.ts';
import type { Origins } from '../execute/host-objects.ts';
import { readLink, writeHostFile } from '../host.ts';
import { describeObject, type HostObject, type Plan, type Users } from '../plan/steps.ts';
import { type Attached, attachEphemeralRoot } from './attach-ephemeral.ts';
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
  const root = origins.ephemeral && openEphemeralRoot(outside, plan, origins.ephemeral);
  for (const [key, object] of Object.entries(plan.hostObjects)) {
    const open = () => openInAgent(object, root?.fd ?? plan.directory, outside, origins);
    fds.set(key, attempt(`opening ${describeObject(object, key)}`, open));
  }
  if (root) outside.run([root.detach, call('close', root.fd)]);
  undo.move();
  return { outside, inside, ownership: 'off', bound: [] };
}

const openEphemeralRoot = (agent: Agent, { directory, lock, users }: Plan, { layers }: EphemeralRoot): Attached =>
  attempt(`making an ephemeral root of ${directory}`, () =>
    attachEphemeralRoot(agent, { directory, layers: layers!, isReadOnly: lock === 'none', maps: users!.maps! }),
  );

function startAgents(options: AgentOptions, maps: Maps): Agents {
  using undo = new DisposableStack();
  const channels = { outside: undo.use(makeChannel()), inside: undo.use(makeChannel()) };
  const fds = Object.values(channels).flatMap(({ theirs, arena }) => [theirs, arena.fd]);
  // A new program loses all rights in a user namespace that has no map yet; a forked agent does not.
  using first = startAgent({ ...options, fds: [...options.fds, ...fds], namespaces: 0n });
  const outside = undo.use(forkMapped(first, CLONE.NEWNS, channels.outside, withOwnIds(maps)));
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

/** An agent that does what root of a user namespace with these maps may do. Throws an Error that says what failed. */
export function startMapped(maps: Maps): Agent {
  using undo = new DisposableStack();
  const channel = undo.use(makeChannel());
  const fds = [channel.theirs, channel.arena.fd];
  using first = startAgent({ fds, namespaces: 0n, dieWithParent: true });
  const agent = undo.use(forkMapped(first, 0n, channel, maps));
  undo.move();
  return agent;
}

function forkMapped(first: Agent, namespaces: bigint, channel: Channel, maps: Maps): Agent {
  using undo = new DisposableStack();
  const agent = undo.use(fork(first, CLONE.NEWUSER | namespaces, channel));
  attempt('mapping the user and group ids', () => writeOwnMaps(agent.pid, maps));
  undo.move();
  return agent;
}

/** Whoever has rights over the user's own files as well: the container gets none of these ids. */
const withOwnIds = ({ uids, gids }: Maps): Maps => ({
  uids: including(process.geteuid!(), uids),
  gids: including(process.getegid!(), gids),
});

function including(id: number, ranges: readonly IdRange[]): IdRange[] {
  if (ranges.some(({ outside, count }) => id >= outside && id < outside + count)) return [...ranges];
  const free = Math.max(...ranges.map(({ inside, count }) => inside + count));
  return [...ranges, { inside: free, outside: id, count: 1 }];
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

/**
 * Has the agent open something of the host's; returns its descriptor. `root` is the container's root directory, by its
 * path or as a descriptor of the agent's. Throws an Error for what is not there.
 */
function openInAgent(
  object: HostObject,
  root: string | number,
  agent: Agent,
  { console, notifySocket }: Omit<Origins, 'base'>,
): number {
  switch (object.kind) {
    case 'tree': {
      const { recursive, readOnly } = object;
      const opening = openFrom(object, root);
      const source = opening.at(-1)!;
      const copy = cloneTree(source, '', { recursive });
      const calls = [
        ...opening,
        copy,
        setMountAttributes(copy, { propagation: MS.SLAVE, recursive: true }),
        ...(readOnly ? [setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY, recursive: true })] : []),
        ...opening.map(each => call('close', resultOf(each))),
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
      return agent.run([cloneTree(root as number, '', { recursive: false })])[0]!;
    case 'file system':
    case 'network namespace':
      throw new Error('only root can have it');
  }
}

/** The calls that open the original of a tree, which is the result of the last one. */
function openFrom({ path, inRoot }: Extract<HostObject, { kind: 'tree' }>, root: string | number): Call[] {
  const open = (from: string) => call('openat', AT.FDCWD, from, O.PATH | O.CLOEXEC, 0);
  if (!inRoot) return [open(path)];
  if (typeof root === 'number') return [openInRoot(root, path, O.PATH)];
  const top = open(root);
  return [top, openInRoot(top, path, O.PATH)];
}

const resultIn = (agent: Agent, calls: readonly Call[], wanted: Call): number =>
  agent.run(calls)[calls.indexOf(wanted)]!;
