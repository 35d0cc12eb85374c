/**
 * The steps that a container's set-up is made of, as data. All paths are the container's own and are resolved inside
 * it; what comes from the host is named by its key in the plan's host objects.
 */
import type { IdRange } from '../../syscalls/idmap.ts';
import type { MountOption } from '../../syscalls/mount.ts';
import type { UnitProperty } from '../options/unit-properties.ts';
import type { BindIdmap, Credential, LinkJournal, NewFile, Rlimit, UserIds, UsersOwnership } from '../options.ts';
import type { Hierarchy } from './cgroups.ts';
import type { Limits } from './limits.ts';
import type { Registration } from './registration.ts';

/**
 * Something of the host that the container gets. It is opened before the container exists. `mapped` is for what is shown
 * with the container's own users as owners, unless it belongs to them already.
 */
export type HostObject =
  /** A copy of a mount tree; `inRoot` says that the path is one inside the container's root directory. */
  | { kind: 'tree'; path: string; inRoot: boolean; recursive: boolean; readOnly: boolean; mapped?: boolean }
  /** An empty file system in memory that goes with the container; `context` is its label for SELinux. */
  | { kind: 'scratch'; readOnly: boolean; context?: string; options?: MountOption[] }
  | FileSystem
  /** The root of --ephemeral, made before; `path` is what it is made of. */
  | { kind: 'ephemeral'; path: string; mapped?: boolean }
  /**
   * What is written to a part of such a root that is made of several: `name` is its path in the directory of the root's
   * layers, and `path` that of the host's directory that it is for.
   */
  | { kind: 'layer'; name: string; path: string }
  /** The container's pseudo terminal: the slave, or the file system that it is alone in, of which a step takes it. */
  | { kind: 'console' }
  /** The socket by which the payload tells how it does. */
  | { kind: 'notify socket' }
  /** The network namespace that a file stands for. */
  | { kind: 'network namespace'; path: string };

/** A file system in the disk image. */
export interface FileSystem {
  kind: 'file system';
  /** For messages: `partition 2 (home, ext4) of /x.raw`. */
  name: string;
  type: string;
  /** Bytes from the start of the image. */
  offset: number;
  /** In bytes; 0 is all up to the end. */
  size: number;
  /** Bytes of a sector of the device that it is mounted from. */
  sectorSize: number;
  readOnly: boolean;
  /** MOUNT_ATTR bits. */
  attributes: number;
  options: MountOption[];
  mapped?: boolean;
  /** The program of the host's that shows it by FUSE, where an ordinary user starts the container. */
  through?: { name: FuseProgram; path: string };
}

export type FuseProgram = 'fuse2fs' | 'squashfuse' | 'erofsfuse';

/** Users of the container's own. */
export interface Users {
  /**
   * The first of the host's ids that they have; 'pick' is one that nobody has when the container starts, and 'of tree'
   * goes by the owner of the root directory.
   */
  base: number | 'pick' | 'of tree';
  /** How many ids there are. */
  count: number;
  ownership: UsersOwnership;
  /** Users of the host whom the container knows; they have their own ids there, too. */
  bound: HostUser[];
  /**
   * Where an ordinary user starts the container: which ids of the host's they have. Those of its root are the user's own,
   * or one's that belongs to the user.
   */
  maps?: { uids: IdRange[]; gids: IdRange[] };
}

/** What happens when a step fails: the start fails, a warning is logged, or it is told at debug level only. */
export type OnFailure = 'fail' | 'warn' | 'debug';

/** The writable layer of an overlay: a directory in a host object, and beside it the kernel's working directory. */
export interface UpperLayer {
  object: string;
  directory: string;
  work: string;
  /** Permissions of the overlay's own root directory. Default: 0755. */
  mode?: number;
}

