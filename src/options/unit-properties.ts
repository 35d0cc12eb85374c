/**
 * Properties of a unit, as `systemctl set-property` takes them, and what they are on the bus: see
 * systemd.resource-control(5), systemd.kill(5), systemd.scope(5), systemd.unit(5) and org.freedesktop.systemd1(5). The
 * table has those that a transient scope has in systemd 252.
 */
import type { Value } from '../../dbus/value.ts';
import { parseIp } from '../../netlink/ip-address.ts';
import { parseInteger, parseIntegerWithin } from './integers.ts';
import { parseBoolean } from './modes.ts';
import { parseSize, parseTimeSpan } from './quantities.ts';
import { parseCpuList } from './resources.ts';
import { parseSignal } from './signals.ts';
import { takes, ValueError } from './usage-error.ts';

/** A property on the bus: its name there, and the D-Bus signature and content of its value. */
export interface UnitProperty {
  name: string;
  signature: string;
  value: Value;
}

/** The highest number of 64 bits: no limit, and for a weight none of its own. */
const INFINITY = 2n ** 64n - 1n;
const MICROSECONDS = 1_000_000n;

/** How values of a kind are written. */
interface Kind {
  takes: string;
  /** Undefined when the text is none. Throws ValueError, too. */
  parse: (text: string, name: string) => UnitProperty | undefined;
}

const text: Kind = { takes: 'a text', parse: (value, name) => ({ name, signature: 's', value }) };
const words: Kind = {
  takes: 'words',
  parse: (value, name) => ({ name, signature: 'as', value: splitWords(value) }),
};
const devicePolicy: Kind = {
  takes: 'auto, closed or strict',
  parse: (value, name) => (['auto', 'closed', 'strict'].includes(value) ? text.parse(value, name) : undefined),
};
const flag: Kind = {
  takes: 'yes or no',
  parse: (value, name) => ({ name, signature: 'b', value: parseBoolean(value) }),
};
const signal: Kind = {
  takes: 'a signal',
  parse: (value, name) => ({ name, signature: 'i', value: parseSignal(value) }),
};
const count: Kind = {
  takes: 'a number',
  parse: (value, name) => ifGiven(parseIntegerWithin(value, 0, 2 ** 32 - 1), number => [name, 'u', number]),
};
/** On the bus it ends in USec. */
const time: Kind = {
  takes: 'a time such as 90 or 1h 30min, or infinity',
  parse: (value, name) => ifGiven(timeOf(value), span => [name.replace(/Sec$/, 'USec'), 't', span]),
};
/** Empty takes a limit away, and a guarantee to 0. */
const limit = (emptyIs: bigint, what: string, parse: (value: string) => bigint | undefined): Kind => ({
  takes: `${what}, a percentage, or infinity`,
  parse(value, name) {
    const share = permyriad(value);
    if (share !== undefined && share <= 10_000n) return { name: `${name}Scale`, signature: 'u', value: scale(share) };
    const amount = value === '' ? emptyIs : value === 'infinity' ? INFINITY : parse(value);
    return ifGiven(amount, bytes => (bytes >= 0n && bytes <= INFINITY ? [name, 't', bytes] : undefined));
  },
});
const memoryLimit = limit(INFINITY, 'bytes such as 512M', parseSize);
const memoryGuarantee = limit(0n, 'bytes such as 512M', parseSize);
const tasks = limit(INFINITY, 'a number of tasks', parseInteger);
const weight = (lowest: number, highest: number, idle?: bigint): Kind => ({
  takes: `a number from ${lowest} to ${highest}${idle === undefined ? '' : ', or idle'}`,
  parse(value, name) {
    const number = value === '' ? INFINITY : parseIntegerWithin(value, lowest, highest);
    return ifGiven(value === 'idle' ? idle : number, given => [name, 't', BigInt(given)]);
  },
});
const quota: Kind = {
  takes: 'a percentage such as 20% or 150%',
  parse(value) {
    const share = value === '' ? INFINITY : permyriad(value);
    if (!share) return undefined;
    const perSecond = share === INFINITY ? INFINITY : (share * MICROSECONDS) / 10_000n;
    return { name: 'CPUQuotaPerSecUSec', signature: 't', value: perSecond };
  },
};
const cpus: Kind = {
  takes: 'numbers and ranges such as 0,2-4',
  parse: (value, name) => ({ name, signature: 'ay', value: bitSet(parseCpuList(value) ?? []) }),
};
/** A list of controllers turns delegation on for these. */
const delegate: Kind = {
  takes: 'yes, no or names of controllers',
  parse: (value, name) =>
    /^([a-z]{2,} ?)+$/.test(value) && !/^(yes|no|true|false|on|off)$/.test(value)
      ? { name: 'DelegateControllers', signature: 'as', value: splitWords(value) }
      : flag.parse(value, name),
};
const device: Kind = {
  takes: "a device node or group, and some of r, w, m, such as '/dev/sda r' or 'char-pts rw'",
  parse(value, name) {
    if (value === '') return { name, signature: 'a(ss)', value: [] };
    const [path, access = '', ...more] = splitWords(value);
    const fine = path !== undefined && /^(\/dev\/|char-|block-)./.test(path) && /^[rwm]*$/.test(access) && !more.length;
    return fine ? { name, signature: 'a(ss)', value: [[path, access]] } : undefined;
  },
};
/** Of a device or of what a path is on. */
const perDevice = (what: string, parse: (value: string) => bigint | undefined, busName?: string): Kind => ({
  takes: `a path and ${what}`,
  parse(value, name) {
    if (value === '') return { name: busName ?? name, signature: 'a(st)', value: [] };
    const [, path, amount = ''] = /^(\/\S*)\s+(.*)$/.exec(value) ?? [];
    return path ? ifGiven(parse(amount), number => [busName ?? name, 'a(st)', [[path, number]]]) : undefined;
  },
});
const rate = perDevice('bytes a second such as 5M, to the base of 1000, or infinity', value =>
  value === 'infinity' ? INFINITY : parseDecimalSize(value),
);
const addresses: Kind = {
  takes: 'addresses with or without a prefix length, any, localhost, link-local or multicast',
  parse: (value, name) => ({ name, signature: 'a(iayu)', value: splitWords(value).flatMap(prefixes) }),
};

