/**
 * Runs a command in a container that runs already. An agent joins the namespaces and cgroups of the container's first
 * process and gives up what the container must not have; only then does it fork what becomes the command. Until there
 * it is nobody that the container could see, and what root in the container can then look into holds nothing of the
 * host's. See setns(2).
 */
import process from 'node:process';
import { type Agent, startAgent } from '../../syscalls/agent/agent.ts';
import { allowing, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, O, TIOC } from '../../syscalls/constants.ts';
import { duplicate, type OwnedFd, owned } from '../../syscalls/fd.ts';
import { dieWithParent, joinNamespaces, setCapabilities } from '../../syscalls/process.ts';
import { perform, SyscallError, syscall } from '../../syscalls/syscall.ts';
import { attempt } from '../execute/attempt.ts';
import { agentView } from '../execute/container-tree.ts';
import { payloadEnvironment } from '../execute/environment.ts';
import { limitPieces } from '../execute/limits.ts';
import {
  candidates,
  confinement,
  execFirst,
  identity,
  labelled,
  signals,
  startInit,
  streamCalls,
} from '../execute/payload.ts';
import { isRoot, lookUpUser, ROOT_USER, type User } from '../execute/user.ts';
import { readHostFile, readIfThere, readLink, writeHostFile } from '../host.ts';
import { checkOptions } from '../options/check.ts';
import { cgroupDirectory, type Hierarchy, hierarchiesOf, isUnified } from '../plan/cgroups.ts';
import { hasSelinux } from '../plan/selinux.ts';
import type { Payload, SystemCallFilter } from '../plan/steps.ts';
import { ITSELF, openControl } from './cgroup-directory.ts';
import { type ContainerRecord, openContainer } from './record.ts';
import type { PayloadStreams } from './start.ts';

/** What is to run in a container. */
export interface JoinOptions {
  /** argv; absent or empty: the user's shell. */
  command?: string[];
  /** Name or number, by the container's passwd file. Default: root. */
  user?: string;
  /** Default: the root directory; for a shell the user's home. */
  chdir?: string;
  /** NAME=VALUE assignments over all that nspawn sets. */
  environment?: string[];
}

/** A command that runs in a container. */
export interface Joined {
  /** Process id of its parent in the host's namespace, which ends with its exit status, or 255 if a signal ended it. */
  pid: number;
  /** The caller closes it. */
  pidfd: number;
}

/** The namespaces, by their files in /proc/PID/ns. */
const NAMESPACES = {
  cgroup: CLONE.NEWCGROUP,
  ipc: CLONE.NEWIPC,
  mnt: CLONE.NEWNS,
  net: CLONE.NEWNET,
  pid: CLONE.NEWPID,
  user: CLONE.NEWUSER,
  uts: CLONE.NEWUTS,
};

/** Those of a process that are not this one's: to join these again would take rights that not everybody has. */
function otherNamespaces(pid: number): bigint {
  const isOther = (name: string) => readLink(`/proc/${pid}/ns/${name}`) !== readLink(`/proc/self/ns/${name}`);
  return Object.entries(NAMESPACES).reduce((flags, [name, flag]) => (isOther(name) ? flags | flag : flags), 0n);
}

/**
 * Runs a command in a container. A pseudo terminal is one of the host, and its controlling terminal. Rejects with an
 * Error that says what failed; nothing is left then.
 */
export async function joinContainer(
  record: ContainerRecord,
  options: JoinOptions,
  stdio: PayloadStreams,
): Promise<Joined> {
  checkOptions({ ...options });
  const filter = record.filter && (await filterOf(record.machine, record.filter, options));
  using leader = openContainer(record);
  using passed = new DisposableStack();
  const pidfd = passed.use(duplicate(leader.fd)).fd;
  const inNamespace = readLink(`/proc/${record.pid}/ns/user`) !== readLink('/proc/self/ns/user');
  const payload = { ...payloadOf(record.pid, options), ...(filter && { filter }) };
  // Where groups can't be given up: user_namespaces(7).
  const mayChange = readIfThere(`/proc/${record.pid}/setgroups`)?.toString().trim() !== 'deny';
  // What was read is that of this container's: it still runs.
  openContainer(record)[Symbol.dispose]();

  const own = hierarchiesOf('self');
  const isOwn = (each: Hierarchy) =>
    own.some(({ controllers, path }) => controllers === each.controllers && path === each.path);
  const cgroups = hierarchiesOf(record.pid).filter(each => !isOwn(each));
  const unified = cgroups.find(isUnified);
  const cgroup = unified && passed.use(openDirectory(cgroupDirectory(unified))).fd;
  const console = 'console' in stdio ? passed.use(duplicate(stdio.console.fd)).fd : undefined;
  const streams = 'fds' in stdio ? stdio.fds : ([console!, console!, console!] as const);
  const above = passed.use(cgroup === undefined ? undefined : namespaceAbove(record.pid));
  const fds = [pidfd, ...new Set(streams), ...(above ? [above.fd] : [])];
  using agent = explained(record.machine, () =>
    startAgent({ namespaces: 0n, fds, dieWithParent: true, ...(cgroup !== undefined && !above && { cgroup }) }),
  );
  for (const hierarchy of cgroups.filter(each => !isUnified(each))) {
    attempt("moving into the container's cgroup", () =>
      writeHostFile(`${cgroupDirectory(hierarchy)}/cgroup.procs`, `${agent.pid}`),
    );
  }
  // By the host's /proc: in the container's this process is not to be found.
  for (const { doing, calls } of labelled(contextOf(record.pid))) attempt(doing, () => agent.run(calls));
  if (above) explained(record.machine, () => moveWithRightsAbove(agent, above.fd, cgroup!));
  attempt(`joining the container ${record.machine}`, () =>
    agent.run([joinNamespaces(pidfd, otherNamespaces(record.pid))]),
  );
  const found = userOf(options.user ?? 'root', agent);
  const user = mayChange ? found : { ...found, groups: undefined };

  const terminal = console === undefined ? [] : [call('ioctl', 0, TIOC.SCTTY, 0)];
  const home = payload.command.length ? '/' : user.home;
  const pieces = [
    { doing: 'connecting the standard streams', calls: streamCalls(streams) },
    ...limitPieces([]),
    ...confinement(payload, inNamespace),
    { doing: `becoming the user ${user.name}`, calls: identity(user, 0n) },
    // Others have none left.
    ...(user.uid === 0 ? [{ doing: 'giving up capabilities', calls: [setCapabilities(payload.capabilities)] }] : []),
    startInit('nspawn-exec'),
    { doing: 'starting a session', calls: [dieWithParent, call('setsid'), ...terminal] },
    payload.chdir
      ? { doing: `changing into the directory ${payload.chdir}`, calls: [call('chdir', payload.chdir)] }
      : { doing: `changing into the directory ${home}`, calls: [{ ...call('chdir', home), allow: 'any' as const }] },
    { doing: 'resetting the signals', calls: signals() },
  ];
  const environment = payloadEnvironment(payload, user);
  execFirst(agent, pieces, candidates(payload, environment), environment);
  agent.detach();
  return { pid: agent.pid, pidfd: agent.pidfd };
}

