/** Prints a plan, step by step, without doing anything. */
import { imageOf } from '../plan/image.ts';
import { describeLimits } from '../plan/limit-files.ts';
import { planContainer } from '../plan/plan.ts';
import { describeObject, describeStep, type Plan, type Users } from '../plan/steps.ts';
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
    ...(plan.users ? ['user'] : []),
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
    ...(plan.users ? [describeUsers(plan.users)] : []),
    ...plan.steps.map(step => describeStep(step, plan.hostObjects)),
    ...payload.files.map(({ path }) => `writing the file ${path}`),
    ...payload.credentials.map(({ id }) => `passing the credential ${id}`),
    `becoming the user ${typeof payload.user === 'object' ? payload.user.uid : payload.user}`,
    `running ${payload.boot ? ['init', ...payload.command].join(' ') : payload.command.join(' ') || 'a login shell'}${payload.asPid2 ? ' as process 2' : ''}`,
  ];
}

const OWNERSHIP: Record<Users['ownership'], string> = {
  off: 'whose files stay as they are',
  chown: 'to whom the files of the tree are given',
  map: 'as whose the files of the tree are shown',
  auto: 'as whose the files of the tree are shown, or else to whom they are given',
};

function describeUsers({ base, count, ownership, maps }: Users): string {
  const ranges = maps?.uids ?? (typeof base === 'number' ? [{ outside: base, count }] : []);
  const ids = ranges.map(range => `${range.outside}${range.count > 1 ? ` to ${range.outside + range.count - 1}` : ''}`);
  const which = base === 'pick' ? 'nobody has' : 'the root directory belongs to';
  const users =
    ids.length > 0 ? `the user ids ${ids.join(', ')} of the host` : `${count} user ids of the host that ${which}`;
  return `mapping its users to ${users}, ${OWNERSHIP[ownership]}`;
}

const fileSystems = ({ hostObjects }: Plan): string[] =>
  Object.entries(hostObjects).flatMap(([key, object]) =>
    object.kind === 'file system' ? [describeObject(object, key)] : [],
  );
