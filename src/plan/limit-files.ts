/**
 * Limits as files of cgroups: which hierarchies they take, and what is written there. See
 * Documentation/admin-guide/cgroup-v2.rst of Linux, and cgroup-v1/ beside it.
 */
import { readIfThere } from '../host.ts';
import { LimitError } from '../limit-error.ts';
import type { IoMax } from '../options.ts';
import { devicesHierarchy, type Hierarchy, isUnified } from './cgroups.ts';
import type { Limits } from './limits.ts';

/** A limit as files of a cgroup. */
export interface CgroupLimit {
  /** For messages: `limiting the memory to 1024 bytes`. */
  doing: string;
  controller: string;
  /** Names and content. Those that are there are written; one has to be. */
  files: readonly File[];
}
type File = readonly [name: string, text: string];

interface Row<Value> {
  /** What is limited to what: `the memory to 1024 bytes`. */
  what: (value: Value) => string;
  /** Names of the controller in version 2 and in version 1. */
  controllers: readonly [unified: string, legacy: string];
  unified: (value: Value) => File[];
  legacy: (value: Value, limits: Limits) => File[];
}

/** Microseconds in which a quota of CPU time may be used up; the kernel's own default. */
const CPU_PERIOD = 100_000;
const quota = (cpus: number) => Math.round(cpus * CPU_PERIOD);

/** All limits. The order is that in which they are written. */
const ROWS: { [K in keyof Limits]-?: Row<NonNullable<Limits[K]>> } = {
  memory: {
    what: bytes => `the memory to ${bytes} bytes`,
    controllers: ['memory', 'memory'],
    unified: bytes => [['memory.max', `${bytes}`]],
    legacy: bytes => [['memory.limit_in_bytes', `${bytes}`]],
  },
  memorySwap: {
    what: bytes => `the swap space to ${bytes} bytes`,
    controllers: ['memory', 'memory'],
    unified: bytes => [['memory.swap.max', `${bytes}`]],
    legacy(bytes, { memory }) {
      if (memory === undefined) {
        throw new Error(
          "limiting the swap space: that also needs --memory= here, as the host's memory cgroups are of version 1",
        );
      }
      return [['memory.memsw.limit_in_bytes', `${memory + bytes}`]];
    },
  },
  cpus: {
    what: cpus => `the CPU time to that of ${cpus} CPUs`,
    controllers: ['cpu', 'cpu'],
    unified: cpus => [['cpu.max', `${quota(cpus)} ${CPU_PERIOD}`]],
    legacy: cpus => [['cpu.cfs_quota_us', `${quota(cpus)}`]],
  },
  cpuWeight: {
    what: weight => `the CPU weight to ${weight}`,
    controllers: ['cpu', 'cpu'],
    unified: weight => [weight === 'idle' ? IDLE : ['cpu.weight', `${weight}`]],
    // Of shares others have 1024; the kernel's lowest is 2.
    legacy: weight => [weight === 'idle' ? IDLE : ['cpu.shares', `${Math.max(2, Math.round((weight * 1024) / 100))}`]],
  },
  tasks: {
    what: tasks => `the number of tasks to ${tasks}`,
    controllers: ['pids', 'pids'],
    unified: tasks => [['pids.max', `${tasks}`]],
    legacy: tasks => [['pids.max', `${tasks}`]],
  },
  ioWeight: {
    what: weight => `the IO weight to ${weight}`,
    controllers: ['io', 'blkio'],
    unified: weight => [
      ['io.weight', `${weight}`],
      // What counts depends on the disk's scheduler.
      ['io.bfq.weight', `${bfqWeight(weight)}`],
    ],
    legacy: weight => [['blkio.bfq.weight', `${bfqWeight(weight)}`]],
  },
  ioMax: {
    what: list => `the input and output of ${list.map(({ path }) => path).join(', ')}`,
    controllers: ['io', 'blkio'],
    unified: list => list.map(max => ['io.max', `${max.device} ${rates(max)}`]),
    legacy: list =>
      list.flatMap(max =>
        LEGACY_RATES.flatMap(([rate, file]): File[] =>
          max[rate] === undefined ? [] : [[file, `${max.device} ${max[rate]}`]],
        ),
      ),
  },
};

const IDLE: File = ['cpu.idle', '1'];

