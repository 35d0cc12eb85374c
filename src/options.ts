/**
 * What a container is made from: plain data that mirrors the command line. Nothing here knows the terminal, the
 * command line's syntax or the kernel.
 */

/** Where a root file system is volatile: see --volatile= in systemd-nspawn(1). */
export type VolatileMode = 'no' | 'yes' | 'state' | 'overlay';

/** How the container's journal is linked to the host's: see --link-journal= in systemd-nspawn(1). */
export type LinkJournal = 'no' | 'auto' | 'guest' | 'host' | 'try-guest' | 'try-host';

/** How /etc/resolv.conf comes about: see --resolv-conf= in systemd-nspawn(1). */
export type ResolvConf =
  | 'auto'
  | 'off'
  | 'delete'
  | `${'copy' | 'replace' | 'bind'}-${'host' | 'static' | 'uplink' | 'stub'}`;

/** How /etc/localtime comes about: see --timezone= in systemd-nspawn(1). */
export type Timezone = 'auto' | 'off' | 'copy' | 'bind' | 'symlink' | 'delete';

/**
 * The container's own users: see --private-users= in systemd-nspawn(1). `base` is the first of the host's ids that they
 * have, and `count` how many; 'yes' takes the base from the owner of the root directory.
 */
export type PrivateUsers = 'no' | 'yes' | 'pick' | 'identity' | { base: number; count: number };

/** How the tree's files come to belong to these users: see --private-users-ownership= in systemd-nspawn(1). */
export type UsersOwnership = 'off' | 'chown' | 'map' | 'auto';

/**
 * Whose the files of a bind look like: see --bind= in systemd-nspawn(1). With 'idmap' user 5 of the host is the container's
 * user 5, with 'rootidmap' the source's owner is its root, and with 'owneridmap' the owner of what the mount covers.
 */
export type BindIdmap = 'idmap' | 'rootidmap' | 'owneridmap';

/** A file or directory of the host that shows up in the container. */
export interface Bind {
  /** Absolute path on the host; a leading `+` means inside the container's own tree; '' makes a temporary directory. */
  source: string;
  /** Absolute path in the container. */
  destination: string;
  readOnly: boolean;
  /** Also the mounts below the source (rbind, the default). */
  recursive: boolean;
  /** Default: files belong to those of the container's users who have the same ids on the host (noidmap). */
  idmap?: BindIdmap;
}

/** A tmpfs in the container. `options` is the mount option string, such as `mode=0755,size=10M`. */
export interface Tmpfs {
  path: string;
  options: string;
}

/**
 * An overlay in the container: `lower` from the lowest layer to the topmost; `upper` is absent when read-only. The layers
 * are written as a bind's source; only the topmost one can be '', a temporary directory.
 */
export interface Overlay {
  lower: string[];
  upper?: string;
  destination: string;
  readOnly: boolean;
}

/** Resource limit, by its name without RLIMIT_. Units are those of setrlimit(2); 'infinity' is no limit. */
export interface Rlimit {
  name: string;
  soft: bigint | 'infinity';
  hard: bigint | 'infinity';
}

/** System calls and groups of them, such as @clock, that are allowed or forbidden beyond the default. */
export interface SystemCallLists {
  allow?: string[];
  /** Wins over what is allowed. */
  deny?: string[];
}

/** A secret or other data for the payload, as a file of the name `id`: its value, or an absolute path on the host. */
export type Credential = { id: string; value: string | Uint8Array } | { id: string; path: string };

/** A user whom nobody in the container need know. */
export interface UserIds {
  uid: number;
  gid: number;
  /** What USER and LOGNAME say. Default: the uid. */
  name?: string;
  /** An absolute path in the container; made if it is missing. Default: `/`. */
  home?: string;
}

/**
 * A file that is made in the container before its payload runs, or without content a directory, which may be there
 * already. It belongs to the payload's user.
 */
export interface NewFile {
  /** Absolute path in the container. Directories above it that are missing are made, and belong to that user, too. */
  path: string;
  content?: string | Uint8Array;
  /** Permissions. Default: 0644, and 0755 of a directory. */
  mode?: number;
}

/** Rates of a block device: bytes and operations a second, read and written. What is absent has no limit. */
export interface IoMax {
  /** A device node, or a file or directory on the device. */
  path: string;
  rbps?: number;
  wbps?: number;
  riops?: number;
  wiops?: number;
}

/** 'user' is a private one from which the world is reached by the sockets of whoever starts the container. */
export type NetworkMode = 'host' | 'private' | 'user';

/** What runs on the container's standard streams and /dev/console. */
export type ConsoleMode = 'interactive' | 'read-only' | 'passive' | 'pipe';

