/**
 * The agents of an ordinary user's container. The one outside of the container's user namespace is root of another, which
 * is all that makes it different from one that root starts: src/plan/users.ts. What the container gets of the host is
 * opened by it as well, since this process may not mount anything.
 */
import process from 'node:process';
import { type Agent, type AgentOptions, makeChannel, startAgent } from '../../syscalls/agent/agent.ts';
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, O, PR } from '../../syscalls/constants.ts';
import { duplicate } from '../../syscalls/fd.ts';
import { formatMap, type IdRange } from '../../syscalls/idmap.ts';
import { dieWithParent, joinNamespaces, setGid, setGroups, setUid } from '../../syscalls/process.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import type { EphemeralRoot } from '../container/ephemeral.ts';
import { attempt, type Piece, runPieces } from '../execute/attempt.ts';
import type { Origins } from '../execute/host-objects.ts';
import { isInRoot, type Plan, ROOT, type Users } from '../plan/steps.ts';
import { type Attached, attachEphemeralRoot } from './attach-ephemeral.ts';
import type { Agents } from './namespace.ts';
import { type OriginsInAgent, openInAgent } from './open-in-agent.ts';
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
  origins: Omit<OriginsInAgent, 'root'> & Pick<Origins, 'image'>,
): Started {
  using undo = new DisposableStack();
  const maps = plan.users!.maps!;
  const { outside, inside } = explained(() => startAgents(options, maps, origins.image?.namespaceOf));
  undo.use(outside);
  undo.use(inside);
  const isWhole = plan.hostObjects[ROOT]?.kind === 'ephemeral';
  const root = isWhole ? openEphemeralRoot(outside, plan, origins.ephemeral!) : undefined;
  // Only who is in the namespace above may write the maps of the one inside.
  const mapping = { doing: MAPPING, calls: writeMaps(inside.pid, sameIds(maps)) };
  openInAgent(outside, objectsToOpen(plan), { ...origins, root: root?.fd ?? plan.directory }, fds, [mapping]);
  if (root) outside.run([root.detach, call('close', root.fd)]);
  undo.move();
  return { outside, inside, ownership: 'off', bound: [] };
}

/** What is in an image is open already, or taken from there by a step. */
const objectsToOpen = ({ hostObjects, isImage }: Plan): Plan['hostObjects'] =>
  isImage
    ? Object.fromEntries(
        Object.entries(hostObjects).filter(([, object]) => object.kind !== 'file system' && !isInRoot(object)),
      )
    : hostObjects;

const openEphemeralRoot = (agent: Agent, { directory, lock, users }: Plan, { layers }: EphemeralRoot): Attached =>
  attempt(`making an ephemeral root of ${directory}`, () =>
    attachEphemeralRoot(agent, { directory, layers: layers!, isReadOnly: lock === 'none', maps: users!.maps! }),
  );

/** `namespaceOf` is a pidfd: the one outside is to be in that process's user namespace, instead of a new one. */
function startAgents(options: AgentOptions, maps: Maps, namespaceOf: number | undefined): Agents {
  using undo = new DisposableStack();
  const channel = undo.use(makeChannel());
  using there = namespaceOf === undefined ? undefined : duplicate(namespaceOf);
  const fds = [...options.fds, channel.theirs, channel.arena.fd, ...(there ? [there.fd] : [])];
  const outside = undo.use(startAgent({ ...options, fds, namespaces: 0n }));
  const namespaces = CLONE.NEWUSER | (options.namespaces & ~CLONE.NEWNS);
  const entering = there
    ? joinUserNamespace(there.fd, withOwnIds(maps))
    : enterUserNamespace(outside, CLONE.NEWNS, withOwnIds(maps));
  const inside = runPieces(entering, before => outside.fork(namespaces, channel, [], before));
  undo.move();
  return { outside, inside };
}

/** An agent that does what root of a user namespace with these maps may do. Throws an Error that says what failed. */
export const startMapped = (maps: Maps): Agent => startIn(0n, maps);

