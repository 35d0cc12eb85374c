/** From a plan to a running payload. */
import { type Agent, startAgent } from '../../syscalls/agent/agent.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { call } from '../../syscalls/call.ts';
import { AT, CLONE, SIG } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { killAndWait, signalProcess } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { attempt } from '../execute/attempt.ts';
import { checkTree } from '../execute/check-tree.ts';
import { makeHome } from '../execute/home.ts';
import { type Origins, openHostObject, openSource } from '../execute/host-objects.ts';
import { type PreparedPayload, preparePayload, runPayload, type Streams } from '../execute/payload.ts';
import { carryOut } from '../execute/setup.ts';
import { ROOT_USER, type RunInTree } from '../execute/user.ts';
import { writeHostFile } from '../host.ts';
import type { OpenImage } from '../image/open.ts';
import type { Logger } from '../log.ts';
import { describeObject, type HostObject, isInRoot, type Plan, type Users } from '../plan/steps.ts';
import type { HostUnit } from '../registration/host-unit.ts';
import { viewRoot } from '../root-view.ts';
import type { Progress } from '../users/shift-tree.ts';
import type { EphemeralRoot } from './ephemeral.ts';
import { type ListenFd, passableFds, withListenFds } from './listen-fds.ts';
import { lockTree } from './lock.ts';
import { openMembership } from './membership.ts';
import type { Terminal } from './own-pty.ts';
import { payloadUser } from './payload-user.ts';
import { forgetContainer } from './record.ts';
import { loadStepModules } from './step-modules.ts';
import type { Usage } from './usage.ts';
import { makeWorkDirectory } from './work-directory.ts';

/** A container whose payload runs. Disposing of `resources` lets go of all that is held for it. */
export interface Started {
  pid: number;
  pidfd: number;
  resources: DisposableStack;
  /** What the host's service manager knows of it, if anything. */
  unit: HostUnit | undefined;
  /** With a disk image: resolves when the kernel has let go of it, after the container's end. */
  released?: () => Promise<void>;
  /** For a plan with limits: what has been used so far. */
  usage?: () => Usage;
}

/** A pseudo terminal, or descriptors for standard input, output and error. */
export type PayloadStreams = Terminal | { fds: readonly [number, number, number] };

export interface StartOptions {
  log: Logger;
  /** Told how far it is where all files are given to the container's users. */
  progress?: Progress | undefined;
  streams: PayloadStreams;
  /**
   * Runs a program in a container of its own on the same tree, and if that is in a disk image, on what is open of it, with
   * the users that this one has got.
   */
  runInTree: (command: string[], image?: OpenImage, users?: Users) => ReturnType<RunInTree>;
  /** What the payload gets as descriptors 3 and up. */
  listenFds?: readonly ListenFd[];
  /** What is open of the disk image; opened, and waited for at its end, if not given. */
  image?: OpenImage;
  /** For a plan with one: where the payload's words for its NOTIFY_SOCKET arrive. */
  notifySocket?: OwnedFd | undefined;
  /** For a plan with one; it must live as long as the container does. */
  ephemeral?: EphemeralRoot | undefined;
}

/** Starts a container. Throws an Error that says what failed; nothing is left then. */
export async function startContainer(plan: Plan, options: StartOptions): Promise<Started> {
  if (!plan.isImage || options.image) return await start(plan, options);
  const { openImage } = plan.users?.maps ? await import('../image/open-by-fuse.ts') : await import('../image/open.ts');
  using image = await openImage(plan);
  const released = () => image.released(options.log);
  try {
    return { ...(await start(plan, { ...options, image })), released };
  } catch (error) {
    await released();
    throw error;
  }
}