/**
 * The user namespace that an ordinary user's container has its own in, where that isn't this process's. Its root has
 * rights over what is this user's and over what the container's users have made. Throws SyscallError.
 */
function namespaceAbove(pid: number): OwnedFd | undefined {
  if (process.geteuid!() === 0) return undefined;
  using theirs = owned(syscall('openat', AT.FDCWD, `/proc/${pid}/ns/user`, O.RDONLY | O.CLOEXEC, 0));
  const fd = perform(allowing(call('ioctl', theirs.fd, NS_GET_PARENT, 0), 'EPERM'));
  if (fd < 0) return undefined;
  using above = owned(fd);
  return readLink(`/proc/self/fd/${fd}`) === readLink('/proc/self/ns/user') ? undefined : duplicate(above.fd);
}
/** ioctl_ns(2): linux/nsfs.h */
const NS_GET_PARENT = 0xb702;

/** Has an agent move into a cgroup of version 2 as root of a user namespace. Throws SyscallError, AgentDiedError. */
function moveWithRightsAbove(agent: Agent, namespace: number, cgroup: number): void {
  const [directory] = agent.sendFds([cgroup]);
  const open = openControl(directory!, 'cgroup.procs');
  agent.run([
    call('setns', namespace, CLONE.NEWUSER),
    open,
    call('write', resultOf(open), ITSELF, ITSELF.length),
    call('close', resultOf(open)),
    call('close', directory!),
  ]);
}

/** Says what helps who may not join a cgroup. */
function explained<Result>(machine: string, join: () => Result): Result {
  try {
    return join();
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'EACCES') throw error;
    // Who may write to both cgroups must also write to the one that both are in: cgroups(7), "Delegation containment".
    throw new Error(
      `joining the cgroup of the container ${machine}: ${error.text} (EACCES); try systemd-run --user --scope nspawn exec ${machine} …`,
      { cause: error },
    );
  }
}

const openDirectory = (path: string): OwnedFd =>
  owned(syscall('openat', AT.FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));

/** The container's own filter, from its record. Rejects if no command can be started with it. */
async function filterOf(machine: string, text: string, { chdir }: JoinOptions): Promise<SystemCallFilter> {
  const { CALLS_AFTER_FILTER, CALLS_OF_INIT, refusedCall } = await import('../plan/system-call-filter.ts');
  const program = new Uint8Array(Buffer.from(text, 'base64'));
  const refused = refusedCall(program, [...CALLS_AFTER_FILTER, ...CALLS_OF_INIT, ...(chdir ? ['chdir'] : [])]);
  if (!refused) return { program, unknown: [] };
  throw new Error(
    `running a command in ${machine}: the container's --system-call-filter= forbids ${refused}, without which none can be started`,
  );
}

/** The label of a container that has another one than this process, for SELinux. */
function contextOf(pid: number): string | undefined {
  if (!hasSelinux()) return undefined;
  const [own, theirs] = ['self', pid].map(each => readHostFile(`/proc/${each}/attr/current`).toString());
  return own === theirs ? undefined : theirs?.replace(/\0$/, '');
}

/** What holds for the container holds for the command: proc_pid_status(5). */
function payloadOf(pid: number, { command = [], chdir, environment = [] }: JoinOptions): Payload {
  const status = readHostFile(`/proc/${pid}/status`).toString();
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\w+)`, 'm').exec(status)?.[1] ?? '0';
  return {
    command,
    boot: false,
    asPid2: false,
    user: 'root',
    environment,
    capabilities: BigInt(`0x${field('CapBnd')}`),
    ambientCapabilities: 0n,
    noNewPrivileges: field('NoNewPrivs') === '1',
    files: [],
    credentials: [],
    rlimits: [],
    ...(chdir !== undefined && { chdir }),
  };
}

/** `agent` is in the container. */
function userOf(name: string, agent: Agent): User {
  if (isRoot(name)) return { ...ROOT_USER, name };
  const user = lookUpUser(name, agentView(agent));
  if (!user)
    throw new Error(`looking up the user ${JSON.stringify(name)}: the container's passwd file does not know it`);
  return user;
}