/** Everything a container can be asked for. All of it is optional; what is absent has systemd-nspawn's default. */
export interface ContainerOptions {
  /** The program and its arguments; with `boot` the arguments of init; empty means a login shell. */
  command?: string[];
  /** Root directory of the container. */
  directory?: string;
  /** Directory to make the root directory from. */
  template?: string;
  /** Disk image to use as the root. */
  image?: string;
  /** Run from a snapshot of the root that goes at the end. */
  ephemeral?: boolean;
  readOnly?: boolean;
  volatile?: VolatileMode;
  /** Search for an init and run it. */
  boot?: boolean;
  /** Run the command as process 2 below a small init. */
  asPid2?: boolean;
  /** User name or uid, as known inside the container; or ids that it need not know. */
  user?: string | UserIds;
  /** Working directory inside the container, an absolute path. */
  chdir?: string;
  machine?: string;
  hostname?: string;
  /** Machine id as 32 hexadecimal digits. */
  uuid?: string;
  /** NAME=VALUE assignments, over all those that nspawn sets. */
  environment?: string[];
  credentials?: Credential[];
  files?: NewFile[];
  binds?: Bind[];
  tmpfs?: Tmpfs[];
  /**
   * The most that each file system in memory holds which the container gets beside `tmpfs`: /dev, /dev/shm, /run, and what
   * is written to a volatile root. Written as `memory`.
   */
  tmpfsSize?: number | string;
  overlays?: Overlay[];
  /** Paths that can't be looked into. */
  inaccessible?: string[];
  /** Capability names such as CAP_NET_ADMIN, or 'all'. */
  capabilities?: string[];
  dropCapabilities?: string[];
  /** Capability names that the payload's programs get, whoever its user is. */
  ambientCapabilities?: string[];
  noNewPrivileges?: boolean;
  /** If it is there, if only with empty lists, a list of allowed calls takes the place of a few forbidden ones. */
  systemCallFilter?: SystemCallLists;
  /** Sockets can only be of families that a network namespace confines: UNIX, IPv4, IPv6 and netlink. */
  confinedSockets?: boolean;
  /** What is to be written to disk right away is not. */
  suppressSync?: boolean;
  rlimits?: Rlimit[];
  /** -1000 to 1000, see proc_pid_oom_score_adj(5). */
  oomScoreAdjust?: number;
  /** CPU numbers. */
  cpuAffinity?: number[];
  /** Bytes, or text such as '64M' or, as a share of the machine's memory, '25%'. */
  memory?: number | string;
  /** Swap space beside `memory`, written as that; 0 is none. */
  memorySwap?: number | string;
  /** How many CPUs' time, such as 1.5. */
  cpus?: number;
  /** The share of the CPUs when others want them, too: 1 to 10000, where others have 100. 'idle': what others leave. */
  cpuWeight?: number | 'idle';
  /** Processes and threads; or text such as '10%' of how many the machine can have. */
  tasks?: number | string;
  /** The share of a disk when others want it, too: 1 to 10000, where others have 100. */
  ioWeight?: number;
  ioMax?: IoMax[];
  /** Milliseconds after which the container is asked to end, and some time later killed. */
  timeout?: number;
  /** Have what it has used told at its end; a container with limits tells it in any case. */
  stats?: boolean;
  /** Name as personality(2)'s architecture: 'x86' or 'x86-64', 'arm64', … */
  personality?: string;
  /** Signal number that asks the container's init to shut down. */
  killSignal?: number;
  resolvConf?: ResolvConf;
  timezone?: Timezone;
  privateUsers?: PrivateUsers;
  /** Nobody in the container can make user namespaces. Only with users of its own. */
  noUserNamespaces?: boolean;
  /** Names of users of the host who are users of the container, too, with their home directories. */
  bindUsers?: string[];
  /** Default: 'auto' with 'pick', else 'off'. */
  usersOwnership?: UsersOwnership;
  privateNetwork?: boolean;
  /** Default: 'private' with `privateNetwork`, else 'host'. */
  network?: NetworkMode;
  shareSystem?: boolean;
  /** The container is ready when its payload says so, by the socket that NOTIFY_SOCKET names: sd_notify(3). */
  notifyReady?: boolean;
  /** The payload gets such a socket. Implied by `notifyReady`. */
  notifySocket?: boolean;
  /** Interfaces of the host to be moved: `HOST` or `HOST:CONTAINER`, with the name that it gets in the container. */
  networkInterfaces?: string[];
  /** Interfaces of the host to make one on: `HOST`, or `HOST:CONTAINER` with the new one's name. */
  networkMacvlans?: string[];
  networkIpvlans?: string[];
  networkVeth?: boolean;
  /** Names of both ends of a veth link: `HOST:CONTAINER`, or `HOST` if they are the same. */
  networkVethExtra?: string[];
  /** A bridge of the host's for the veth link. */
  networkBridge?: string;
  /** Name of a bridge without vz-, made for as long as a container is on it. */
  networkZone?: string;
  /** File that stands for a network namespace, absolute. */
  networkNamespacePath?: string;
  /** Where the container's scope unit is, such as 'web.slice'. */
  slice?: string;
  /** NAME=VALUE properties of that unit, as `systemctl set-property` takes them. */
  properties?: string[];
  /** Whether systemd-machined lists it. By default if there is one; true insists. */
  register?: boolean;
  /** Stay in the unit that this process is in, rather than get a scope unit. */
  keepUnit?: boolean;
  linkJournal?: LinkJournal;
  selinuxContext?: string;
  selinuxApifsContext?: string;
}
