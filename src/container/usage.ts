/** What a container has used, as its cgroups have counted it, and where it has none, as its processes have. */
import type { ProcessUsage } from '../../syscalls/process.ts';
import { readIfThere } from '../host.ts';
import { isUnified } from '../plan/cgroups.ts';
import type { MadeCgroup } from './payload-cgroups.ts';

/** What is absent this kernel doesn't count, or none of the container's cgroups does. */
export interface Usage {
  /** The most memory at a time, in bytes; files that were read and written count, too. */
  memoryPeak?: number;
  /** The most memory of one process at a time, in bytes, where that of all together isn't known. */
  processPeak?: number;
  /** CPU time of all processes together, in seconds; without a cgroup, of those that another one has waited for. */
  cpuTime?: number;
  /** The most processes and threads at a time. */
  tasksPeak?: number;
  /** Processes that were killed because there was no memory left. */
  oomKills?: number;
}

/** A file of a cgroup that has a number, alone or behind a word. */
interface Counter {
  file: string;
  field?: string;
  /** The number by this is what is meant. */
  divisor?: number;
}

type Counters = { [K in Exclude<keyof Usage, 'processPeak'>]-?: Counter };

/** memory.peak is there since Linux 5.19, pids.peak since 6.1. */
const UNIFIED: Counters = {
  memoryPeak: { file: 'memory.peak' },
  cpuTime: { file: 'cpu.stat', field: 'usage_usec', divisor: 1e6 },
  tasksPeak: { file: 'pids.peak' },
  oomKills: { file: 'memory.events', field: 'oom_kill' },
};
const LEGACY: Counters = {
  memoryPeak: { file: 'memory.max_usage_in_bytes' },
  cpuTime: { file: 'cpuacct.usage', divisor: 1e9 },
  tasksPeak: { file: 'pids.peak' },
  oomKills: { file: 'memory.oom_control', field: 'oom_kill' },
};

/** What has been counted in these cgroups. */
export function usageOf(cgroups: readonly MadeCgroup[]): Usage {
  const usage: Usage = {};
  for (const { hierarchy, directory } of cgroups) {
    for (const [key, counter] of Object.entries(isUnified(hierarchy) ? UNIFIED : LEGACY)) {
      const value = read(directory, counter);
      if (value !== undefined) usage[key as keyof Usage] = value;
    }
  }
  return usage;
}

/**
 * What cgroups have counted, and for want of that what the kernel tells of the first process. One that wasn't forked but
 * cloned in this process's memory seems to have had as much as that.
 */
export const completedBy = (counted: Usage, { cpuTime, largest }: ProcessUsage, wasForked: boolean): Usage => ({
  ...(wasForked && counted.memoryPeak === undefined && { processPeak: largest }),
  cpuTime,
  ...counted,
});

function read(directory: number, { file, field, divisor = 1 }: Counter): number | undefined {
  const text = readIfThere(`/proc/self/fd/${directory}/${file}`)?.toString();
  const number = text && new RegExp(field ? `^${field} (\\d+)$` : '^(\\d+)$', 'm').exec(text)?.[1];
  return number ? Number(number) / divisor : undefined;
}