const KINDS: readonly [names: string, kind: Kind][] = [
  ['CPUAccounting MemoryAccounting IOAccounting BlockIOAccounting TasksAccounting IPAccounting', flag],
  ['CPUWeight StartupCPUWeight', weight(1, 10_000, 0n)],
  ['IOWeight StartupIOWeight', weight(1, 10_000)],
  ['CPUShares StartupCPUShares', weight(2, 262_144)],
  ['BlockIOWeight StartupBlockIOWeight', weight(10, 1000)],
  ['CPUQuota', quota],
  ['CPUQuotaPeriodSec', time],
  ['AllowedCPUs StartupAllowedCPUs AllowedMemoryNodes StartupAllowedMemoryNodes', cpus],
  ['MemoryMin MemoryLow DefaultMemoryMin DefaultMemoryLow', memoryGuarantee],
  ['MemoryHigh MemoryMax MemorySwapMax MemoryLimit', memoryLimit],
  ['TasksMax', tasks],
  ['IODeviceWeight', perDevice('a number from 1 to 10000', value => within(value, 1, 10_000))],
  ['IOReadBandwidthMax IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax', rate],
  ['IODeviceLatencyTargetSec', perDevice('a time such as 25ms', timeOf, 'IODeviceLatencyTargetUSec')],
  ['IPAddressAllow IPAddressDeny', addresses],
  ['IPIngressFilterPath IPEgressFilterPath', words],
  ['DevicePolicy', devicePolicy],
  ['DeviceAllow', device],
  ['Delegate', delegate],
  ['DisableControllers', words],
  ['ManagedOOMSwap ManagedOOMMemoryPressure ManagedOOMPreference', text],
  ['Slice Description CollectMode SourcePath', text],
  ['KillMode', text],
  ['KillSignal RestartKillSignal FinalKillSignal', signal],
  ['SendSIGHUP SendSIGKILL', flag],
  ['RuntimeMaxSec RuntimeRandomizedExtraSec TimeoutStopSec', time],
  ['Documentation RequiresMountsFor', words],
  [
    'After Before Wants Requires Requisite BindsTo PartOf Upholds Conflicts PropagatesStopTo OnFailure OnSuccess',
    words,
  ],
  ['DefaultDependencies RefuseManualStart RefuseManualStop StopWhenUnneeded IgnoreOnIsolate', flag],
  ['SuccessAction FailureAction RebootArgument', text],
  ['JobTimeoutSec JobRunningTimeoutSec StartLimitIntervalSec', time],
  ['StartLimitBurst', count],
];

