/** --selinux-context= and --selinux-apifs-context=. */
import { readIfThere } from '../host.ts';
import type { ContainerOptions } from '../options.ts';
import type { HostObject, Plan, Step } from './steps.ts';

/** What systemd-nspawn labels: the file systems in memory, and terminals. */
const LABELLED: readonly string[] = ['tmpfs', 'devpts'];

/** Whether the kernel has SELinux, and it was not turned off at boot. */
export const hasSelinux = (): boolean => /\tselinuxfs$/m.test(readIfThere('/proc/filesystems')?.toString() ?? '');

/** The plan with the labels that were asked for. Throws an Error where there is no SELinux. */
export function withSelinux(plan: Plan, { selinuxContext, selinuxApifsContext: files }: ContainerOptions): Plan {
  if (!hasSelinux()) {
    const option = selinuxContext === undefined ? '--selinux-apifs-context=' : '--selinux-context=';
    throw new Error(`${option}: this host's kernel has no SELinux, or it is turned off; see /proc/filesystems`);
  }
  const payload = selinuxContext === undefined ? plan.payload : { ...plan.payload, selinuxContext };
  if (files === undefined) return { ...plan, payload };
  return {
    ...plan,
    payload,
    steps: plan.steps.map(step => labelledStep(step, files)),
    hostObjects: Object.fromEntries(
      Object.entries(plan.hostObjects).map(([key, object]) => [key, labelledObject(object, files)]),
    ),
  };
}

const labelledStep = (step: Step, value: string): Step =>
  step.action.do === 'mount' && LABELLED.includes(step.action.type)
    ? { ...step, action: { ...step.action, options: [...step.action.options, { key: 'context', value }] } }
    : step;

const labelledObject = (object: HostObject, context: string): HostObject =>
  object.kind === 'scratch' ? { ...object, context } : object;
