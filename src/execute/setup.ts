/** Carries out the steps of a plan: the one place where steps are logged and their failures reported. */
import { type Agent, AgentDiedError } from '../../syscalls/agent/agent.ts';
import { allows, type Call } from '../../syscalls/call.ts';
import { errnoByNumber } from '../../syscalls/errno.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';
import { describeStep, type InterfaceAction, type Plan, type Step, type StepAction } from '../plan/steps.ts';
import type { IdmapBind } from '../users/bind-idmap.ts';
import { StepError } from './attempt.ts';
import { DYNAMIC_STEPS } from './dynamic-steps.ts';
import { type Prepared, STATIC_STEPS, type StaticAction } from './static-steps.ts';

/** What steps work with. */
export interface Setup {
  plan: Plan;
  /** Who carries the steps out. */
  agent: Agent;
  /** With users of its own: who does so from the step on that enters their namespace. */
  inside: Agent | undefined;
  /** Which id where the agent is, is an id of the container's. */
  idOf: (id: number) => number;
  /** Descriptors in the agent: host objects by their key, and what steps add. */
  fds: Map<string, number>;
  /** Descriptors and other things of this process that live as long as the container does. */
  keep: DisposableStack;
  /** Loaded for a plan with binds that look as if they belonged to others. */
  idmapBind: IdmapBind | undefined;
  /** Loaded for a plan with users of the host. */
  writeUserRecords: ((agent: Agent) => void) | undefined;
  /** Loaded for a plan with a disk image. */
  imageSteps: Partial<Record<StepAction['do'], Dynamic>> | undefined;
  /** Loaded for a plan with a network of its own. */
  bringLoopbackUp: ((agent: Agent) => void) | undefined;
  connectUserNetwork: ((pid: number, keep: DisposableStack, log: Logger) => void) | undefined;
  /** Loaded for a plan with a journal to be linked. */
  linkJournal: ((action: Extract<StepAction, { do: 'link journal' }>, setup: Setup) => void) | undefined;
  /** Loaded for a plan with network interfaces. */
  network: ((action: InterfaceAction) => void) | undefined;
  /** Does nothing where nobody keeps a list of machines. */
  register: () => void;
  log: Logger;
}

/**
 * Carries out steps in their order. Steps whose calls are known beforehand go to the agent in one batch; a failing
 * call tells its step. `meanwhile` is what this process has to do: each while an agent is at a batch, as far as there are
 * any. Throws StepError when a step fails that must not, AgentDiedError when the agent is gone.
 */
export function carryOut(steps: readonly Step[], setup: Setup, meanwhile: readonly (() => void)[]): void {
  const dynamicSteps: Setup['imageSteps'] = { ...(DYNAMIC_STEPS as Setup['imageSteps']), ...setup.imageSteps };
  let batch: BatchedStep[] = [];
  const made = new Map<string, Call>();
  const own = [...meanwhile];
  const run = () => {
    if (batch.length === 0) return;
    runBatch(batch, setup, own.shift());
    batch = [];
    made.clear();
  };
  for (const step of steps) {
    setup.log.debug(() => describeStep(step, setup.plan.hostObjects));
    const dynamic = dynamicSteps[step.action.do];
    if (!dynamic) {
      const prepared = prepare(step, setup, made);
      if (prepared.makes) made.set(prepared.makes.object, prepared.makes.by);
      batch.push(prepared);
      continue;
    }
    run();
    reporting(step, setup, () => dynamic(step.action as never, setup));
  }
  run();
  for (const each of own) each();
}

/** Carries out the steps of one kind. */
type Dynamic = (action: never, setup: Setup) => void;

interface BatchedStep extends Prepared {
  step: Step;
  /** What the calls allow by themselves, where the agent was told that none must stop the others. */
  allowed: Call['allow'][] | undefined;
}

function prepare(step: Step, { fds, idOf }: Setup, made: ReadonlyMap<string, Call>): BatchedStep {
  const make = STATIC_STEPS[step.action.do as StaticAction['do']] as (
    action: StepAction,
    fds: Setup['fds'],
    idOf: Setup['idOf'],
    made: ReadonlyMap<string, Call>,
  ) => Prepared;
  const prepared = make(step.action, fds, idOf, made);
  if (step.onFailure === 'fail') return { ...prepared, step, allowed: undefined };
  const { calls } = prepared;
  // A call that builds on a failed one fails too: a negative number is no descriptor.
  const allowed = calls.map(({ allow }) => allow);
  for (const each of calls) each.allow = 'any';
  return { ...prepared, step, allowed };
}

function runBatch(batch: readonly BatchedStep[], setup: Setup, meanwhile?: () => void): void {
  let results: number[];
  try {
    results = setup.agent.run(
      batch.flatMap(({ calls }) => calls),
      meanwhile,
    );
  } catch (error) {
    const failed = error instanceof SyscallError && batch.find(step => step.calls.includes(error.call));
    if (!failed) throw error;
    throw failure(failed.step, error, setup);
  }
  let from = 0;
  for (const { step, calls, makes, after, allowed } of batch) {
    const own = results.slice(from, from + calls.length);
    from += calls.length;
    if (makes) setup.fds.set(makes.object, own[calls.indexOf(makes.by)]!);
    if (!after && !allowed) continue;
    reporting(step, setup, () => {
      const wrong = allowed ? own.findIndex((result, i) => isFailure(result, allowed[i])) : -1;
      if (wrong >= 0) throw new SyscallError(calls[wrong]!, errnoByNumber(-own[wrong]!));
      after?.(own, setup);
    });
  }
}

const isFailure = (result: number, allowed: Call['allow']): boolean =>
  result < 0 && result >= -4095 && !allows(allowed, errnoByNumber(-result).name);

/** Does a step's work; throws if it fails and must not, else logs. */
function reporting(step: Step, setup: Setup, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (error instanceof AgentDiedError) throw error;
    const failed = failure(step, error, setup);
    if (step.onFailure === 'fail') throw failed;
    setup.log[step.onFailure](failed.message);
  }
}

function failure(step: Step, error: unknown, { plan }: Setup): StepError {
  return new StepError(describeStep(step, plan.hostObjects), error);
}
