/** Carries out the steps of a plan: the one place where steps are logged and their failures reported. */
import { type Agent, AgentDiedError } from '../../syscalls/agent/agent.ts';
import type { Call } from '../../syscalls/call.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';
import { describeStep, type Plan, type Step, type StepAction } from '../plan/steps.ts';
import { DYNAMIC_STEPS, type DynamicAction } from './dynamic-steps.ts';
import { STATIC_STEPS, type StaticAction } from './step-calls.ts';

/** What steps work with. */
export interface Setup {
  plan: Plan;
  agent: Agent;
  /** Descriptors in the agent: host objects by their key, and what steps add. */
  fds: Map<string, number>;
  /** Descriptors and other things of this process that live as long as the container does. */
  keep: DisposableStack;
  log: Logger;
}

/** A step's failure: what was being done and why it failed. `cause` is the error of the call that failed. */
export class StepError extends Error {}

/**
 * Carries out steps in their order. Steps whose calls are known beforehand go to the agent in one batch; a failing
 * call tells its step. Throws StepError when a step fails that must not, AgentDiedError when the agent is gone.
 */
export function carryOut(steps: readonly Step[], setup: Setup): void {
  let batch: { step: Step; calls: Call[] }[] = [];
  for (const step of steps) {
    const dynamic = (DYNAMIC_STEPS as Partial<Record<StepAction['do'], Dynamic>>)[step.action.do];
    if (!dynamic) {
      batch.push({ step, calls: callsOf(step.action as StaticAction, setup) });
      continue;
    }
    runBatch(batch, setup);
    batch = [];
    setup.log.debug(describeStep(step, setup.plan.hostObjects));
    try {
      dynamic(step.action as DynamicAction, setup);
    } catch (error) {
      report(step, error, setup);
    }
  }
  runBatch(batch, setup);
}

type Dynamic = (action: DynamicAction, setup: Setup) => void;

function callsOf(action: StaticAction, { fds }: Setup): Call[] {
  const calls = STATIC_STEPS[action.do] as (action: StaticAction, fds: ReadonlyMap<string, number>) => Call[];
  return calls(action, fds);
}

function runBatch(batch: readonly { step: Step; calls: Call[] }[], setup: Setup): void {
  const { plan, agent, log } = setup;
  for (const { step } of batch) log.debug(describeStep(step, plan.hostObjects));
  let from = 0;
  while (from < batch.length) {
    try {
      agent.run(batch.slice(from).flatMap(({ calls }) => calls));
      return;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      const failed = batch.findIndex(({ calls }) => calls.includes(error.call));
      if (failed < 0) throw error;
      report(batch[failed]!.step, error, setup);
      from = failed + 1;
    }
  }
}

/** Throws if the step must not fail, else logs. */
function report(step: Step, error: unknown, { plan, log }: Setup): void {
  if (error instanceof AgentDiedError) throw error;
  const message = `${describeStep(step, plan.hostObjects)}: ${error instanceof Error ? error.message : String(error)}`;
  if (step.onFailure === 'fail') throw new StepError(message, { cause: error });
  log[step.onFailure](message);
}
