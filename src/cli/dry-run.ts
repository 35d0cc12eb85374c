/** Prints a plan, step by step, without doing anything. */
import { imageOf } from '../plan/image.ts';
import { describeLimits } from '../plan/limit-files.ts';
import { planContainer } from '../plan/plan.ts';
import { describeObject, describeStep, type Plan } from '../plan/steps.ts';
import type { ParsedCommandLine } from './parse.ts';
import { print } from './print.ts';

/** Prints what the options would do. Rejects as imageOf and planContainer do. */
export async function printPlan({ options, console }: ParsedCommandLine): Promise<void> {
  const image = await imageOf(options);
  const plan = await planContainer(options, console === 'pipe' ? 'streams' : 'pty', image);
  const lines = [...describePlan(plan), ...(image?.notMounted ?? []).map(line => `not mounting ${line}`)];
  print(`${lines.join('\n')}\n`);
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
    ...(plan.template === undefined ? [] : [`making ${directory}: a snapshot or a copy of ${plan.template}`]),
    plan.ephemeral
      ? `making an ephemeral root of ${directory}: a snapshot where btrfs can, else an overlay that locks it (shared)`
      : `locking ${directory} (${plan.lock})`,
    ...fileSystems(plan).map(name => `opening ${name}`),
    ...describeLimits(plan.limits ?? {}),
    ...(plan.timeout === undefined ? [] : [`asking it to end after ${plan.timeout / 1000} s`]),
    `making namespaces: ${own.join(', ')}`,
    ...plan.steps.map(step => describeStep(step, plan.hostObjects)),
    ...payload.credentials.map(({ id }) => `passing the credential ${id}`),
    `becoming the user ${payload.user}`,
    `running ${payload.boot ? ['init', ...payload.command].join(' ') : payload.command.join(' ') || 'a login shell'}${payload.asPid2 ? ' as process 2' : ''}`,
  ];
}

const fileSystems = ({ hostObjects }: Plan): string[] =>
  Object.entries(hostObjects).flatMap(([key, object]) =>
    object.kind === 'file system' ? [describeObject(object, key)] : [],
  );