/** A user of the host's /etc/passwd, whose group is one of the same name. */
export interface HostUser {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** A network interface that the container gets. Addresses are MAC addresses, such as 02:00:00:00:00:01. */
export type InterfaceAction =
  | { do: 'move interface'; host: string; name: string }
  /** `name` is the host's end; `fullName` is the one that was too long. */
  | {
      do: 'make veth link';
      name: string;
      fullName?: string;
      address: string;
      peer: { name: string; address: string };
      bridge?: { name: string; isZone: boolean };
    }
  | { do: 'make macvlan'; parent: string; name: string; address: string }
  | { do: 'make ipvlan'; parent: string; name: string };

/** A device node in /dev; `mode` with its type. */
export interface DeviceNode {
  name: string;
  mode: number;
  major: number;
  minor: number;
}

export type StepAction =
  | { do: 'separate mounts' }
  | { do: 'reset loginuid' }
  /** Makes a host object of the name `overlay`; `lower` are keys of host objects, the lowest layer first. */
  | { do: 'make overlay'; overlay: string; lower: string[]; upper?: UpperLayer; options?: MountOption[] }
  /** `seen` are API file systems of the host that who follows into a user namespace must see. */
  | { do: 'enter root'; seen?: string[] }
  /** From here on the steps are carried out in the user namespace. They need these host objects. */
  | { do: 'hand over'; objects: string[] }
  /** With a copy of all mounts, in which these are the first ones. */
  | { do: 'enter user namespace'; mounts: Extract<StepAction, { do: 'mount' }>[] }
  | { do: 'unmount'; path: string }
  | { do: 'make directories'; directories: { path: string; mode: number }[] }
  | { do: 'make symlink'; path: string; target: string }
  /** `bound` are nodes of the host's, for who can't make any. */
  | {
      do: 'fill /dev';
      directories: string[];
      nodes: DeviceNode[];
      bound?: { name: string; object: string }[];
      links: { name: string; target: string }[];
    }
  | { do: 'make read-only'; path: string; recursive: boolean }
  /** Puts the container's cgroups at the root of what it sees of the hierarchies. */
  | { do: 'separate cgroups' }
  | { do: 'mount'; type: string; path: string; options: MountOption[]; attributes: number }
  /** `idmap` tells whose the files look like. */
  | { do: 'bind'; object: string; path: string; idmap?: BindIdmap }
  /** As bind, for what is known to be a directory, or a file; `path` is made where it is missing. */
  | { do: 'attach'; object: string; path: string; isFile?: boolean }
  /** `fallback` is for a tree without `path`, if it is an empty directory. */
  | { do: 'mount partition'; object: string; path: string; fallback?: string }
  /** Takes an object from the container's tree as it is now, or before there is one from the tree of another object. */
  | { do: 'take'; object: string; from?: string }
  | { do: 'check tree' }
  | { do: 'forbid devices'; path: string }
  /** Links, each of which is made where there is what it needs. */
  | { do: 'make links'; links: { path: string; target: string; needs: string }[] }
  | { do: 'bind read-only'; path: string }
  | { do: 'hide'; paths: string[] }
  | { do: 'take console' }
  | { do: 'set up console' }
  | { do: 'forbid user namespaces' }
  | { do: 'set up kernel log' }
  | { do: 'set boot id' }
  /** Tells the container of users of the host, by name. */
  | { do: 'write user records'; users: string[] }
  /** Unless it is a symlink. */
  | { do: 'write file'; path: string; content: string }
  | { do: 'copy file'; from: string; path: string; replace: boolean }
  | { do: 'remove'; path: string }
  /** `zone` is undefined where the host's cannot be told. */
  | { do: 'link time zone'; zone: string | undefined }
  /** For mount namespaces in the container: systemd's services get credentials that way, and mounts of later. */
  | { do: 'share mounts' }
  | { do: 'set host name'; name: string }
  | { do: 'join network namespace'; object: string }
  | { do: 'bring loopback up' }
  /** By this user's own sockets. */
  | { do: 'connect network' }
  /** `writesTo` is the host's path of what the container writes to, if it has one. */
  | { do: 'link journal'; mode: Exclude<LinkJournal, 'no'>; writesTo?: string }
  /** Gives the socket its place in the container. */
  | { do: 'bind notify socket'; path: string }
  | InterfaceAction
  | RegisterAction;

/** Has the host's service manager, and systemd-machined, know of the container. It is moved to another cgroup by that. */
export type RegisterAction = { do: 'register' } & Registration;

export interface Step {
  action: StepAction;
  onFailure: OnFailure;
}
export type RegisterStep = Step & { action: RegisterAction };
export const must = (action: StepAction): Step => ({ action, onFailure: 'fail' });
export const should = (action: StepAction): Step => ({ action, onFailure: 'warn' });

/** A part of a plan: what it needs of the host, and its steps before and after the change of the root directory. */
export interface PlanPart {
  hostObjects: Record<string, HostObject>;
  before: Step[];
  steps: Step[];
}
export const NOTHING: PlanPart = { hostObjects: {}, before: [], steps: [] };

/** A filter other than the default one. */
export interface SystemCallFilter {
  /** An array of struct sock_filter. */
  program: Uint8Array;
  /** Names in the lists that are no call's nor group's. */
  unknown: string[];
}

/** What the payload is and under which conditions it runs. */
export interface Payload {
  /** argv; empty means the user's shell, or with `boot` an init without arguments. */
  command: string[];
  boot: boolean;
  asPid2: boolean;
  user: string | UserIds;
  chdir?: string;
  /** NAME=VALUE assignments over all those that nspawn sets. */
  environment: string[];
  uuid?: string;
  /** Bit N: capability N stays in the bounding set. */
  capabilities: bigint;
  /** Bit N: the payload's programs get capability N, whoever its user is. */
  ambientCapabilities: bigint;
  noNewPrivileges: boolean;
  filter?: SystemCallFilter;
  credentials: Credential[];
  files: NewFile[];
  rlimits: Rlimit[];
  cpuAffinity?: number[];
  oomScoreAdjust?: number;
  personality?: string;
  /** Its label for SELinux. */
  selinuxContext?: string;
}

/** Where records of the host's users are: nss-systemd(8). */
export const USER_RECORDS = '/run/host/userdb';

/** Where a payload's credentials are. */
export const CREDENTIALS_DIRECTORY = '/run/host/credentials';

/** All that a container needs. */
export interface Plan {
  machine: string;
  /** Canonical path of the root directory, or of the disk image that has it. */
  directory: string;
  isImage: boolean;
  /** Canonical path of what the root directory is copied from before, as it doesn't exist yet. */
  template?: string;
  /** The root is an ephemeral one, made of the root directory, and looks after the lock. */
  ephemeral: boolean;
  /** Its own users; without, they are the host's. */
  users?: Users;
  /** Whether it has a network namespace that is made for it. */
  privateNetwork: boolean;
  shareSystem: boolean;
  /**
   * Where it gets cgroups of its own, below those of this process: an init manages what is below them, limits are set
   * there, and of a payload in the host's process namespace they tell what it has left behind.
   */
  cgroups: Hierarchy[];
  /** In force in those; empty where only what is used shall be counted, absent where not even that. */
  limits?: Limits;
  /** DevicePolicy and DeviceAllow, in the order in which they are in force. */
  deviceProperties?: readonly UnitProperty[];
  /** Milliseconds that it may run. */
  timeout?: number;
  /** Containers may share a tree that none of them writes to. 'none': whoever starts this one has the lock. */
  lock: 'shared' | 'exclusive' | 'none';
  /** Whether it has a pseudo terminal, or uses the streams that it is given. */
  console: 'pty' | 'streams';
  hostObjects: Record<string, HostObject>;
  steps: Step[];
  /** Why it may not come to what was asked for. */
  warnings?: readonly string[];
  payload: Payload;
  /** The signal that asks the payload to shut down; undefined: there is nothing to ask, it is killed. */
  killSignal?: number;
}

/** Whether all that its cgroups are for is to count what it uses, so that it could go without. */
export const isOnlyCounted = ({ limits, deviceProperties, payload, shareSystem }: Plan): boolean =>
  limits !== undefined && Object.keys(limits).length === 0 && !deviceProperties && !payload.boot && !shareSystem;

/** Whether an object is one of the container's own tree. */
export const isInRoot = (object: HostObject): boolean => object.kind === 'tree' && object.inRoot;

/** Keys of host objects that have a name of their own. */
export const ROOT = 'root';
export const VOLATILE_LOWER = 'volatile lower';
export const CONSOLE = 'console';
export const NETWORK = 'network';
export const NOTIFY = 'notify';

type Describe<A> = (action: A, object: (key: string) => string) => string;

/** What each step is, as a person would say what is being done. */
const DESCRIPTIONS: { [K in StepAction['do']]: Describe<Extract<StepAction, { do: K }>> } = {
  'separate mounts': () => "separating the mounts from the host's",
  'reset loginuid': () => 'resetting the audit login uid',
  'make overlay': ({ overlay, lower, upper }, object) =>
    `making an overlay (${overlay}) of ${lower.map(object).join(', ')}${upper ? `, writing to ${upper.directory} in ${object(upper.object)}` : ''}`,
  'enter root': () => 'changing into the root directory',
  'hand over': () => 'going on in the user namespace',
  'enter user namespace': ({ mounts }) =>
    `entering the user namespace, with ${mounts.map(({ type, path }) => `${type} on ${path}`).join(', ')}`,
  unmount: ({ path }) => `taking away the mount ${path}, which the tree brought along`,
  'make directories': ({ directories }) => `making ${directories.map(({ path }) => path).join(', ')} where missing`,
  'make symlink': ({ path, target }) => `making the symlink ${path} to ${target}`,
  'fill /dev': ({ nodes, bound = [], links }) =>
    `filling /dev with ${[...nodes, ...bound, ...links].map(({ name }) => name).join(', ')}`,
  'make read-only': ({ path, recursive }) => `making ${path} read-only${recursive ? ' with all below it' : ''}`,
  'separate cgroups': () => "separating the cgroups from the host's",
  mount: ({ type, path, options }) => `mounting ${type} on ${path}${describeOptions(options)}`,
  bind: ({ object: key, path, idmap }, object) => `binding ${object(key)} to ${path}${idmap ? ` (${idmap})` : ''}`,
  attach: ({ object: key, path }, object) => `binding ${object(key)} to ${path}`,
  'mount partition': ({ object: key, path, fallback }, object) =>
    `mounting ${object(key)} on ${path}${fallback ? `, or on ${fallback} if only that is there` : ''}`,
  take: ({ object: key, from }, object) => `opening ${object(key)}${from ? ` in ${object(from)}` : ''}`,
  'forbid devices': ({ path }) => `making device nodes on ${path} useless`,
  'check tree': () => 'looking for what is to be run',
  'make links': ({ links }) =>
    `making ${links.map(({ path, target }) => `${path} a symlink to ${target}`).join(', ')} where that is there`,
  'bind read-only': ({ path }) => `binding ${path} to itself read-only`,
  hide: ({ paths }) => `making ${paths.join(', ')} inaccessible`,
  'take console': () => 'taking the terminal out of the file system that it is in',
  'set up console': () => 'setting up /dev/console',
  'forbid user namespaces': () => 'forbidding user namespaces in the container',
  'set up kernel log': () => 'setting up /proc/kmsg',
  'set boot id': () => 'setting a boot id of its own',
  'write user records': ({ users }) => `telling the container of ${users.join(', ')}`,
  'write file': ({ path }) => `writing ${path}`,
  'copy file': ({ from, path }) => `copying the host's ${from} to ${path}`,
  remove: ({ path }) => `removing ${path}`,
  'link time zone': ({ zone }) => `setting the time zone to ${zone ?? "the host's"}`,
  'share mounts': () => 'sharing the mounts with mount namespaces made in the container',
  'set host name': ({ name }) => `setting the host name to ${name}`,
  'join network namespace': ({ object: key }, object) => `joining ${object(key)}`,
  'bring loopback up': () => 'bringing the loopback interface up',
  'connect network': () => 'connecting the network (--network=user)',
  'link journal': ({ mode }) => `linking the journal (${mode})`,
  'bind notify socket': ({ path }) => `making the socket ${path}`,
  'move interface': ({ host, name }) =>
    `moving the network interface ${host} into the container${name === host ? '' : ` as ${name}`}`,
  'make veth link': ({ name, address, peer, bridge }) =>
    `making a veth link from ${name} (${address})${describeBridge(bridge)} to ${peer.name} (${peer.address}) in the container`,
  'make macvlan': ({ parent, name, address }) => `making a macvlan ${name} (${address}) on ${parent} for the container`,
  'make ipvlan': ({ parent, name }) => `making an ipvlan ${name} on ${parent} for the container`,
  register: ({ as, properties }) => {
    const slice = properties.find(({ name }) => name === 'Slice')?.value;
    return `${REGISTERING[as]}${slice === undefined ? '' : ` in ${slice}`}`;
  },
};

const REGISTERING: Readonly<Record<Registration['as'], string>> = {
  machine: 'registering the container with systemd-machined',
  unit: 'registering the container, as what the unit runs that nspawn is in, with systemd-machined',
  scope: "making a scope unit of the host's systemd for the container",
};

const describeBridge = (bridge: { name: string; isZone: boolean } | undefined) =>
  bridge ? ` on the ${bridge.isZone ? "zone's " : ''}bridge ${bridge.name}` : '';

const describeOptions = (options: readonly MountOption[]) =>
  options.length
    ? ` (${options.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`)).join(',')})`
    : '';

/** A step in words: 'mounting proc on /proc'. */
export function describeStep({ action }: Step, hostObjects: Record<string, HostObject>): string {
  const describe = DESCRIPTIONS[action.do] as Describe<StepAction>;
  return describe(action, key => describeObject(hostObjects[key], key));
}

/** A host object in words; its key where there is none. */
export function describeObject(object: HostObject | undefined, key: string): string {
  switch (object?.kind) {
    case 'tree':
      return `${object.path}${object.inRoot ? ' of the tree' : ''}${object.readOnly ? ', read-only' : ''}`;
    case 'file system':
      return `${object.name}${object.readOnly ? ', read-only' : ''}${object.through ? `, by ${object.through.name}` : ''}`;
    case 'scratch':
      return 'an empty file system in memory';
    case 'ephemeral':
      return `an ephemeral root of ${object.path}`;
    case 'layer':
      return `an ephemeral layer for ${object.path}`;
    case 'console':
      return 'the pseudo terminal';
    case 'notify socket':
      return 'a socket for the payload';
    case 'network namespace':
      return `the network namespace ${object.path}`;
    case undefined:
      return key;
  }
}
