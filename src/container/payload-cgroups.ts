/**
 * The cgroups of a payload: where an init keeps its units, where limits are set and what is used is counted, and where
 * a payload that shares the host's process namespace leaves what the kernel does not end. See cgroups(7) and
 * Documentation/admin-guide/cgroup-v2.rst.
 */
import { readdirSync } from 'node:fs';
import type { Agent } from '../../syscalls/agent/agent.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { restrictDevices } from '../../syscalls/bpf/device-policy.ts';
import type { DeviceRule } from '../../syscalls/bpf/device-program.ts';
import { allowing, type Call, call } from '../../syscalls/call.ts';
import { AT } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { killAndWait, sleep } from '../../syscalls/process.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { attempt } from '../execute/attempt.ts';
import { readIfThere } from '../host.ts';
import { cgroupDirectory, devicesHierarchy, type Hierarchy, isManaged, isUnified } from '../plan/cgroups.ts';
import { legacyRule } from '../plan/devices.ts';
import { type CgroupLimit, limitsIn } from '../plan/limit-files.ts';
import type { Plan } from '../plan/steps.ts';
import type { MakeOurs } from '../trees/remove.ts';
import {
  INNER,
  ITSELF,
  killAll,
  type List,
  makeLocked,
  openCgroup,
  openControl,
  PREFIX,
  remove,
  removeAbandoned,
  removeEmpty,
} from './cgroup-directory.ts';
import { type Controllers, enable, parentWith } from './cgroup-parent.ts';
import { type Usage, usageOf } from './usage.ts';

export interface PayloadCgroups extends Disposable {
  /** The directory in cgroup v2, for a process to be born in. */
  readonly unified: number | undefined;
  /** How many other containers have cgroups beside these. */
  readonly others: number;
  /** Has an agent move into those of version 1, where none can be born. Throws SyscallError, AgentDiedError. */
  adopt(agent: Agent): void;
  /** Lets this user of the host, root of the container, make cgroups below them. Throws SyscallError. */
  give(owner: number): void;
  /** The same for an ordinary user, by an agent to whom that root is root. Throws SyscallError, AgentDiedError. */
  giveBy(agent: Agent): void;
  /** Holds the container to these devices. Throws SyscallError. */
  restrictDevices(rules: readonly DeviceRule[]): void;
  /** What has been used so far. */
  usage(): Usage;
}

/** A cgroup that was made. */
export interface MadeCgroup {
  hierarchy: Hierarchy;
  directory: number;
}

/** Controllers that a payload with limits has its use counted by, and an init may use for its own units. */
const COUNTING = ['memory', 'pids'];
const FOR_INIT = ['cpuset', 'cpu', 'io'];

/**
 * Makes cgroups below this process's own, with the plan's limits. Disposing of them kills all in them and removes them;
 * if this process is killed, the janitor does, and the next run what an init has made below them. `isDelegated`: this
 * process's cgroup is known to be left to it; `makeOurs` as for remove(). Throws SyscallError, or an Error for a limit
 * that can't be.
 */