/** Reads `NAME=VALUE`. Throws ValueError for one that is unknown here, or whose value isn't one. */
export function parseUnitProperty(assignment: string): UnitProperty {
  const equals = assignment.indexOf('=');
  const name = assignment.slice(0, equals);
  const value = assignment.slice(equals + 1).trim();
  const kind = KINDS.find(([names]) => names.split(' ').includes(name))?.[1];
  if (equals < 1 || !kind) throw takes('a property that a scope unit has', assignment);
  try {
    const property = kind.parse(value, name);
    if (property) return property;
  } catch (error) {
    // What a parser says of its own option would not name the property.
    if (!(error instanceof ValueError)) throw error;
  }
  throw takes(`for ${name} ${kind.takes}`, value);
}

function ifGiven<Given>(
  value: Given | undefined,
  make: (value: Given) => [name: string, signature: string, value: Value] | undefined,
): UnitProperty | undefined {
  const made = value === undefined ? undefined : make(value);
  return made && { name: made[0], signature: made[1], value: made[2] };
}

const splitWords = (value: string) => value.split(/\s+/).filter(word => word !== '');

/** Parts of ten thousand, of `20%`, `0.5%`, `5‰` or `5‱`, also above the whole. */
function permyriad(value: string): bigint | undefined {
  const [, whole, fraction = '', sign = ''] = /^(\d+)(?:\.(\d{1,2}))?([%‰‱])$/.exec(value) ?? [];
  if (whole === undefined) return undefined;
  const decimals = { '%': 2, '‰': 1, '‱': 0 }[sign]!;
  return fraction.length > decimals ? undefined : BigInt(whole + fraction.padEnd(decimals, '0'));
}

/** A share as systemd has it: parts of 2^32 - 1, rounded. */
const scale = (share: bigint): number => Number((share * (2n ** 32n - 1n) + 5000n) / 10_000n);

function timeOf(value: string): bigint | undefined {
  return value === 'infinity' ? INFINITY : parseTimeSpan(value, MICROSECONDS);
}

function within(value: string, lowest: number, highest: number): bigint | undefined {
  const number = parseIntegerWithin(value, lowest, highest);
  return number === undefined ? undefined : BigInt(number);
}

function parseDecimalSize(value: string): bigint | undefined {
  const [, whole, fraction = '', unit = ''] = /^(\d+)(?:\.(\d+))?([KMGTPE]?)$/.exec(value) ?? [];
  if (whole === undefined) return undefined;
  const factor = 1000n ** BigInt(['', 'K', 'M', 'G', 'T', 'P', 'E'].indexOf(unit));
  return (BigInt(whole + fraction) * factor) / 10n ** BigInt(fraction.length);
}

/** CPU N is bit N % 8 of byte N / 8. */
function bitSet(numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(((numbers.at(-1) ?? -1) >> 3) + 1);
  for (const number of numbers) bytes[number >> 3]! |= 1 << (number & 7);
  return bytes;
}

/** What systemd calls them: systemd.resource-control(5). */
const NETWORKS: Readonly<Record<string, string[]>> = {
  any: ['0.0.0.0/0', '::/0'],
  localhost: ['127.0.0.0/8', '::1/128'],
  'link-local': ['169.254.0.0/16', 'fe80::/64'],
  multicast: ['224.0.0.0/4', 'ff00::/8'],
};
/** linux/socket.h */
const AF_INET = 2;
const AF_INET6 = 10;

function prefixes(word: string): Value[] {
  const networks = Object.hasOwn(NETWORKS, word) ? NETWORKS[word] : undefined;
  if (networks) return networks.flatMap(prefixes);
  const [address = '', length] = word.split('/');
  let bytes: Uint8Array;
  try {
    bytes = parseIp(address);
  } catch {
    throw takes('an address', word);
  }
  const bits = bytes.length * 8;
  const prefix = length === undefined ? bits : parseIntegerWithin(length, 0, bits);
  if (prefix === undefined) throw takes('a prefix length', word);
  return [[bytes.length === 4 ? AF_INET : AF_INET6, bytes, prefix]];
}
