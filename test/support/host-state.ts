/**
 * What a container could leave behind on the host, or take away from it. Tests that compare it run alone
 * (test/alone/), for it is the whole machine's.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

/** One line for each thing, by kind: `mounts`, `processes`, … */
export type HostState = Record<string, Set<string>>;

/** What must not vanish either. Processes and temporary files of others come and go. */
const LASTING = ['mounts', 'descriptors', 'links', 'loop devices'];

/** Directories where things are left behind; those that don't exist count as empty. */
const DIRECTORIES = [
  '/tmp',
  '/var/tmp',
  '/dev/shm',
  '/dev/mqueue',
  '/run/nspawn',
  '/run/nspawn/containers',
  '/run/netns',
  '/run/systemd/nspawn',
  '/var/lib/machines',
];

/** What is made in them once, and stays until the machine is started again. */
const STANDING = ['/run/nspawn/containers', '/run/nspawn/zones.lock'];

/** The host as this process sees it. */
export function hostState(): HostState {
  const state: HostState = {
    mounts: new Set(mounts()),
    processes: new Set(processes()),
    descriptors: new Set(descriptors()),
    links: new Set(entries('/sys/class/net')),
    'loop devices': new Set(loopDevices()),
    cgroups: new Set(subdirectories('/sys/fs/cgroup')),
  };
  for (const directory of DIRECTORIES) {
    const passing = entries(directory).filter(name => !STANDING.includes(`${directory}/${name}`));
    state[directory] = new Set(passing);
  }
  return state;
}

/** What came and, of what is meant to last, what went: a line each, none when all is as before. */
export function difference(before: HostState, after: HostState): string[] {
  return Object.keys(before).flatMap(kind => {
    const was = before[kind] ?? new Set();
    const is = after[kind] ?? new Set();
    const came = [...is.difference(was)].map(line => `${kind}: came: ${line}`);
    const went = LASTING.includes(kind) ? [...was.difference(is)].map(line => `${kind}: went: ${line}`) : [];
    return [...came, ...went];
  });
}

/**
 * The difference, once there is none or `seconds` have passed: the kernel takes some things away only a moment after
 * the last process is reaped, such as a veth pair.
 */
export async function lastingDifference(before: HostState, seconds = 5): Promise<string[]> {
  for (let tries = seconds * 20; ; tries--) {
    const left = difference(before, hostState());
    if (left.length === 0 || tries <= 0) return left;
    await setTimeout(50);
  }
}

const entries = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);

/** Lines of mountinfo without the ids in front, which are given again and again: proc_pid_mountinfo(5). */
const mounts = (): string[] => lines('/proc/self/mountinfo').map(line => line.split(' ').slice(2).join(' '));

const lines = (path: string): string[] => readFileSync(path, 'utf8').split('\n').filter(Boolean);

/** Flag of a kernel thread in proc_pid_stat(5): PF_KTHREAD, include/linux/sched.h. */
const KERNEL_THREAD = 0x200000;

/** `pid name (start time)` of all processes but kernel threads. */
function processes(): string[] {
  return entries('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      const stat = unlessGone(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
      // The name is in brackets and may have any character in it; the field after it is the third.
      const [, name, rest] = /^\d+ \((.*)\) (.*)/s.exec(stat ?? '') ?? [];
      const fields = rest?.split(' ') ?? [];
      const isKernelThread = (Number(fields[9 - 3]) & KERNEL_THREAD) !== 0;
      return rest && !isKernelThread ? [`${pid} ${name} (${fields[22 - 3]})`] : [];
    });
}

/**
 * `number -> target` of this process's open files, but for the one that lists them. The JavaScript runtime opens some
 * of its own when first needed (epoll, eventfd): do once what is tested before the first snapshot.
 */
const descriptors = (): string[] =>
  entries('/proc/self/fd').flatMap(number => {
    const target = unlessGone(() => readlinkSync(`/proc/self/fd/${number}`));
    return target === undefined || target.endsWith('/fd') ? [] : [`${number} -> ${target}`];
  });

/** `device file` of all loop devices in use. */
const loopDevices = (): string[] =>
  entries('/sys/block').flatMap(device => {
    const file = unlessGone(() => readFileSync(`/sys/block/${device}/loop/backing_file`, 'utf8'));
    return file === undefined ? [] : [`${device} ${file.trim()}`];
  });

/** Directories at any depth. */
function subdirectories(directory: string): string[] {
  const children = unlessGone(() => readdirSync(directory, { withFileTypes: true })) ?? [];
  return children
    .filter(child => child.isDirectory())
    .map(child => join(directory, child.name))
    .flatMap(path => [path, ...subdirectories(path)]);
}

/** The answer, or undefined when what was listed a moment ago is gone (a device: ENODEV), or never was. */
function unlessGone<Answer>(ask: () => Answer): Answer | undefined {
  try {
    return ask();
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'ENOTDIR', 'EINVAL', 'ENODEV'].includes((error as { code?: string }).code ?? ''))
      return undefined;
    throw error;
  }
}
