/**
 * The devices that a container may use, where it has a cgroup to hold it to that: those that systemd-nspawn has
 * systemd allow.
 */
import type { DeviceRule } from '../../syscalls/bpf/device-program.ts';
import { S } from '../../syscalls/constants.ts';
import { fileType } from '../../syscalls/file.ts';
import { hostStatus } from '../host.ts';
import type { Plan } from './steps.ts';

/** Pseudo terminals: Documentation/admin-guide/devices.txt of Linux. */
const TERMINALS: readonly DeviceRule[] = [
  { type: 'char', major: 5, minor: 2, access: 'rw' },
  { type: 'char', major: 136, access: 'rw' },
];

/** What a plan's container finds in /dev, pseudo terminals, and device nodes that are bound. Looks at the host. */
export function allowedDevices({ steps, hostObjects }: Plan): DeviceRule[] {
  const nodes = steps.flatMap(({ action }) => (action.do === 'fill /dev' ? action.nodes : []));
  const own = nodes.map(({ mode, major, minor }): DeviceRule => ({ type: typeOf(mode), major, minor, access: 'rwm' }));
  const bound = steps.flatMap(({ action }): DeviceRule[] => {
    const object = action.do === 'bind' ? hostObjects[action.object] : undefined;
    if (object?.kind !== 'tree' || object.inRoot) return [];
    const status = hostStatus(object.path);
    if (!status || !isDevice(status.mode)) return [];
    const { mode, rdevMajor: major, rdevMinor: minor } = status;
    return [{ type: typeOf(mode), major, minor, access: object.readOnly ? 'r' : 'rw' }];
  });
  return [...own, ...TERMINALS, ...bound];
}

const isDevice = (mode: number) => fileType(mode) === S.IFCHR || fileType(mode) === S.IFBLK;
const typeOf = (mode: number): 'char' | 'block' => (fileType(mode) === S.IFBLK ? 'block' : 'char');

/** As version 1 has it in devices.allow: `c 1:3 rwm`. */
export const legacyRule = ({ type, major, minor, access }: DeviceRule): string =>
  `${type === 'block' ? 'b' : 'c'} ${major ?? '*'}:${minor ?? '*'} ${access}`;
