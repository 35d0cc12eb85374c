/** --tmpfs-size=: what file systems in memory may hold. */
import { parseMemory } from '../options/limits.ts';
import { machineMemory } from './limits.ts';
import type { HostObject, Plan, Step } from './steps.ts';

/** An inode takes memory, too, that no size counts: as many are enough for files of this size. */
const BYTES_PER_INODE = 4096;
const FEWEST_INODES = 1024;

/** A plan whose file systems in memory have a size, unless they were asked for with one. */
export function withTmpfsSize(plan: Plan, asked: number | string): Plan {
  const parsed = parseMemory(String(asked));
  if (parsed === undefined) return plan;
  const size = typeof parsed === 'number' ? parsed : (machineMemory() * Number.parseFloat(parsed)) / 100;
  const options = [
    { key: 'size', value: `${Math.floor(size)}` },
    { key: 'nr_inodes', value: `${Math.max(FEWEST_INODES, Math.ceil(size / BYTES_PER_INODE))}` },
  ];
  const sized = (object: HostObject): HostObject => (object.kind === 'scratch' ? { ...object, options } : object);
  const withSize = (step: Step): Step => {
    const { action } = step;
    if (action.do !== 'mount' || action.type !== 'tmpfs' || !OWN.includes(action.path)) return step;
    return { ...step, action: { ...action, options: [...action.options, ...options] } };
  };
  return {
    ...plan,
    hostObjects: Object.fromEntries(Object.entries(plan.hostObjects).map(([key, object]) => [key, sized(object)])),
    steps: plan.steps.map(withSize),
  };
}

/** Those that every container has. */
const OWN: readonly string[] = ['/dev', '/dev/shm', '/run'];
