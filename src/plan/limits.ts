/** What a container may use: from options to numbers, and what that means for its plan. */
import { S } from '../../syscalls/constants.ts';
import { fileType } from '../../syscalls/file.ts';
import { hostHas, hostStatus, readHostFile, readLink } from '../host.ts';
import { LimitError } from '../limit-error.ts';
import { type Percentage, parseMemory, parseSwap, parseTasks } from '../options/limits.ts';
import type { UnitProperty } from '../options/unit-properties.ts';
import type { ContainerOptions, IoMax } from '../options.ts';
import { devicesHierarchy, hierarchiesOf, isUnified } from './cgroups.ts';
import { limitingHierarchies } from './limit-files.ts';
import { limitProperties } from './limit-properties.ts';
import type { Plan, RegisterAction, Step } from './steps.ts';

/** Limits in numbers; what is absent isn't limited. */
export interface Limits {
  /** Bytes. */
  memory?: number;
  /** Bytes of swap space beside that. */
  memorySwap?: number;
  /** How many CPUs' time. */
  cpus?: number;
  cpuWeight?: number | 'idle';
  /** Processes and threads. */
  tasks?: number;
  ioWeight?: number;
  ioMax?: DeviceIoMax[];
}

/** Rates of a block device; `device` is such as `8:0`. */
export interface DeviceIoMax extends IoMax {
  device: string;
}

/**
 * A plan with the limits that options ask for, and with what properties say about devices; without any of them what is
 * used is only counted. Looks at the host. Throws an Error for limits that can't be.
 */
export function withLimits(plan: Plan, options: ContainerOptions, devices: readonly UnitProperty[] = []): Plan {
  const limits = limitsOf(options);
  const all = hierarchiesOf('self');
  const limiting = limitingHierarchies(limits, all);
  if (plan.shareSystem && !limiting.some(isUnified)) {
    throw new Error('limiting a container with --share-system: what it leaves behind can be ended with cgroup v2 only');
  }
  if (devices.length > 0 && !devicesHierarchy(all)) {
    throw new LimitError(`holding the container to the devices of --property=: ${NO_DEVICE_CGROUPS}`);
  }
  const had = plan.cgroups.map(({ controllers }) => controllers);
  return {
    ...plan,
    limits,
    ...(devices.length > 0 && { deviceProperties: devices }),
    cgroups: all.filter(each => limiting.includes(each) || had.includes(each.controllers)),
    // Of a scope unit they are properties.
    steps: plan.steps.map(step =>
      step.action.do === 'register' ? withProperties(step, [...limitProperties(limits), ...devices]) : step,
    ),
  };
}

const NO_DEVICE_CGROUPS = 'no cgroup file system that can do so is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup';

/** So that what is used can be told. */
const COUNTED = ['MemoryAccounting', 'CPUAccounting', 'TasksAccounting'].map(name => ({
  name,
  signature: 'b',
  value: true,
}));

function withProperties(step: Step, properties: readonly UnitProperty[]): Step {
  const action = step.action as RegisterAction;
  if (action.as === 'unit') return step;
  return { ...step, action: { ...action, properties: [...action.properties, ...COUNTED, ...properties] } };
}

/** The limits that options ask for, in numbers. Looks at the host. Throws an Error. */
export function limitsOf(options: ContainerOptions): Limits {
  const { memory, memorySwap, cpus, cpuWeight, tasks, ioWeight, ioMax } = options;
  const limits = {
    memory: amount(memory, parseMemory, machineMemory),
    memorySwap: amount(memorySwap, parseSwap, machineMemory),
    cpus,
    cpuWeight,
    tasks: amount(tasks, parseTasks, mostTasks),
    ioWeight,
    ioMax: ioMax?.length ? ioMax.map(deviceOf) : undefined,
  };
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

type Parse = (text: string) => number | Percentage | undefined;

function amount(value: number | string | undefined, parse: Parse, whole: () => number): number | undefined {
  const parsed = value === undefined ? undefined : parse(String(value));
  if (typeof parsed !== 'string') return parsed;
  return Math.max(1, Math.floor((whole() * Number.parseFloat(parsed)) / 100));
}

/** Bytes of memory that the machine has. */
export const machineMemory = (): number =>
  1024 * Number(/^MemTotal:\s*(\d+) kB/m.exec(readHostFile('/proc/meminfo').toString())?.[1]);

/** How many tasks it can have: proc_sys_kernel(5). */
const mostTasks = (): number =>
  Math.min(...['pid_max', 'threads-max'].map(name => Number(readHostFile(`/proc/sys/kernel/${name}`).toString())));

/** Rates are those of whole disks. */
function deviceOf(max: IoMax): DeviceIoMax {
  const doing = `limiting the input and output of ${max.path}`;
  const status = hostStatus(max.path);
  if (!status) throw new Error(`${doing}: there is no such file`);
  const isDevice = fileType(status.mode) === S.IFBLK;
  const [major, minor] = isDevice ? [status.rdevMajor, status.rdevMinor] : [status.deviceMajor, status.deviceMinor];
  const device = `/sys/dev/block/${major}:${minor}`;
  if (!hostHas(device)) {
    throw new Error(`${doing}: it is on a file system without a block device of its own; name the device instead`);
  }
  if (!hostHas(`${device}/partition`)) return { ...max, device: `${major}:${minor}` };
  // A partition's directory is in that of its disk.
  const disk = readHostFile(`/sys/dev/block/${readLink(device)}/../dev`)
    .toString()
    .trim();
  return { ...max, device: disk };
}
