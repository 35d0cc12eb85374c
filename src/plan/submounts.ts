/** Mounts that a root directory brings along on paths where the container has its own. */
import type { RootView } from '../root-view.ts';
import { API_PATHS } from './file-systems.ts';

/** proc_pid_mountinfo(5) writes space, tab, newline and backslash as octal numbers. */
export const unescapePath = (path: string) =>
  path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/** Mount points below `directory`, outermost and earliest first. */
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
 * are stacked on it. `mountinfo` is the host's.
 */
export function mountsToHide(directory: string, tree: RootView, mountinfo: string): string[] {
  const points = mountPointsBelow(directory, mountinfo);
  if (points.length === 0) return [];
  const root = directory === '/' ? '' : directory;
  // In the tree, these may be symlinks.
  const hidden = API_PATHS.map(path => tree.canonicalPath(path) ?? `${root}${path}`);
  return points
    .filter(point => hidden.some(path => point === path || point.startsWith(`${path}/`)))
    .map(point => point.slice(root.length))
    .reverse();
}
