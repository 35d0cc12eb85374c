/**
 * The devices that a container may use, where it has a cgroup to hold it to that: those that systemd-nspawn has
 * systemd allow, and what DevicePolicy= and DeviceAllow= make of them, as in systemd.resource-control(5).
 */
import type { DeviceRule } from '../../syscalls/bpf/device-program.ts';
import { S } from '../../syscalls/constants.ts';
import { fileType } from '../../syscalls/file.ts';
import { hostStatus, readHostFile } from '../host.ts';
import { UsageError } from '../options/usage-error.ts';
import type { Plan } from './steps.ts';

/** Pseudo terminals: Documentation/admin-guide/devices.txt of Linux. */
const TERMINALS: readonly DeviceRule[] = [
  { type: 'char', major: 5, minor: 2, access: 'rw' },
  { type: 'char', major: 136, access: 'rw' },
];

/** Of the nodes in /dev the one that the other policies don't allow by themselves. */
const TUN = 'net/tun';

/**
 * What a plan's container finds in /dev, pseudo terminals, device nodes that are bound, and what its properties say;
 * undefined if that is all devices. Looks at the host. Throws UsageError.
 */
export function allowedDevices({ steps, hostObjects, deviceProperties = [] }: Plan): DeviceRule[] | undefined {
  const nodes = steps.flatMap(({ action }) => (action.do === 'fill /dev' ? action.nodes : []));
  const ruleOf = ({ mode, major, minor }: (typeof nodes)[number]): DeviceRule => {
    return { type: typeOf(mode), major, minor, access: 'rwm' };
  };
  const bound = steps.flatMap(({ action }): DeviceRule[] => {
    const object = action.do === 'bind' ? hostObjects[action.object] : undefined;
    if (object?.kind !== 'tree' || object.inRoot) return [];
    const status = hostStatus(object.path);
    if (!status || !isDevice(status.mode)) return [];
    const { mode, rdevMajor: major, rdevMinor: minor } = status;
    return [{ type: typeOf(mode), major, minor, access: object.readOnly ? 'r' : 'rw' }];
  });
  let rules = [...nodes.map(ruleOf), ...TERMINALS, ...bound];
  let policy: unknown = 'strict';
  for (const { name, value } of deviceProperties) {
    if (name === 'DevicePolicy') policy = value;
    else rules = (value as []).length === 0 ? [] : [...rules, ...(value as [string, string][]).flatMap(rulesOf)];
  }
  if (policy === 'strict') return rules;
  if (policy === 'auto' && rules.length === 0) return undefined;
  return [...nodes.filter(({ name }) => name !== TUN).map(ruleOf), ...TERMINALS, ...rules];
}

/** What DeviceAllow= says: a node, which need not be there, or a group such as char-pts or block-*. */
function rulesOf([path, access]: [path: string, access: string]): DeviceRule[] {
  const rule = { access: access || 'rwm' };
  const [, group, pattern] = /^(char|block)-(.+)$/.exec(path) ?? [];
  if (group && pattern) {
    return majorsOf(group, pattern).map(major => ({ ...rule, type: group as DeviceRule['type'], major }));
  }
  const status = hostStatus(path);
  if (!status) return [];
  if (!isDevice(status.mode)) throw new UsageError(`--property=DeviceAllow=: ${path} is no device node`);
  return [{ ...rule, type: typeOf(status.mode), major: status.rdevMajor, minor: status.rdevMinor }];
}

/** Of /proc/devices, which has a heading for each kind, and a number and a name in each line. */
function majorsOf(kind: string, pattern: string): number[] {
  const parts = readHostFile('/proc/devices').toString().split('\n\n');
  const lines = parts.find(part => part.toLowerCase().startsWith(kind)) ?? '';
  const [escaped, wild] = [/[.+^${}()|[\]\\]/g, /[*?]/g];
  const name = pattern.replace(escaped, '\\$&').replace(wild, each => (each === '*' ? '.*' : '.'));
  return [...lines.matchAll(new RegExp(`^ *(\\d+) ${name}$`, 'gm'))].map(([, major]) => Number(major));
}

const isDevice = (mode: number) => fileType(mode) === S.IFCHR || fileType(mode) === S.IFBLK;
const typeOf = (mode: number): 'char' | 'block' => (fileType(mode) === S.IFBLK ? 'block' : 'char');

/** As version 1 has it in devices.allow: `c 1:3 rwm`. */
export const legacyRule = ({ type, major, minor, access }: DeviceRule): string =>
  `${type === 'block' ? 'b' : 'c'} ${major ?? '*'}:${minor ?? '*'} ${access}`;
