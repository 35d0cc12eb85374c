/**
 * How the host's service manager, and systemd-machined, get to know of a container: --register=, --keep-unit, --slice=
 * and --property=.
 */
import process from 'node:process';
import { S } from '../../syscalls/constants.ts';
import { fileType } from '../../syscalls/file.ts';
import { hostStatus } from '../host.ts';
import type { UnitProperty } from '../options/unit-properties.ts';
import { UsageError } from '../options/usage-error.ts';
import type { ContainerOptions } from '../options.ts';
import { hierarchiesOf, isManaged } from './cgroups.ts';

/** What is asked of the host's service manager, or of systemd-machined, which asks it in turn. */
export interface Registration {
  /**
   * 'machine': systemd-machined lists the container, and has a scope unit made for it. 'unit': it lists the container as
   * what the unit runs that this process is in. 'scope': there is a scope unit, and no more.
   */
  as: 'machine' | 'unit' | 'scope';
  /** Asked for by hand: the container does not go without. */
  isRequired: boolean;
  /** Machine id as 32 hexadecimal digits; undefined if it isn't known before an image is mounted. */
  machineId: string | undefined;
  /** The host's path of the root directory; '' if there is none. */
  directory: string;
  /** The interface by which the host reaches the container. */
  hostInterface: string | undefined;
  /** Properties of the scope unit. */
  properties: UnitProperty[];
}

/** What it takes besides the options. */
export interface Registered {
  directory: string;
  hostInterface: string | undefined;
  /** Reads the tree's own. */
  machineId: () => string | undefined;
  killSignal: number | undefined;
  /** Those of --property=. */
  properties: readonly UnitProperty[];
}

/** What to ask for a container; undefined for nothing. Throws UsageError. */
export function registrationOf(options: ContainerOptions, its: Registered): Registration | undefined {
  const { register = true, keepUnit = false, shareSystem, slice, uuid } = options;
  const [property] = its.properties;
  if (property && process.geteuid?.() !== 0) {
    throw new UsageError(
      `--property=${property.name}= takes root: it is one of a scope unit of the system's; systemd-run --user --scope --property= starts nspawn in one of the user's`,
    );
  }
  if (shareSystem || (keepUnit && !register)) return undefined;
  if (keepUnit && isInUserSession()) {
    throw new UsageError('--keep-unit may not be used from a user session: it would be taken for the container');
  }
  const forScope = !keepUnit && (slice !== undefined || its.properties.length > 0);
  const isRequired = options.register === true || forScope;
  // Nobody else may, so that it isn't tried in vain.
  if (!isRequired && process.geteuid?.() !== 0) return undefined;
  return {
    as: register ? (keepUnit ? 'unit' : 'machine') : 'scope',
    isRequired,
    machineId: uuid?.replaceAll('-', '') ?? its.machineId(),
    directory: its.directory,
    hostInterface: its.hostInterface,
    properties: keepUnit ? [] : scopeProperties(options, its),
  };
}

/** What a container gets to use and to make, though more devices may be there: those of /dev that it always has. */
const DEVICES = [
  ...['null', 'zero', 'full', 'random', 'urandom', 'tty', 'net/tun'].map(name => [`/dev/${name}`, 'rwm']),
  // Made by devpts, never by the container.
  ['/dev/pts/ptmx', 'rw'],
  ['char-pts', 'rw'],
];

function scopeProperties({ slice, binds = [] }: ContainerOptions, its: Registered): UnitProperty[] {
  const bound = binds
    .filter(({ source }) => isDevice(source))
    .map(({ source, readOnly }) => [source, readOnly ? 'r' : 'rw']);
  const { killSignal } = its;
  return [
    ...(slice === undefined ? [] : [{ name: 'Slice', signature: 's', value: sliceUnit(slice) }]),
    { name: 'DevicePolicy', signature: 's', value: 'strict' },
    { name: 'DeviceAllow', signature: 'a(ss)', value: [...DEVICES, ...bound] },
    ...(killSignal === undefined
      ? []
      : [
          { name: 'KillSignal', signature: 'i', value: killSignal },
          // The signal is for the init alone.
          { name: 'KillMode', signature: 's', value: 'mixed' },
        ]),
    ...its.properties,
  ];
}

/** `--slice=my` is my.slice, as for other commands of systemd. */
const sliceUnit = (slice: string): string => (slice.endsWith('.slice') ? slice : `${slice}.slice`);

function isDevice(source: string): boolean {
  const status = source.startsWith('/') ? hostStatus(source) : undefined;
  const type = status && fileType(status.mode);
  return type === S.IFCHR || type === S.IFBLK;
}

/** Whether this process is in a user's slice, such as user-1000.slice: then its unit is the session of a login. */
const isInUserSession = (): boolean =>
  hierarchiesOf('self').some(each => isManaged(each) && IN_USER_SLICE.test(each.path));
const IN_USER_SLICE = /^(\/[^/]+\.slice)*\/user-\d+\.slice(\/|$)/;