export function makePayloadCgroups(
  { machine, cgroups, limits, payload }: Plan,
  isDelegated = false,
  makeOurs?: MakeOurs,
): PayloadCgroups {
  using undo = new DisposableStack();
  const name = `${PREFIX}${machine}-${crypto.randomUUID().slice(0, 8)}`;
  const made: MadeCgroup[] = [];
  const legacy: { parent: number; directory: number }[] = [];
  let unified: number | undefined;
  let others = 0;
  for (const hierarchy of cgroups) {
    const limiting = limits ? limitsIn(hierarchy, limits, cgroups) : [];
    if (isUnified(hierarchy)) {
      // An init limits and counts its units, as far as it can.
      const hasControllers = limits !== undefined || (payload.boot && offersControllers(cgroupDirectory(hierarchy)));
      const its = { isDelegated, isAskedFor: limits !== undefined };
      const controllers = hasControllers ? { ...controllersFor(limiting, payload.boot), ...its } : undefined;
      const each = undo.use(makeUnified(hierarchy, name, controllers, readdirSync, makeOurs));
      made.push({ hierarchy, directory: each.directory });
      others = Math.max(others, each.others);
      writeLimits(each.directory, limiting);
      unified = each.inner;
      continue;
    }
    const path = cgroupDirectory(hierarchy);
    const parent = undo.use(owned(perform(openCgroup(AT.FDCWD, path))));
    others = Math.max(others, removeAbandoned(parent.fd, readdirSync, makeOurs));
    // First of all, and so withdrawn last of all.
    undo.use(entrust([parent.fd], ([parentFd]) => [call('unlinkat', parentFd!, name, AT.REMOVEDIR)]));
    undo.defer(() => remove(parent.fd, name, readdirSync, makeOurs));
    const directory = undo.use(attempt(`making a cgroup below ${path}`, () => makeLocked(parent.fd, name)));
    legacy.push({ parent: parent.fd, directory: directory.fd });
    made.push({ hierarchy, directory: directory.fd });
    writeLimits(directory.fd, limiting);
  }
  const held = undo.move();
  /** Those that an init keeps its units in. */
  const managed = () => [
    ...(unified === undefined ? [] : [unified]),
    ...made.filter(({ hierarchy }) => !isUnified(hierarchy) && isManaged(hierarchy)).map(({ directory }) => directory),
  ];
  return {
    unified,
    others,
    adopt(agent) {
      if (legacy.length === 0) return;
      const parents = legacy.map(({ parent }) => parent);
      held.use(entrust([agent.pidfd, ...parents], ([theirs, ...fds]) => lateRemoval(theirs!, fds, name)));
      using tasks = new DisposableStack();
      const files = legacy.map(each => tasks.use(owned(perform(openControl(each.directory, 'tasks')))).fd);
      const moves = agent.sendFds(files).flatMap(fd => [call('write', fd, ITSELF, ITSELF.length), call('close', fd)]);
      agent.run(moves);
    },
    give(owner) {
      for (const directory of managed()) giveCgroup(directory, owner);
    },
    giveBy(agent) {
      const directories = agent.sendFds(managed());
      agent.run(directories.flatMap(fd => [...givingCgroup(fd, 0), call('close', fd)]));
    },
    restrictDevices(rules) {
      const policing = devicesHierarchy(cgroups);
      const cgroup = made.find(({ hierarchy }) => hierarchy === policing);
      if (!cgroup) return;
      if (isUnified(cgroup.hierarchy)) return restrictDevices(cgroup.directory, rules);
      writeControl(cgroup.directory, 'devices.deny', 'a');
      for (const rule of rules) writeControl(cgroup.directory, 'devices.allow', legacyRule(rule));
    },
    usage: () => usageOf(made),
    [Symbol.dispose]: () => held.dispose(),
  };
}

/**
 * What whoever a cgroup is delegated to must be able to write to: cgroups(7), "Cgroups delegation", and of version 1 what
 * systemd gives away.
 */
const DELEGATED = [
  'cgroup.procs',
  'cgroup.threads',
  'cgroup.subtree_control',
  'memory.oom.group',
  'memory.reclaim',
  'tasks',
  'notify_on_release',
  'cgroup.clone_children',
];

/** Lets a user of the host make cgroups below one, by its descriptor. Throws SyscallError. */
export function giveCgroup(directory: number, owner: number): void {
  for (const each of givingCgroup(directory, owner)) perform(each);
}

const givingCgroup = (directory: number, owner: number): Call[] => [
  call('fchown', directory, owner, owner),
  ...DELEGATED.map(name => allowing(call('fchownat', directory, name, owner, owner, 0), 'ENOENT')),
];

/** Whether there could be controllers below this process's cgroup of version 2: version 1 may have them all. */
const offersControllers = (own: string): boolean => !!readIfThere(`${own}/cgroup.controllers`)?.toString().trim();

interface ControllersFor extends Omit<Controllers, 'isDelegated' | 'isAskedFor'> {
  /** What they are needed for. */
  doing: string;
}

