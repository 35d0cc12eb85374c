/** Idmapped mounts of trees, and which file system it is that can't have them. */
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { owned } from '../../syscalls/fd.ts';
import { idmapMount } from '../../syscalls/idmap.ts';
import { cloneTree } from '../../syscalls/mount.ts';
import { perform } from '../../syscalls/syscall.ts';
import { canonicalPath, readHostFile } from '../host.ts';
import { unescapePath } from '../plan/submounts.ts';

/** What is mounted where: a line of proc_pid_mountinfo(5). */
interface Mount {
  id: string;
  point: string;
  type: string;
}

/** What the detached mount is of, for messages: a path of the host's, or a file system that is mounted nowhere. */
export type IdmapSource = { path: string } | { type: string };

/** Errors by which the kernel says that it can't be. */
export const REFUSALS = ['EINVAL', 'EPERM', 'ENOTSUP'];

/**
 * Shows the files of a detached mount (`recursive`: and of all below it) by the map of a user namespace. Throws an Error
 * that names the file system which can't be shown so; nothing has been changed then.
 */
export function idmapTree(mount: number, userNamespace: number, source: IdmapSource, recursive: boolean): void {
  const change = idmapMount(mount, userNamespace, { recursive });
  if (perform(allowing(change, ...REFUSALS)) >= 0) return;
  throw new Error(`mapping user ids: ${describeRefusal(source, recursive, userNamespace)}`);
}

/** Whether the file system that an open directory is on can be shown with other owners. Needs to be root. */
export function canIdmap(directory: number, userNamespace: number): boolean {
  using mount = owned(perform(cloneTree(directory, '', { recursive: false })));
  return perform(allowing(idmapMount(mount.fd, userNamespace, { recursive: false }), ...REFUSALS)) >= 0;
}

function describeRefusal(source: IdmapSource, recursive: boolean, userNamespace: number): string {
  if ('type' in source)
    return `the file system ${source.type} can't have idmapped mounts on this kernel, or has them already`;
  const path = canonicalPath(source.path) ?? source.path;
  const mounts = mountsOfThisProcess();
  const top = mountOf(path, mounts);
  const inside = recursive ? mounts.filter(({ point }) => point.startsWith(path === '/' ? '/' : `${path}/`)) : [];
  const refused = [...(top ? [{ ...top, point: path }] : []), ...inside].find(
    ({ point }) => !canIdmapPath(point, userNamespace),
  );
  if (!refused) return `what is mounted at ${path} can't have idmapped mounts, or is one already`;
  const hint = refused.point === path ? '' : '; the bind option norbind leaves it out';
  return `${refused.point} is on the file system ${refused.type}, which can't have idmapped mounts on this kernel, or it is one already${hint}`;
}

function canIdmapPath(path: string, userNamespace: number): boolean {
  using place = owned(perform(call('openat', AT.FDCWD, path, O.PATH | O.CLOEXEC, 0)));
  return canIdmap(place.fd, userNamespace);
}

/** The mount that a path is on. */
function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  using place = owned(perform(call('openat', AT.FDCWD, path, O.PATH | O.CLOEXEC, 0)));
  // proc_pid_fdinfo(5)
  const id = /^mnt_id:\s*(\d+)$/m.exec(readHostFile(`/proc/self/fdinfo/${place.fd}`).toString())?.[1];
  return mounts.find(mount => mount.id === id);
}

function mountsOfThisProcess(): Mount[] {
  const lines = readHostFile('/proc/self/mountinfo').toString().split('\n').filter(Boolean);
  return lines.map(line => {
    const [mount = '', fileSystem = ''] = line.split(' - ');
    const [id = '', , , , point = ''] = mount.split(' ');
    return { id, point: unescapePath(point), type: fileSystem.split(' ')[0]! };
  });
}
