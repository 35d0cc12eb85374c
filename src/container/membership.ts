/**
 * What a container is a member of on its host: cgroups of its own, or a unit and the list of machines where systemd looks
 * after these. All that makes them is loaded for containers that are to have some.
 */
import { type Agent, AgentDiedError } from '../../syscalls/agent/agent.ts';
import { attempt } from '../execute/attempt.ts';
import { writeHostFile } from '../host.ts';
import { LimitError } from '../limit-error.ts';
import type { Logger } from '../log.ts';
import { isUnified } from '../plan/cgroups.ts';
import { isOnlyCounted, type Plan, type RegisterStep } from '../plan/steps.ts';
import type { HostUnit } from '../registration/host-unit.ts';
import type { Registry } from '../registration/registry.ts';
import { systemBusAddress } from '../registration/system-bus.ts';
import type { PayloadCgroups } from './payload-cgroups.ts';
import type { Usage } from './usage.ts';

export interface Membership {
  /** A directory in cgroup v2 for the container to be born in. */
  readonly unified: number | undefined;
  /** What the host's service manager knows of it, once it is registered. */
  readonly unit: HostUnit | undefined;
  /** Moves the container's first process into the cgroups in which it can't be born. Throws an Error. */
  adopt(agent: Agent): void;
  /** Leaves them to the container's root, by the agent outside of an ordinary user's container. Throws an Error. */
  giveBy(agent: Agent): void;
  /** Puts it on the list of machines, where there is one. Throws an Error. */
  register(agent: Agent): void;
  /** Holds it to the devices that it is given, once all nodes are made. */
  restrictDevices(): Promise<void>;
  /** For a plan with limits: what its cgroups have counted so far, if it has some. */
  usage(): (() => Usage) | undefined;
  /** What to throw for an error of the set-up: where there was too little memory for that, it says so. */
  explain(error: unknown): unknown;
}

/** Makes what a plan asks for; `owner` is the container's root where that is another user. It goes with `keep`. */
export async function openMembership(
  plan: Plan,
  owner: number | undefined,
  keep: DisposableStack,
  log: Logger,
): Promise<Membership> {
  const registry = await openRegistry(plan, keep, log);
  const makeCgroups = await cgroupMaker(plan, owner, keep, log);
  // One that gets a scope unit has them there.
  let cgroups = registry?.makesScope ? undefined : makeCgroups?.();
  let unit: HostUnit | undefined;
  const adopt = (agent: Agent) => {
    try {
      attempt('moving the container into its cgroups', () => cgroups?.adopt(agent));
    } catch (error) {
      throw explain(error);
    }
  };
  const usage = () => (plan.limits ? (unit?.usage ?? cgroups?.usage ?? uncounted) : undefined);
  const explain = (error: unknown) => {
    if (!(error instanceof AgentDiedError) || !usage()?.().oomKills) return error;
    return new Error('setting up the container: it was killed, out of memory; give it more with --memory=', {
      cause: error,
    });
  };
  return {
    unified: cgroups?.unified,
    get unit() {
      return unit;
    },
    adopt,
    giveBy(agent) {
      attempt("leaving its cgroups to the container's root", () => cgroups?.giveBy(agent));
    },
    register(agent) {
      unit = registry?.register(agent.pid, owner);
      if (unit || !registry?.makesScope) return;
      cgroups = makeCgroups?.();
      const unified = cgroups?.unified;
      if (unified !== undefined) writeHostFile(`/proc/self/fd/${unified}/cgroup.procs`, `${agent.pid}`);
      adopt(agent);
    },
    async restrictDevices() {
      // An ordinary user's container can make no nodes, and has only those that are bound.
      const isHeld = !plan.shareSystem && !plan.users?.maps;
      if (cgroups && (isHeld || plan.deviceProperties)) await restrictDevices(cgroups, plan, log);
    },
    usage,
    explain,
  };
}

const uncounted = (): Usage => ({});

/** Who the container is registered with, if the plan wants that; undefined where there is nobody. */
async function openRegistry(plan: Plan, keep: DisposableStack, log: Logger): Promise<Registry | undefined> {
  const step = plan.steps.find(({ action }) => action.do === 'register') as RegisterStep | undefined;
  if (!step) return undefined;
  if (!step.action.isRequired && systemBusAddress() === undefined) {
    log.debug('the container is not registered: there is no system bus');
    return undefined;
  }
  const registration = await import('../registration/registry.ts');
  return await registration.openRegistry(step, plan, keep, log);
}

/** Loads what makes cgroups for a container, if it gets some. */
async function cgroupMaker(
  plan: Plan,
  owner: number | undefined,
  keep: DisposableStack,
  log: Logger,
): Promise<(() => PayloadCgroups | undefined) | undefined> {
  const { shareSystem, cgroups, payload, users } = plan;
  // Only version 2 can kill what is in a cgroup.
  if (shareSystem && !cgroups.some(isUnified)) {
    log.debug('what the payload leaves behind will not be killed: the host has no cgroup v2');
  }
  if (cgroups.length === 0) return undefined;
  const { makePayloadCgroups } = await import('./payload-cgroups.ts');
  const { makeRoomForInotify } = payload.boot ? await import('./inotify.ts') : {};
  const { isDelegated } = plan.limits || payload.boot ? await import('./cgroup-parent.ts') : {};
  const isOurs = await isDelegated?.(cgroups, log);
  const { makeDirectoriesOurs } = users?.maps ? await import('../users/make-ours.ts') : {};
  const ours = makeDirectoriesOurs && keep.use(makeDirectoriesOurs());
  const make = () => {
    try {
      return keep.use(makePayloadCgroups(plan, isOurs, ours?.make));
    } catch (error) {
      if (!plan.limits) throw error;
      const { message } = error as Error;
      if (!isOnlyCounted(plan)) throw new LimitError(message, { cause: error });
      log.debug(`what is used is not counted by cgroups: ${message}`);
      return undefined;
    }
  };
  return () => {
    const made = make();
    if (made && owner !== undefined) made.give(owner);
    if (made) makeRoomForInotify?.(made.others + 1, log);
    return made;
  };
}

async function restrictDevices(cgroups: PayloadCgroups, plan: Plan, log: Logger): Promise<void> {
  const { allowedDevices } = await import('../plan/devices.ts');
  const rules = allowedDevices(plan);
  if (!rules) return;
  try {
    cgroups.restrictDevices(rules);
  } catch (error) {
    // As systemd has it: kernels without such programs, and containers that may not load any, run it all the same.
    log.warn(`holding the container to the devices that it is given: ${(error as Error).message}`);
  }
}
