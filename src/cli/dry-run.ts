/** Prints a plan, step by step, without doing anything. */
import process from 'node:process';
import { buildPlan } from '../plan/plan.ts';
import { describeStep, type Plan } from '../plan/steps.ts';
import type { ParsedCommandLine } from './parse.ts';

/** Prints what the options would do. Throws as buildPlan does. */
export function printPlan({ options, console }: ParsedCommandLine): void {
  const plan = buildPlan(options, console === 'pipe' ? 'streams' : 'pty');
  process.stdout.write(`${describePlan(plan).join('\n')}\n`);
}

function describePlan(plan: Plan): string[] {
  const { machine, directory, payload } = plan;
  const own = [
    'mount',
    ...(plan.shareSystem ? [] : ['uts', 'ipc', 'pid']),
    ...(plan.privateNetwork ? ['network'] : []),
  ];
  return [
    `container ${machine} on ${directory}`,
    `locking ${directory} (${plan.lock})`,
    `making namespaces: ${own.join(', ')}`,
    ...plan.steps.map(step => describeStep(step, plan.hostObjects)),
    `becoming the user ${payload.user}`,
    `running ${payload.boot ? ['init', ...payload.command].join(' ') : payload.command.join(' ') || 'a login shell'}${payload.asPid2 ? ' as process 2' : ''}`,
  ];
}
