/** The file systems, directories and device nodes that every container has. All tables. */
import { MOUNT_ATTR, S } from '../../syscalls/constants.ts';
import { fileType } from '../../syscalls/file.ts';
import type { MountOption } from '../../syscalls/mount.ts';
import { hostHas, hostStatus } from '../host.ts';
import type { Step } from './steps.ts';

/** Group of terminals, the same in all distributions: TTY_GID in systemd. */
const TTY_GID = '5';
const { NOSUID, NOEXEC, NODEV, RDONLY, STRICTATIME } = MOUNT_ATTR;

const mount = (type: string, path: string, attributes: number, options: MountOption[] = []): Step => ({
  action: { do: 'mount', type, path, options, attributes },
  onFailure: 'fail',
});

/** The API file systems, in the order in which they are mounted. */
export const API_FILE_SYSTEMS: readonly Step[] = [
  mount('proc', '/proc', NOSUID | NOEXEC | NODEV),
  { action: { do: 'bind read-only', path: '/proc/sys' }, onFailure: 'fail' },
  mount('sysfs', '/sys', RDONLY | NOSUID | NOEXEC | NODEV),
  mount('tmpfs', '/dev', NOSUID | STRICTATIME, [{ key: 'mode', value: '755' }]),
  mount('devpts', '/dev/pts', NOSUID | NOEXEC, [
    { key: 'ptmxmode', value: '0666' },
    { key: 'mode', value: '620' },
    { key: 'gid', value: TTY_GID },
  ]),
  mount('tmpfs', '/dev/shm', NOSUID | NODEV | STRICTATIME, [{ key: 'mode', value: '1777' }]),
  mount('tmpfs', '/run', NOSUID | NODEV | STRICTATIME, [{ key: 'mode', value: '755' }]),
];

/** SELinux's file system, which a kernel without SELinux does not have. */
export const SELINUX_FILE_SYSTEM: Step = {
  action: { do: 'bind read-only', path: '/sys/fs/selinux' },
  onFailure: 'debug',
};

/** Where a tree may have mounts of its host's that the container must not see. */
export const API_PATHS = ['/dev', '/proc', '/run', '/sys'] as const;

/** Directories that a tree needs; those that exist stay as they are. */
const BASE_DIRECTORIES: readonly (readonly [path: string, mode: number])[] = [
  ['/usr', 0o755],
  ['/etc', 0o755],
  ['/var', 0o755],
  ['/home', 0o755],
  ['/root', 0o750],
  ['/tmp', 0o1777],
  ['/run', 0o755],
  ['/dev', 0o555],
  ['/proc', 0o555],
  ['/sys', 0o555],
];

/** Compatibility links into a merged /usr, made where what they need is there; the first of a name wins. */
const BASE_LINKS: readonly (readonly [path: string, target: string, needs: string])[] = [
  ['/bin', 'usr/bin', '/usr/bin'],
  ['/sbin', 'usr/sbin', '/usr/sbin'],
  ['/lib', 'usr/lib', '/usr/lib'],
  ...(process.arch === 'x64'
    ? ([
        ['/lib64', 'usr/lib/x86_64-linux-gnu', '/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'],
        ['/lib64', 'usr/lib64', '/usr/lib64/ld-linux-x86-64.so.2'],
      ] as const)
    : []),
];

/** What a tree needs to be a root file system, made before it turns read-only. */
export const BASE_FILE_SYSTEM: readonly Step[] = [
  ...BASE_DIRECTORIES.map(
    ([path, mode]): Step => ({ action: { do: 'make directory', path, mode }, onFailure: 'debug' }),
  ),
  ...BASE_LINKS.map(
    ([path, target, needs]): Step => ({ action: { do: 'make symlink', path, target, needs }, onFailure: 'debug' }),
  ),
];

/** Device nodes that a container gets from its host. */
export const DEVICE_NODES = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'net/tun'] as const;

/** Symlinks in /dev; the last one only where the host has what it points to. */
const DEVICE_LINKS: readonly (readonly [path: string, target: string])[] = [
  ['/dev/ptmx', 'pts/ptmx'],
  ['/dev/fd', '/proc/self/fd'],
  ['/dev/stdin', '/proc/self/fd/0'],
  ['/dev/stdout', '/proc/self/fd/1'],
  ['/dev/stderr', '/proc/self/fd/2'],
];
const CORE_LINK = ['/dev/core', '/proc/kcore'] as const;

/** The steps that fill /dev, after this host's. Throws when something of the host's that should be a device is none. */
export function devices(): Step[] {
  const links = hostHas(CORE_LINK[1]) ? [...DEVICE_LINKS, CORE_LINK] : DEVICE_LINKS;
  return [
    ...DEVICE_NODES.flatMap(deviceNode),
    ...links.map(([path, target]): Step => ({ action: { do: 'make symlink', path, target }, onFailure: 'fail' })),
  ];
}

function deviceNode(name: string): Step[] {
  const path = `/dev/${name}`;
  const status = hostStatus(path);
  if (!status) return [];
  const type = fileType(status.mode);
  if (type !== S.IFCHR && type !== S.IFBLK) throw new Error(`copying the device node ${path}: it is no device`);
  const { mode, rdevMajor: major, rdevMinor: minor } = status;
  return [{ action: { do: 'make device', path, mode, major, minor }, onFailure: 'fail' }];
}
