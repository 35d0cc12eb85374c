/**
 * Limits as properties of a unit, and properties as limits: systemd.resource-control(5), and
 * org.freedesktop.systemd1(5) for their names and types on the bus.
 */
import type { Value } from '../../dbus/value.ts';
import type { UnitProperty } from '../options/unit-properties.ts';
import type { ContainerOptions, IoMax } from '../options.ts';
import type { Limits } from './limits.ts';

/** What the options are that limit. */
export type LimitOptions = Pick<
  ContainerOptions,
  'memory' | 'memorySwap' | 'cpus' | 'cpuWeight' | 'tasks' | 'ioWeight' | 'ioMax'
>;

/** The highest number of 64 bits: no limit. */
const INFINITY = 2n ** 64n - 1n;
const MICROSECONDS = 1e6;

/** Of a property's value; undefined takes a limit back. */
type Amount = number | `${number}%` | undefined;
const amount = (value: Value): number | undefined => (value === INFINITY ? undefined : Number(value));
/** Parts of 2^32 - 1. */
const share = (value: Value): Amount => `${Number(((Number(value) * 100) / (2 ** 32 - 1)).toFixed(2))}%`;

const rate =
  (key: Exclude<keyof IoMax, 'path'>) =>
  (value: Value): LimitOptions => ({
    ioMax: (value as readonly (readonly [string, bigint])[])
      .filter(([, number]) => number !== INFINITY)
      .map(([path, number]) => ({ path, [key]: Number(number) })),
  });

/** What each property limits, by its name on the bus. */
const LIMITS: Readonly<Record<string, (value: Value) => { [K in keyof LimitOptions]: LimitOptions[K] | undefined }>> = {
  MemoryMax: value => ({ memory: amount(value) }),
  MemoryMaxScale: value => ({ memory: share(value) }),
  MemorySwapMax: value => ({ memorySwap: amount(value) }),
  MemorySwapMaxScale: value => ({ memorySwap: share(value) }),
  CPUQuotaPerSecUSec: value => ({ cpus: value === INFINITY ? undefined : Number(value) / MICROSECONDS }),
  CPUWeight: value => ({ cpuWeight: value === 0n ? 'idle' : amount(value) }),
  TasksMax: value => ({ tasks: amount(value) }),
  TasksMaxScale: value => ({ tasks: share(value) }),
  IOWeight: value => ({ ioWeight: amount(value) }),
  IOReadBandwidthMax: rate('rbps'),
  IOWriteBandwidthMax: rate('wbps'),
  IOReadIOPSMax: rate('riops'),
  IOWriteIOPSMax: rate('wiops'),
};

/** What says which devices may be used. */
const DEVICE_PROPERTIES = ['DevicePolicy', 'DeviceAllow'];

/** Properties by what they are for. */
export interface Sorted {
  limits: LimitOptions;
  devices: UnitProperty[];
  others: UnitProperty[];
}

/** The limits among properties, as options; those about devices, and the others. Of limits of a kind the last one counts. */
export function sortProperties(properties: readonly UnitProperty[]): Sorted {
  const limits: LimitOptions = {};
  const devices: UnitProperty[] = [];
  const others: UnitProperty[] = [];
  for (const property of properties) {
    if (DEVICE_PROPERTIES.includes(property.name)) {
      devices.push(property);
      continue;
    }
    const limit = Object.hasOwn(LIMITS, property.name) ? LIMITS[property.name] : undefined;
    if (!limit) {
      others.push(property);
      continue;
    }
    const { ioMax, ...given } = limit(property.value);
    Object.assign(limits, given);
    if (ioMax) limits.ioMax = [...(limits.ioMax ?? []), ...ioMax];
  }
  const set = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
  return { limits: set, devices, others };
}

/** Limits as properties of a unit. */
export function limitProperties({
  memory,
  memorySwap,
  cpus,
  cpuWeight,
  tasks,
  ioWeight,
  ioMax,
}: Limits): UnitProperty[] {
  const number = (name: string, value: number | undefined): UnitProperty[] =>
    value === undefined ? [] : [{ name, signature: 't', value: BigInt(value) }];
  const rates = (name: string, key: Exclude<keyof IoMax, 'path'>): UnitProperty[] => {
    const value = (ioMax ?? []).flatMap(max => (max[key] === undefined ? [] : [[max.path, BigInt(max[key])]]));
    return value.length === 0 ? [] : [{ name, signature: 'a(st)', value }];
  };
  return [
    ...number('MemoryMax', memory),
    ...number('MemorySwapMax', memorySwap),
    ...number('CPUQuotaPerSecUSec', cpus && Math.round(cpus * MICROSECONDS)),
    ...number('CPUWeight', cpuWeight === 'idle' ? 0 : cpuWeight),
    ...number('TasksMax', tasks),
    ...number('IOWeight', ioWeight),
    ...rates('IOReadBandwidthMax', 'rbps'),
    ...rates('IOWriteBandwidthMax', 'wbps'),
    ...rates('IOReadIOPSMax', 'riops'),
    ...rates('IOWriteIOPSMax', 'wiops'),
  ];
}
