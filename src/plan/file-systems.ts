/** The file systems, directories and device nodes that every container has. All tables. */
import { MOUNT_ATTR, S } from '../../syscalls/constants.ts';
import { fileType } from '../../syscalls/file.ts';
import type { MountOption } from '../../syscalls/mount.ts';
import { hostHas, hostStatus } from '../host.ts';
import type { RootView } from '../root-view.ts';
import { boundFromHost } from './host-configuration.ts';
import { type DeviceNode, NOTHING, type PlanPart, type Step } from './steps.ts';

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

/** SELinux's file system is the host's, read-only. A kernel without SELinux has none. */
export const selinuxFileSystem = (): PlanPart =>
  hostHas(SELINUX_PATH) ? boundFromHost(SELINUX_PATH, SELINUX_PATH) : NOTHING;
const SELINUX_PATH = '/sys/fs/selinux';

/** Where a tree may have mounts of its host's that the container must not see. */
export const API_PATHS = ['/dev', '/proc', '/run', '/sys'] as const;

/** Directories that a tree needs; those that exist stay as they are. */
const BASE_DIRECTORIES = [
  { path: '/usr', mode: 0o755 },
  { path: '/etc', mode: 0o755 },
  { path: '/var', mode: 0o755 },
  { path: '/home', mode: 0o755 },
  { path: '/root', mode: 0o750 },
  { path: '/tmp', mode: 0o1777 },
  { path: '/run', mode: 0o755 },
  { path: '/dev', mode: 0o555 },
  { path: '/proc', mode: 0o555 },
  { path: '/sys', mode: 0o555 },
];

/** Compatibility links into a merged /usr, made where what they need is there; the first of a name wins. */
const BASE_LINKS = [
  { path: '/bin', target: 'usr/bin', needs: '/usr/bin' },
  { path: '/sbin', target: 'usr/sbin', needs: '/usr/sbin' },
  { path: '/lib', target: 'usr/lib', needs: '/usr/lib' },
  ...(process.arch === 'x64'
    ? [
        { path: '/lib64', target: 'usr/lib64', needs: '/usr/lib64/ld-linux-x86-64.so.2' },
        {
          path: '/lib64',
          target: 'usr/lib/x86_64-linux-gnu',
          needs: '/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2',
        },
      ]
    : []),
];

/**
 * What a tree needs to be a root file system, made before it turns read-only. `isEmpty` says that of the tree only
 * /usr will be there. Without a tree to look at, what is missing shows when it is mounted.
 */
export function baseFileSystem(tree: RootView | undefined, isEmpty: boolean): Step[] {
  const directories: Step = { action: { do: 'make directories', directories: BASE_DIRECTORIES }, onFailure: 'debug' };
  if (!tree) return [directories, { action: { do: 'make links', links: BASE_LINKS }, onFailure: 'debug' }];
  const links = BASE_LINKS.filter(({ path, needs }) => (isEmpty || !tree.has(path)) && tree.has(needs));
  return [
    directories,
    ...links.map(({ path, target }): Step => ({ action: { do: 'make symlink', path, target }, onFailure: 'debug' })),
  ];
}

/** Device nodes that a container gets from its host. */
export const DEVICE_NODES = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'net/tun'] as const;

/** Symlinks in /dev; the last one only where the host has what it points to. */
const DEVICE_LINKS = [
  { name: 'ptmx', target: 'pts/ptmx' },
  { name: 'fd', target: '/proc/self/fd' },
  { name: 'stdin', target: '/proc/self/fd/0' },
  { name: 'stdout', target: '/proc/self/fd/1' },
  { name: 'stderr', target: '/proc/self/fd/2' },
];
const CORE_LINK = { name: 'core', target: '/proc/kcore' };

/** The step that fills /dev, after this host's. Throws when something of the host's that should be a device is none. */
export function devices(): Step {
  const nodes = DEVICE_NODES.flatMap(deviceNode);
  const directories = nodes.filter(({ name }) => name.includes('/')).map(({ name }) => name.split('/')[0]!);
  const links = hostHas(CORE_LINK.target) ? [...DEVICE_LINKS, CORE_LINK] : DEVICE_LINKS;
  return { action: { do: 'fill /dev', directories, nodes, links }, onFailure: 'fail' };
}

function deviceNode(name: string): DeviceNode[] {
  const path = `/dev/${name}`;
  const status = hostStatus(path);
  if (!status) return [];
  const type = fileType(status.mode);
  if (type !== S.IFCHR && type !== S.IFBLK) throw new Error(`copying the device node ${path}: it is no device`);
  const { mode, rdevMajor: major, rdevMinor: minor } = status;
  return [{ name, mode, major, minor }];
}
