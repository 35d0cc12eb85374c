/**
 * Where in cgroup version 2 a container's cgroup with controllers can be made. A cgroup with processes in it can't give
 * controllers to others below it, except for the root: see "No Internal Process Constraint" in
 * Documentation/admin-guide/cgroup-v2.rst. So processes may have to be moved out of the way first, which is done
 * where systemd has delegated the cgroup, or where there is no systemd: see CGROUP_DELEGATION.md of systemd.
 */
import process from 'node:process';
import { allowing, call } from '../../syscalls/call.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import { readHostFile, writeHostFile } from '../host.ts';
import type { Logger } from '../log.ts';
import { type Hierarchy, hasHostSystemd, isUnified, tryDelegation } from '../plan/cgroups.ts';
import { whyMissing } from '../plan/limit-files.ts';

/** Where the processes go that were in a cgroup which containers come below. systemd-nspawn calls it so, too. */
const SUPERVISOR = 'supervisor';
/** A process may fork while all are moved. */
const MOST_TRIES = 10;

/** What comes below a cgroup. */
export interface Controllers {
  needed: readonly string[];
  /** Enabled if that can be. */
  wanted: readonly string[];
  /** Whether the cgroup above is known to be left to us. */
  isDelegated: boolean;
  /** Whether they were asked for. Where there is no systemd, others are moved out of the way for that only. */
  isAskedFor: boolean;
}

/**
 * Whether an ordinary user's service manager leaves the cgroup of version 2 that this process is in to it. Asked where that
 * isn't known yet: what has a supervisor was found to be ours, and the system's manager marks cgroups.
 */
export async function isDelegated(hierarchies: readonly Hierarchy[], log: Logger): Promise<boolean> {
  const own = hierarchies.find(isUnified)?.path;
  if (own === undefined || process.geteuid!() === 0 || own.endsWith(`/${SUPERVISOR}`)) return false;
  const { isDelegatedToUser } = await import('../registration/delegation.ts');
  return await isDelegatedToUser(own, log);
}

/**
 * The cgroup to make others with these controllers in: that of this process, by its path, or the one above a
 * `supervisor` that it was moved to. Throws an Error.
 */
export function parentWith({ needed, wanted, isDelegated, isAskedFor }: Controllers, own: string): string {
  const above = own.slice(0, own.lastIndexOf('/'));
  const candidates = own.endsWith(`/${SUPERVISOR}`) ? [above, own] : [own];
  const all = [...needed, ...wanted];
  const ready = candidates.find(each => missing(each, all).length === 0);
  if (ready) return ready;
  const parent = candidates[0]!;
  const lacking = missing(parent, needed, 'cgroup.controllers')[0];
  if (lacking !== undefined) throw new Error(`the cgroup ${parent} has no controller ${lacking}${whyLacking(lacking)}`);
  const available = missing(parent, all).filter(each => missing(parent, [each], 'cgroup.controllers').length === 0);
  try {
    enable(parent, available, () => isDelegated || isMarked(parent) || (isAskedFor && !hasHostSystemd()));
  } catch (error) {
    // What is only wanted is done without.
    if (missing(parent, needed).length > 0) throw error;
  }
  return parent;
}

/** Those that a cgroup doesn't have, or doesn't hand on to those below it. */
function missing(cgroup: string, controllers: readonly string[], file = 'cgroup.subtree_control'): string[] {
  const words = readHostFile(`${cgroup}/${file}`).toString().split(/\s+/);
  return controllers.filter(each => !words.includes(each));
}

const whyLacking = (controller: string) => {
  const why = whyMissing(controller);
  return why.startsWith('no ') ? ': the cgroup above it does not hand it on' : `: ${why}`;
};

/** Has a cgroup hand controllers on to those below it; `isOurs`: its processes may be moved. Throws an Error. */
export function enable(cgroup: string, controllers: readonly string[], isOurs = () => false): void {
  if (controllers.length === 0) return;
  const doing = `enabling the controllers ${controllers.join(', ')} below the cgroup ${cgroup}`;
  for (let tries = 1; ; tries++) {
    try {
      writeHostFile(`${cgroup}/cgroup.subtree_control`, controllers.map(each => `+${each}`).join(' '));
      return;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.code !== 'EBUSY')
        throw new Error(`${doing}: ${error.text} (${error.code}); ${tryDelegation()}`, { cause: error });
      if (!isOurs()) throw new Error(`${doing}: it has processes in it, and is systemd's; ${tryDelegation()}`);
      if (tries > MOST_TRIES) throw new Error(`${doing}: processes in it keep coming`);
      moveAway(cgroup);
    }
  }
}

/** Whether we may arrange what is in a cgroup: the system's systemd marks what it leaves to others. */
function isMarked(cgroup: string): boolean {
  return ['user.delegate', 'trusted.delegate'].some(name => {
    const value = new Uint8Array(8);
    const size = perform(allowing(call('getxattr', cgroup, name, { out: value }, value.length)));
    return size > 0 && value[0] === '1'.charCodeAt(0);
  });
}

/** Moves all processes of a cgroup into one below it. */
function moveAway(cgroup: string): void {
  perform(allowing(call('mkdirat', -1, `${cgroup}/${SUPERVISOR}`, 0o755), 'EEXIST'));
  const pids = readHostFile(`${cgroup}/cgroup.procs`).toString().split('\n').filter(Boolean);
  for (const pid of pids) {
    try {
      writeHostFile(`${cgroup}/${SUPERVISOR}/cgroup.procs`, pid);
    } catch (error) {
      // It has ended.
      if ((error as SyscallError).code !== 'ESRCH') throw error;
    }
  }
}
