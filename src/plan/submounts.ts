/** Mounts that a root directory brings along on paths where the container has its own. */
import { canonicalPath, readHostFile } from '../host.ts';
import { API_PATHS } from './file-systems.ts';

/** proc_pid_mountinfo(5) writes space, tab, newline and backslash as octal numbers. */
const unescapePath = (path: string) =>
  path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** Mount points at or below `directory`, outermost and earliest first. */
export function mountPointsBelow(directory: string, mountinfo: string): string[] {
  const prefix = directory === '/' ? '/' : `${directory}/`;
  return mountinfo
    .split('\n')
    .filter(Boolean)
    .map(line => unescapePath(line.split(' ')[4]!))
    .filter(path => path.startsWith(prefix));
}

/**
 * Paths in the tree at `directory` to unmount, innermost and latest first: a chroot with the host's /dev, /proc,
 * /run or /sys bound into it must not hand these on, not even below the container's own. A name as often as mounts
 * are stacked on it.
 */
export function mountsToHide(directory: string): string[] {
  const points = mountPointsBelow(directory, readHostFile('/proc/self/mountinfo').toString());
  if (points.length === 0) return [];
  const root = directory === '/' ? '' : directory;
  const hidden = API_PATHS.map(path => resolveInTree(root, path));
  return points
    .filter(point => hidden.some(path => point === path || point.startsWith(`${path}/`)))
    .map(point => point.slice(root.length))
    .reverse();
}

/** Where /dev and its like are in a tree: behind a symlink, as long as that stays in the tree. */
function resolveInTree(root: string, path: string): string {
  const real = canonicalPath(`${root}${path}`);
  return real?.startsWith(`${root}/`) ? real : `${root}${path}`;
}
