/**
 * The container's /sys/fs/cgroup, as systemd-nspawn 252 has it: the host's hierarchies, seen from a cgroup namespace.
 * See cgroup_namespaces(7). What a systemd inside manages can be written to: cgroup v2, and the hierarchy of version 1
 * that is named systemd.
 */
import process from 'node:process';
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import type { MountOption } from '../../syscalls/mount.ts';
import { hostHas, readHostFile, readIfThere } from '../host.ts';
import { must, type Step } from './steps.ts';
import { unescapePath } from './submounts.ts';

const { NOSUID, NOEXEC, NODEV, RDONLY, STRICTATIME } = MOUNT_ATTR;
const HARDENED = NOSUID | NOEXEC | NODEV;
const PATH = '/sys/fs/cgroup';

/** A hierarchy of cgroups, and where in it a process is: a line of proc_pid_cgroup(5). */
export interface Hierarchy {
  /** Such as `cpu,cpuacct` or `name=systemd`; empty for cgroup v2. */
  controllers: string;
  /** The process's cgroup, from the hierarchy's root. */
  path: string;
}

/** Whether systemd is the host's init, and so looks after its cgroups: sd_booted(3). */
export const hasHostSystemd = (): boolean => hostHas('/run/systemd/system');
/** How to run nspawn in a cgroup that systemd leaves to it. */
export const tryDelegation = (): string =>
  `try systemd-run ${process.geteuid!() === 0 ? '' : '--user '}--scope --property=Delegate=yes nspawn …`;

const UNIFIED = '';
const SYSTEMD = 'name=systemd';

export const isUnified = ({ controllers }: Hierarchy): boolean => controllers === UNIFIED;
/** Whether it is a hierarchy that a systemd keeps its units in. */
export const isManaged = (each: Hierarchy): boolean => isUnified(each) || each.controllers === SYSTEMD;

/**
 * Which of them can hold a container to its devices: version 2, where that is a program, else the controller of version
 * 1.
 */
export const devicesHierarchy = (hierarchies: readonly Hierarchy[]): Hierarchy | undefined =>
  hierarchies.find(isUnified) ?? hierarchies.find(({ controllers }) => controllers.split(',').includes('devices'));

/** The hierarchies of the host that are mounted, with the cgroups of a process. */
export function hierarchiesOf(pid: number | 'self'): Hierarchy[] {
  const text = readIfThere(`/proc/${pid}/cgroup`)?.toString() ?? '';
  const hierarchies = [...text.matchAll(/^\d+:([^:]*):(.*)$/gm)].map(([, controllers = '', path = '/']) => ({
    controllers,
    path,
  }));
  const mountinfo = readHostFile('/proc/self/mountinfo').toString();
  return hierarchies.filter(each => hierarchyMount(each, mountinfo) !== undefined);
}

/**
 * Where below /sys/fs/cgroup a hierarchy is mounted, and which of its cgroups is there; undefined where it isn't. What is
 * mounted elsewhere is for somebody's own purposes: systemd-nspawn does so for a moment, with a hierarchy that nobody uses.
 */
export function hierarchyMount(
  { controllers }: Hierarchy,
  mountinfo: string,
): { point: string; root: string } | undefined {
  for (const line of mountinfo.split('\n')) {
    const [mount = '', superblock = ''] = line.split(' - ');
    const [type, , options = ''] = superblock.split(' ');
    const isIt =
      controllers === UNIFIED
        ? type === 'cgroup2'
        : type === 'cgroup' && controllers.split(',').every(each => options.split(',').includes(each));
    if (!isIt) continue;
    const [, , , root = '/', point = ''] = mount.split(' ').map(unescapePath);
    if (point === PATH || point.startsWith(`${PATH}/`)) return { point, root };
  }
  return undefined;
}

/** The host's path of a cgroup. */
export function cgroupDirectory(hierarchy: Hierarchy): string {
  const { point, root } = hierarchyMount(hierarchy, readHostFile('/proc/self/mountinfo').toString())!;
  return `${point}${root === '/' ? hierarchy.path : hierarchy.path.slice(root.length)}`.replace(/\/$/, '');
}

/** The steps that make the container's /sys/fs/cgroup. */
export function cgroupMounts(hierarchies: readonly Hierarchy[]): Step[] {
  const legacy = hierarchies.filter(each => !isUnified(each));
  const hasUnified = legacy.length < hierarchies.length;
  const unified = (path: string) => (hasUnified ? [mount('cgroup2', path, HARDENED)] : []);
  if (legacy.length === 0) return unified(PATH);
  return [
    mount('tmpfs', PATH, HARDENED | STRICTATIME, [
      { key: 'mode', value: '755' },
      { key: 'size', value: '4m' },
      { key: 'nr_inodes', value: '1k' },
    ]),
    ...legacy.flatMap(legacyMount),
    ...unified(`${PATH}/unified`),
    must({ do: 'make read-only', path: PATH, recursive: false }),
  ];
}

function legacyMount({ controllers }: Hierarchy): Step[] {
  if (controllers.startsWith('name=')) {
    const name = controllers.slice('name='.length);
    const access = controllers === SYSTEMD ? 0 : RDONLY;
    return [mount('cgroup', `${PATH}/${name}`, HARDENED | access, [{ key: 'none' }, { key: 'name', value: name }])];
  }
  const names = controllers.split(',');
  const options = names.map(key => ({ key }));
  // Each of several controllers of one hierarchy is also found by its own name.
  const links = names.length > 1 ? names : [];
  return [
    mount('cgroup', `${PATH}/${controllers}`, HARDENED | RDONLY, options),
    ...links.map(name => must({ do: 'make symlink', path: `${PATH}/${name}`, target: controllers })),
  ];
}

const mount = (type: string, path: string, attributes: number, options: MountOption[] = []): Step =>
  must({ do: 'mount', type, path, options, attributes });