/** The BFQ scheduler's weights go up to 1000, with the same middle. */
const bfqWeight = (weight: number) => (weight <= 100 ? weight : Math.round(100 + ((weight - 100) * 900) / 9900));

const LEGACY_RATES = [
  ['rbps', 'blkio.throttle.read_bps_device'],
  ['wbps', 'blkio.throttle.write_bps_device'],
  ['riops', 'blkio.throttle.read_iops_device'],
  ['wiops', 'blkio.throttle.write_iops_device'],
] as const;

const rates = (max: IoMax) =>
  LEGACY_RATES.flatMap(([rate]) => (max[rate] === undefined ? [] : [`${rate}=${max[rate]}`])).join(' ');

/** The limits in words. */
export const describeLimits = (limits: Limits): string[] =>
  rowsOf(limits).map(({ row, value }) => `limiting ${row.what(value)}`);

/** The rows of the limits that are set. */
function rowsOf(limits: Limits): { row: Row<unknown>; value: unknown }[] {
  return (Object.keys(ROWS) as (keyof Limits)[])
    .filter(key => limits[key] !== undefined)
    .map(key => ({ row: ROWS[key] as Row<unknown>, value: limits[key] }));
}

/** The hierarchy that has a controller, by its names in version 2 and in version 1. Undefined where there is none. */
function hierarchyWith([unified, legacy]: Row<unknown>['controllers'], hierarchies: readonly Hierarchy[]) {
  const old = hierarchies.find(each => each.controllers.split(',').includes(legacy));
  if (old) return { hierarchy: old, controller: legacy };
  const hierarchy = hierarchies.find(isUnified);
  return hierarchy && { hierarchy, controller: unified };
}

/** What tells how much a container has used. */
const COUNTING = [
  ['memory', 'memory'],
  ['pids', 'pids'],
] as const;
/** Version 2 counts CPU time in any cgroup. */
const LEGACY_COUNTING = [...COUNTING, ['cpu', 'cpuacct']] as const;

/**
 * The hierarchies in which a container with limits gets cgroups: those that have the controllers, and version 2 in any
 * case, which counts CPU time, holds it to its devices and can kill. Throws an Error for a limit whose controller is nowhere; whether version 2
 * has it, the attempt to use it tells.
 */
export function limitingHierarchies(limits: Limits, hierarchies: readonly Hierarchy[]): Hierarchy[] {
  const needed = rowsOf(limits).map(({ row, value }) => {
    const found = hierarchyWith(row.controllers, hierarchies);
    if (found) return found.hierarchy;
    const [controller] = row.controllers;
    throw new LimitError(
      `limiting ${row.what(value)}: that takes the cgroup controller ${controller}; ${whyMissing(controller)}`,
    );
  });
  const counters = hierarchies.some(isUnified) ? COUNTING : LEGACY_COUNTING;
  const counting = counters.map(each => hierarchyWith(each, hierarchies)?.hierarchy);
  const policing = devicesHierarchy(hierarchies);
  return hierarchies.filter(each => needed.includes(each) || counting.includes(each) || each === policing);
}

/** The limits that are in force in a hierarchy. Throws an Error for one that needs another here. */
export function limitsIn(hierarchy: Hierarchy, limits: Limits, hierarchies: readonly Hierarchy[]): CgroupLimit[] {
  return rowsOf(limits).flatMap(({ row, value }) => {
    const found = hierarchyWith(row.controllers, hierarchies);
    if (found?.hierarchy !== hierarchy) return [];
    const files = isUnified(hierarchy) ? row.unified(value) : row.legacy(value, limits);
    return [{ doing: `limiting ${row.what(value)}`, controller: found.controller, files }];
  });
}

/** Why a controller is nowhere, and what helps: a line of /proc/cgroups has name, hierarchy, cgroups, enabled. */
export function whyMissing(name: string): string {
  const controller = name === 'io' ? 'blkio' : name;
  const lines = readIfThere('/proc/cgroups')?.toString() ?? '';
  const [, enabled] = new RegExp(`^${controller}\\t\\d+\\t\\d+\\t(\\d)`, 'm').exec(lines) ?? [];
  if (enabled === undefined) return 'the kernel is built without it';
  if (enabled === '0') return `it is turned off: start the kernel with cgroup_enable=${controller}`;
  return 'no cgroup file system that has it is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup';
}