/** The same in a mount namespace of its own, where this user's files are its own as well. Throws as startMapped(). */
export const startMounting = (maps: Maps): Agent => startIn(CLONE.NEWNS, withOwnIds(maps));

function startIn(namespaces: bigint, maps: Maps): Agent {
  using undo = new DisposableStack();
  const agent = undo.use(startAgent({ fds: [], namespaces: 0n, dieWithParent: true }));
  explained(() => runPieces(enterUserNamespace(agent, namespaces, maps), calls => agent.run(calls)));
  undo.move();
  return agent;
}

const ENTERING = 'making a user namespace';
const MAPPING = 'mapping the user and group ids';

/**
 * Has an agent become root of a new user namespace, and of others (CLONE.NEW* bits) that belong to that; returns what is
 * left to be run for it. It does so by itself, as a program that is executed where there is no map yet loses all its rights
 * there.
 */
function enterUserNamespace(agent: Agent, namespaces: bigint, maps: Maps): Piece[] {
  const entering = { doing: ENTERING, calls: [call('unshare', CLONE.NEWUSER | namespaces)] };
  if (isOneId(maps.uids)) return [entering, { doing: MAPPING, calls: writeOwnMaps(maps) }, becomingRoot(maps)];
  runPieces([entering], calls => agent.run(calls));
  attempt(MAPPING, () => writeMapsByHelpers(agent.pid, maps.uids, maps.gids));
  return [becomingRoot(maps)];
}

/** By which an agent becomes root of the user namespace that a process is in, which has these maps, with its own mounts. */
const joinUserNamespace = (pidfd: number, maps: Maps): Piece[] => [
  {
    doing: 'joining the user namespace of the image',
    calls: [joinNamespaces(pidfd, CLONE.NEWUSER), call('unshare', CLONE.NEWNS)],
  },
  becomingRoot(maps),
];

const becomingRoot = (maps: Maps): Piece => ({
  doing: 'becoming root of the user namespace',
  calls: [
    ...(isOneId(maps.uids) ? [] : [setGroups([])]),
    setGid(0),
    setUid(0),
    dieWithParent,
    // A change of credentials has made the files in /proc of it and of what it forks root's.
    call('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0),
  ],
});

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

/** Says of what makes user namespaces, when it fails, what may forbid that. */
function explained<Result>(make: () => Result): Result {
  try {
    return make();
  } catch (error) {
    const failed = error instanceof SyscallError ? error : (error as Error).cause;
    if (!(failed instanceof SyscallError) || !MAKING.includes(failed.call.name)) throw error;
    const hint = REFUSALS.includes(failed.code)
      ? ": this machine doesn't let ordinary users do so; see user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns in sysctl(8)"
      : '';
    throw new Error(`${ENTERING}: ${failed.message}${hint}`, { cause: failed });
  }
}
const MAKING = ['unshare', 'fork_agent'];
const REFUSALS = ['EPERM', 'EACCES', 'ENOSPC', 'EUSERS'];

/** user_namespaces(7): one's own ids may be mapped by oneself, without setgroups(2); others take newuidmap(1). */
const writeOwnMaps = (maps: Maps): Call[] => [...writeTo('/proc/self/setgroups', 'deny'), ...writeMaps('self', maps)];

/** The calls that write the maps of a process's user namespace. */
const writeMaps = (pid: number | 'self', { uids, gids }: Maps): Call[] => [
  ...writeTo(`/proc/${pid}/uid_map`, formatMap(uids)),
  ...writeTo(`/proc/${pid}/gid_map`, formatMap(gids)),
];

/** The maps of a namespace that has the same ids as the one above it. */
const sameIds = ({ uids, gids }: Maps): Maps => ({ uids: uids.map(sameRange), gids: gids.map(sameRange) });
const sameRange = ({ inside, count }: IdRange): IdRange => ({ inside, outside: inside, count });

function writeTo(path: string, text: string): Call[] {
  const open = call('openat', AT.FDCWD, path, O.WRONLY | O.CLOEXEC, 0);
  const bytes = Buffer.from(text);
  return [open, call('write', resultOf(open), bytes, bytes.length), call('close', resultOf(open))];
}