async function start(plan: Plan, options: StartOptions): Promise<Started> {
  const { log, progress, streams, runInTree, image, ephemeral, notifySocket, listenFds = [] } = options;
  const secrets = plan.payload.credentials.length > 0 ? await import('./credentials.ts') : undefined;
  const credentials = await secrets?.readCredentials(plan.payload.credentials);
  for (const warning of plan.warnings ?? []) log.warn(warning);
  for (const name of plan.payload.filter?.unknown ?? []) {
    log.warn(
      `ignoring ${name} in --system-call-filter=: there is no such ${name.startsWith('@') ? 'group' : 'system call'}`,
    );
  }
  using resources = new DisposableStack();
  using root = image ? undefined : (ephemeral?.view() ?? viewRoot(plan.directory));
  if (root) checkTree(plan, root);
  if (root && plan.lock !== 'none' && !ephemeral) resources.use(lockTree(plan.directory, plan.lock));

  const terminal = 'console' in streams ? streams : undefined;
  const agentStreams: Streams = 'fds' in streams ? streams.fds : 'console';
  const streamFds = agentStreams === 'console' ? [] : agentStreams;
  const origins = { root, ephemeral, terminal, notifySocket, image };
  // The host's side of the agent's descriptors, which it has copies of once it lives.
  using objects = new DisposableStack();
  const isImagePart = ({ kind }: HostObject) => kind === 'file system';
  const parts = openObjects(plan, isImagePart, { ...origins, base: 0 }, objects);
  const tree = root?.fd ?? [...parts.values()][0]!;
  const maps = plan.users?.maps;
  const { settleIds, startWithUsers } = plan.users && !maps ? await import('../users/start.ts') : {};
  const ids = settleIds && resources.use(settleIds(plan, tree));
  const base = ids?.base ?? 0;
  const isOther = (object: HostObject) => !isImagePart(object) && !maps;
  const others = openObjects(plan, isOther, { ...origins, base }, objects);
  const fds = new Map([...parts, ...others]);

  const passed = attempt('taking the descriptors for the payload', () =>
    passableFds(listenFds).map(each => objects.use(each).fd),
  );

  const membership = await openMembership(plan, ids?.base, resources, log);
  const agentOptions = {
    namespaces: namespaces(plan),
    fds: [...fds.values(), ...passed, ...streamFds],
    dieWithParent: true,
    ...(membership.unified !== undefined && { cgroup: membership.unified }),
  };
  const { startWithoutRoot } = maps ? await import('../users/start-without-root.ts') : {};
  const { users } = plan;
  const agents =
    startWithoutRoot?.(plan, fds, agentOptions, origins) ??
    (ids &&
      users &&
      (await startWithUsers?.({ plan: { ...plan, users }, ids, fds, root: tree, log, progress }, agentOptions)));
  const outside = agents && resources.use(agents.outside);
  using agent = agents?.inside ?? startAgent(agentOptions);
  objects.dispose();
  // Before it separates its cgroups: where it is then is the root of what it sees.
  membership.adopt(agent);
  if (maps && outside) membership.giveBy(outside);
  for (const { object, upper } of hostLayers(plan)) {
    const parent = attempt(`opening ${object.path}`, () => openSource(object, root));
    resources.use(await makeWorkDirectory(parent, upper, agent.pidfd, log));
  }
  const loaded = await loadStepModules(plan, { agent, agents, ids, keep: resources, log });
  let prepared: PreparedPayload | undefined;
  const idOf = (id: number) => base + id;
  const setup = { plan, agent: outside ?? agent, inside: agents?.inside, idOf, fds, keep: resources, log };
  const register = () => membership.register(agent);
  try {
    carryOut(plan.steps, { ...setup, ...loaded, register }, [
      () => {
        const { lease } = ids ?? {};
        resources.use(
          entrust([agent.pidfd, ...(lease ? [lease.fd] : [])], ([pidfd]) => [
            ...killAndWait(pidfd!),
            ...(lease ? [lease.remove] : []),
            forgetContainer(agent.pid),
          ]),
        );
      },
      () => {
        prepared = preparePayload(withListenFds(plan, agent.pid, listenFds), agentStreams, passed, agents && agent.pid);
      },
    ]);
  } catch (error) {
    throw membership.explain(error);
  }
  if (outside) endSoon(outside);

  await membership.restrictDevices();

  const ownUsers: Users | undefined = ids && {
    base: ids.base,
    count: ids.count,
    ownership: agents?.ownership === 'map' ? 'map' : 'off',
    bound: [],
  };
  const askTree: RunInTree = command => runInTree(command, image, ownUsers);
  const user = await payloadUser(plan, agent, agents?.bound ?? [], askTree);
  if (user.name !== ROOT_USER.name) attempt(`making the home directory ${user.home}`, () => makeHome(agent, user));
  if (secrets && credentials)
    attempt('passing credentials to the payload', () => secrets.passCredentials(agent, credentials, user));
  if (idOf(user.uid) !== 0 && terminal) {
    if (maps) agent.run([call('fchownat', AT.FDCWD, '/dev/console', user.uid, user.gid, 0)]);
    else syscall('fchown', terminal.console.fd, idOf(user.uid), idOf(user.gid));
  }
  if (plan.payload.files.length > 0) {
    const { makeFiles } = await import('./files.ts');
    makeFiles(agent, plan.payload.files, user);
  }
  const { oomScoreAdjust: score } = plan.payload;
  if (score !== undefined)
    attempt(`setting the OOM score adjustment to ${score}`, () =>
      // proc_pid_oom_score_adj(5)
      writeHostFile(`/proc/${agent.pid}/oom_score_adj`, `${score}`),
    );

  runPayload(agent, prepared!, user);
  agent.detach();
  resources.use(owned(agent.pidfd));
  const { pid, pidfd } = agent;
  const usage = membership.usage();
  return { pid, pidfd, unit: membership.unit, resources: resources.move(), ...(usage && { usage }) };
}

/** How long an agent that is not needed any more may take to end before it is waited for, in milliseconds. */
const END_MS = 50;

/** Ends an agent, which takes all the mounts that it has made along: nobody waits for that. */
function endSoon(agent: Agent): void {
  signalProcess(agent.pidfd, SIG.KILL);
  setTimeout(() => agent[Symbol.dispose](), END_MS).unref();
}

/** Opens what the container gets of the host, of a kind; `opened` owns it. */
function openObjects(
  { hostObjects }: Plan,
  isWanted: (object: HostObject) => boolean,
  origins: Origins,
  opened: DisposableStack,
): Map<string, number> {
  const fds = new Map<string, number>();
  for (const [key, object] of Object.entries(hostObjects)) {
    // What is in an image is taken from there by a step.
    if (!isWanted(object) || (origins.image && isInRoot(object))) continue;
    const made = attempt(`opening ${describeObject(object, key)}`, () => openHostObject(object, origins));
    fds.set(key, opened.use(made).fd);
  }
  return fds;
}

function namespaces({ shareSystem, privateNetwork }: Plan): bigint {
  const own = shareSystem ? 0n : CLONE.NEWIPC | CLONE.NEWPID | CLONE.NEWUTS;
  return CLONE.NEWNS | own | (privateNetwork ? CLONE.NEWNET : 0n);
}

/** The writable layers of overlays that are on the host, with the host object that each is in. */
function hostLayers({ steps, hostObjects }: Plan) {
  return steps.flatMap(({ action }) => {
    if (action.do !== 'make overlay' || !action.upper) return [];
    const object = hostObjects[action.upper.object];
    return object?.kind === 'tree' ? [{ object, upper: action.upper }] : [];
  });
}
