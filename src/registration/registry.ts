/** Who keeps the list of the host's machines, for a container that is to be on it. */
import type { Connection } from '../../dbus/index.ts';
import { makeRoomForInotify } from '../container/inotify.ts';
import { StepError } from '../execute/attempt.ts';
import type { Logger } from '../log.ts';
import { type Hierarchy, hierarchiesOf } from '../plan/cgroups.ts';
import { machineIdOf } from '../plan/machine-id.ts';
import { describeStep, type Plan, type RegisterStep } from '../plan/steps.ts';
import { containerView } from '../root-view.ts';
import { type HostUnit, register } from './host-unit.ts';
import { countUsage, enterPayloadCgroups, scopesBeside } from './scope-cgroups.ts';
import { openSystemBus } from './system-bus.ts';

export interface Registry {
  /** Whether a container gets a scope unit, and with that its cgroups. */
  makesScope: boolean;
  /**
   * Registers a container by its first process; `owner` is its root, where that is another user of the host. Undefined if
   * there is nobody who does. Throws an Error.
   */
  register(pid: number, owner: number | undefined): HostUnit | undefined;
}

/**
 * Opens the system bus for a step that registers a container; undefined if that can't be and nobody insists. What is
 * opened is closed with `keep`. Rejects with StepError.
 */
export async function openRegistry(
  step: RegisterStep,
  plan: Plan,
  keep: DisposableStack,
  log: Logger,
): Promise<Registry | undefined> {
  const { action } = step;
  let bus: Connection;
  try {
    bus = keep.use(await openSystemBus());
  } catch (error) {
    if (action.isRequired) throw new StepError(describeStep(step, plan.hostObjects), error);
    log.debug(`the container is not registered: ${(error as Error).message}`);
    return undefined;
  }
  const makesScope = action.as !== 'unit';
  return {
    makesScope,
    register(pid, owner) {
      const before = hierarchiesOf(pid);
      const registration = { ...action, machineId: action.machineId ?? machineIdInImage(pid, plan) };
      const unit = register(bus, registration, { machine: plan.machine, pid }, log);
      if (!unit) {
        bus.close();
        return undefined;
      }
      keep.use(unit);
      return makesScope ? { ...unit, ...settleIn({ pid, owner, before }, plan, keep, log) } : unit;
    },
  };
}

function machineIdInImage(pid: number, { isImage, users }: Plan): string | undefined {
  // With users, the first process is not there yet.
  if (!isImage || users) return undefined;
  using container = containerView(pid);
  return machineIdOf(container);
}

/** Makes a container at home in its scope, to whose cgroups it was moved from those before. */
function settleIn(
  { pid, owner, before }: { pid: number; owner: number | undefined; before: readonly Hierarchy[] },
  { payload, limits }: Plan,
  keep: DisposableStack,
  log: Logger,
): Pick<HostUnit, 'usage'> {
  const scope = hierarchiesOf(pid).filter(each => !before.some(isSame(each)));
  if (payload.boot || limits) enterPayloadCgroups(pid, scope, owner, log);
  const [any] = scope;
  if (payload.boot && any) makeRoomForInotify(scopesBeside(any) + 1, log);
  return limits ? { usage: countUsage(scope, keep) } : {};
}

const isSame =
  (one: Hierarchy) =>
  (other: Hierarchy): boolean =>
    one.controllers === other.controllers && one.path === other.path;