function controllersFor(limiting: readonly CgroupLimit[], boot: boolean): ControllersFor {
  const needed = [...new Set(limiting.map(({ controller }) => controller))];
  const wanted = [...COUNTING, ...(boot ? FOR_INIT : [])].filter(each => !needed.includes(each));
  return { needed, wanted, doing: limiting.map(({ doing }) => doing).join(', ') || 'counting what is used' };
}

interface UnifiedCgroup extends Disposable {
  directory: number;
  /** Where the container's first process belongs. */
  inner: number;
  others: number;
}

/**
 * Makes one of version 2. With controllers there is another in it, for the processes: so that nobody in the container
 * can change the limits of what is the root there.
 */
function makeUnified(
  hierarchy: Hierarchy,
  name: string,
  controllers: (ControllersFor & Controllers) | undefined,
  list: List,
  makeOurs: MakeOurs | undefined,
): UnifiedCgroup {
  using undo = new DisposableStack();
  const own = cgroupDirectory(hierarchy);
  const path = controllers ? attempt(controllers.doing, () => parentWith(controllers, own)) : own;
  const parent = undo.use(owned(perform(openCgroup(AT.FDCWD, path))));
  const others = removeAbandoned(parent.fd, list, makeOurs);
  // First of all, and so withdrawn last of all.
  undo.use(entrust([parent.fd], ([parentFd]) => removal(parentFd!, name)));
  undo.defer(() => remove(parent.fd, name, list, makeOurs));
  const directory = undo.use(attempt(`making a cgroup below ${path}`, () => makeLocked(parent.fd, name)));
  const kill = undo.use(owned(perform(openControl(directory.fd, 'cgroup.kill'))));
  undo.defer(() => perform(killAll(kill.fd)));
  const inner = controllers ? undo.use(makeInner(`${path}/${name}`, directory, controllers)) : directory;
  const held = undo.move();
  return { directory: directory.fd, inner: inner.fd, others, [Symbol.dispose]: () => held.dispose() };
}

function makeInner(path: string, { fd }: OwnedFd, { needed, wanted }: ControllersFor): OwnedFd {
  const handedOn = readIfThere(`${path}/cgroup.controllers`)?.toString().split(/\s+/) ?? [];
  enable(
    path,
    [...needed, ...wanted].filter(each => handedOn.includes(each)),
  );
  syscall('mkdirat', fd, INNER, 0o755);
  return owned(perform(openCgroup(fd, INNER)));
}

/** What the janitor does: kills all in the cgroup, and removes it once the last process has been reaped. */
function removal(parent: number, name: string): Call[] {
  const open = openControl(parent, `${name}/cgroup.kill`);
  const attempts = [20, 200, 2000].flatMap(pause => [sleep(pause), ...removeEmpty(parent, name)]);
  return [open, killAll(open), ...attempts];
}

/** The same for those of version 1, where only what the container's first process takes along can be killed. */
function lateRemoval(pidfd: number, parents: readonly number[], name: string): Call[] {
  return [...killAndWait(pidfd), sleep(20), ...parents.map(parent => call('unlinkat', parent, name, AT.REMOVEDIR))];
}

/** Throws an Error when one can't be set. */
function writeLimits(directory: number, limits: readonly CgroupLimit[]): void {
  for (const { doing, files } of limits) {
    const names = files.map(([name]) => name);
    attempt(`${doing} (${names.join(', ')})`, () => {
      const written = files.filter(([name, text]) => writeControl(directory, name, text));
      if (written.length === 0) throw new Error('this kernel has no such file');
    });
  }
}

/** Writes a file of a cgroup. False: there is none. Throws SyscallError. */
function writeControl(directory: number, name: string, text: string): boolean {
  const fd = perform(allowing(openControl(directory, name), 'ENOENT'));
  if (fd < 0) return false;
  using file = owned(fd);
  const bytes = Buffer.from(text);
  syscall('write', file.fd, bytes, bytes.length);
  return true;
}
