/** User namespaces that only stand for a map of ids, and mounts that have such a map: mount_setattr(2). */
import { startAgent } from './agent/agent.ts';
import type { Call } from './call.ts';
import { AT, CLONE, MOUNT_ATTR, O } from './constants.ts';
import { type OwnedFd, owned, passableFd } from './fd.ts';
import { type Fd, setMountAttributes } from './mount.ts';
import { syscall } from './syscall.ts';

/**
 * So many ids from `inside` on are those from `outside` on. Of a process: in its user namespace, and in the parent's. Of
 * a mount: in the file system, and as they look.
 */
export interface IdRange {
  inside: number;
  outside: number;
  count: number;
}

/**
 * A descriptor of a new user namespace in which no process is, with these maps; the same ids for groups if not given.
 * The kernel keeps the namespace as long as the descriptor, or a mount that has its map. Throws SyscallError; EPERM for
 * ids that the caller may not map.
 */
export function makeUserNamespace(uids: readonly IdRange[], gids: readonly IdRange[] = uids): OwnedFd {
  using holder = startAgent({ namespaces: CLONE.NEWUSER, fds: [], dieWithParent: true });
  writeMaps(holder.pid, uids, gids);
  return openUserNamespace(holder.pid);
}

/** A descriptor for a process's user namespace. Throws SyscallError. */
export const openUserNamespace = (pid: number): OwnedFd =>
  owned(passableFd(syscall('openat', AT.FDCWD, `/proc/${pid}/ns/user`, O.RDONLY | O.CLOEXEC, 0)));

/** Writes the maps of a process's new user namespace; the same ids for groups if not given. Throws SyscallError. */
export function writeMaps(pid: number, uids: readonly IdRange[], gids: readonly IdRange[] = uids): void {
  writeMap(`/proc/${pid}/uid_map`, uids);
  writeMap(`/proc/${pid}/gid_map`, gids);
}

/** A map can be written once, and in one call: user_namespaces(7). */
function writeMap(path: string, ranges: readonly IdRange[]): void {
  using file = owned(syscall('openat', AT.FDCWD, path, O.WRONLY | O.CLOEXEC, 0));
  const text = Buffer.from(formatMap(ranges));
  syscall('write', file.fd, text, text.length);
}

/** As uid_map and gid_map in /proc take it. */
export const formatMap = (ranges: readonly IdRange[]): string =>
  ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join('');

/**
 * Shows the files of a mount with other owners, by the map of a user namespace; with `recursive` those of the mounts
 * below it as well, or of none. A mount can be given a map as long as it is detached, and only together with what it is
 * mounted on, or alone. EINVAL means that a file system can't have one.
 */
export const idmapMount = (mount: Fd, userNamespace: number, options: { recursive: boolean }): Call =>
  setMountAttributes(mount, { set: MOUNT_ATTR.IDMAP, userNamespace, ...options });
