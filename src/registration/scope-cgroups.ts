/**
 * A container's cgroups in the scope unit that systemd has made for it. systemd keeps the unit's own cgroup to itself
 * and leaves what is below that to us: see CGROUP_DELEGATION.md of systemd. It removes all of them with the unit.
 */
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { startAgent } from '../../syscalls/agent/agent.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { leaveSession } from '../../syscalls/process.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { giveCgroup } from '../container/payload-cgroups.ts';
import { type Usage, usageOf } from '../container/usage.ts';
import { readHostFile, writeHostFile } from '../host.ts';
import type { Logger } from '../log.ts';
import { cgroupDirectory, type Hierarchy, isManaged, isUnified } from '../plan/cgroups.ts';

/** As systemd-nspawn calls them: the container's, and that of those who look after it. */
const PAYLOAD = 'payload';
const SUPERVISOR = 'supervisor';

/** How many other scopes there are beside one. */
export const scopesBeside = (scope: Hierarchy): number =>
  readdirSync(dirname(cgroupDirectory(scope))).filter(name => name.endsWith('.scope')).length - 1;

/**
 * Gives a process a cgroup of its own below those that a scope has, with all controllers; with `owner`, that user of the
 * host may make others below it. Throws SyscallError.
 */
export function enterPayloadCgroups(
  pid: number,
  scope: readonly Hierarchy[],
  owner: number | undefined,
  log: Logger,
): void {
  for (const hierarchy of scope.filter(isManaged)) {
    enter(pid, hierarchy, PAYLOAD);
    if (owner !== undefined) {
      using payload = openDirectory(`${cgroupDirectory(hierarchy)}/${PAYLOAD}`, O.RDONLY);
      giveCgroup(payload.fd, owner);
    }
    if (isUnified(hierarchy)) handOnControllers(cgroupDirectory(hierarchy), log);
  }
}

/**
 * Tells what has been used in a scope, also when the container has ended: another process in the scope keeps it until
 * `keep` is disposed of, or this process ends. Throws SyscallError.
 */
export function countUsage(scope: readonly Hierarchy[], keep: DisposableStack): () => Usage {
  const keeper = keep.use(startAgent({ namespaces: 0n, fds: [], dieWithParent: true }));
  keeper.run([leaveSession]);
  for (const hierarchy of scope.filter(isManaged)) enter(keeper.pid, hierarchy, SUPERVISOR);
  const counting = scope.map(hierarchy => {
    return { hierarchy, directory: keep.use(openDirectory(cgroupDirectory(hierarchy), O.PATH)).fd };
  });
  return () => usageOf(counting);
}

const openDirectory = (path: string, flags: number): OwnedFd =>
  owned(syscall('openat', AT.FDCWD, path, flags | O.DIRECTORY | O.CLOEXEC, 0));

/** Moves a process to a cgroup below a scope's. */
function enter(pid: number, scope: Hierarchy, name: string): void {
  const directory = `${cgroupDirectory(scope)}/${name}`;
  perform(allowing(call('mkdirat', AT.FDCWD, directory, 0o755), 'EEXIST'));
  writeHostFile(`${directory}/cgroup.procs`, `${pid}`);
}

/** What a cgroup of version 2 can hand on, when there are no processes in it. */
function handOnControllers(directory: string, log: Logger): void {
  for (const controller of readHostFile(`${directory}/cgroup.controllers`).toString().trim().split(/\s+/)) {
    if (controller === '') continue;
    try {
      writeHostFile(`${directory}/cgroup.subtree_control`, `+${controller}`);
    } catch (error) {
      // An init does without those that it can't have.
      log.debug(`enabling the controller ${controller} for the container: ${(error as Error).message}`);
    }
  }
}
