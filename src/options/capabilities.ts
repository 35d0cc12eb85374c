import type { ContainerOptions } from '../options.ts';
import { parseIntegerWithin } from './integers.ts';
import { takes } from './usage-error.ts';

/** Names without CAP_, at the place of their numbers: see <linux/capability.h>. */
const names = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...['LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW', 'IPC_LOCK', 'IPC_OWNER'],
  ...['SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE'],
  ...['SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD', 'LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP'],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  'CHECKPOINT_RESTORE',
];

/** Names of all capabilities, such as CAP_CHOWN, at the place of their numbers. */
export const capabilityNames: readonly string[] = names.map(name => `CAP_${name}`);

/** What a container retains unless it is told otherwise: see --capability= in systemd-nspawn(1). */
const defaultCapabilities: readonly string[] = [
  ...['CAP_AUDIT_CONTROL', 'CAP_AUDIT_WRITE', 'CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH', 'CAP_FOWNER'],
  ...['CAP_FSETID', 'CAP_IPC_OWNER', 'CAP_KILL', 'CAP_LEASE', 'CAP_LINUX_IMMUTABLE', 'CAP_MKNOD'],
  ...['CAP_NET_BIND_SERVICE', 'CAP_NET_BROADCAST', 'CAP_NET_RAW', 'CAP_SETFCAP', 'CAP_SETGID', 'CAP_SETPCAP'],
  ...['CAP_SETUID', 'CAP_SYS_ADMIN', 'CAP_SYS_BOOT', 'CAP_SYS_CHROOT', 'CAP_SYS_NICE', 'CAP_SYS_PTRACE'],
  ...['CAP_SYS_RESOURCE', 'CAP_SYS_TTY_CONFIG'],
];

/** Every bit of a set, with those of capabilities that are newer than the table. */
const everything = 2n ** 64n - 1n;

/**
 * Names of a comma-separated list, each in any case, with or without CAP_, or as a number; `all` stays `all`. Empty
 * places in the list are skipped. Throws ValueError.
 */
export const parseCapabilities = (text: string): string[] => parseList(text, `${LIST}, or all`);

const LIST = 'capabilities such as CAP_NET_ADMIN, separated by commas';

const parseList = (text: string, what: string): string[] =>
  text
    .split(',')
    .filter(word => word !== '')
    .map(word => parseCapability(word, what));

/** The same without `all`, for --ambient-capability=. Throws ValueError. */
export function parseAmbientCapabilities(text: string): string[] {
  const names = parseList(text, LIST);
  if (names.includes('all')) throw takes(LIST, text);
  return names;
}

/**
 * The capabilities that the container keeps, as a set with bit N for capability N: the default set, those asked for,
 * CAP_NET_ADMIN with a private network, and of all these not the dropped ones. Users of the container's own couldn't use
 * a port below 1024 of a network that isn't, so they don't have the capability for that. With `all` every one of the 64
 * bits is set, also where the kernel has no such capability.
 */
export function retainedCapabilities(options: ContainerOptions): bigint {
  const network = options.privateNetwork ? ['CAP_NET_ADMIN'] : [];
  const granted = capabilitySet([...defaultCapabilities, ...(options.capabilities ?? []), ...network]);
  const withoutPorts = hasForeignUsers(options) && !(options.privateNetwork && !options.networkNamespacePath);
  const dropped = [...(options.dropCapabilities ?? []), ...(withoutPorts ? ['CAP_NET_BIND_SERVICE'] : [])];
  return granted & ~capabilitySet(dropped);
}

/** Whether root in the container is another user of the host's. */
const hasForeignUsers = ({ privateUsers = 'no' }: ContainerOptions): boolean =>
  typeof privateUsers === 'object' ? privateUsers.base > 0 : privateUsers !== 'no' && privateUsers !== 'identity';

/** Names of the ambient capabilities that the container doesn't keep, and that nobody in it can have. */
export function ambientBeyondRetained(options: ContainerOptions): string[] {
  const { ambientCapabilities = [] } = options;
  // Most have none: to work out what is retained takes a hundredth of a start.
  if (ambientCapabilities.length === 0) return [];
  const beyond = capabilitySet(ambientCapabilities) & ~retainedCapabilities(options);
  return capabilityNumbers(beyond).map(number => capabilityNames[number]!);
}

/** Numbers of the capabilities in a set, of those that the table knows. */
export const capabilityNumbers = (set: bigint): number[] =>
  capabilityNames.map((_, number) => number).filter(number => (set >> BigInt(number)) & 1n);

/** The set of capabilities with these names, bit N for capability N; `all` is every bit. */
export function capabilitySet(list: readonly string[]): bigint {
  return list.reduce((set, name) => set | bit(name), 0n);
}

function bit(name: string): bigint {
  return name === 'all' ? everything : 1n << BigInt(capabilityNames.indexOf(parseCapability(name, LIST)));
}

function parseCapability(text: string, what: string): string {
  const upper = text.toUpperCase();
  if (upper === 'ALL') return 'all';
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (capabilityNames.includes(name)) return name;
  const number = parseIntegerWithin(text, 0, capabilityNames.length - 1);
  const byNumber = number === undefined ? undefined : capabilityNames[number];
  if (byNumber === undefined) throw takes(what, text);
  return byNumber;
}
