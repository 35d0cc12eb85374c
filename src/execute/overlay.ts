/** Overlays of layers that are detached mounts. See Documentation/filesystems/overlayfs.rst. */
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, MOUNT_ATTR, O } from '../../syscalls/constants.ts';
import { attachMount, detachMount, type Fd, fdOf, type MountOption, newMount } from '../../syscalls/mount.ts';

export interface Layers {
  /** Descriptors of detached mounts, the lowest first. */
  lower: readonly number[];
  /** The writable layer and the kernel's working directory, by their names in a detached mount. */
  upper?: { fd: number; directory: string; work: string } | undefined;
  options?: readonly MountOption[] | undefined;
  /** The agent's /proc/self/fd, for one that can't reach it by its path. */
  ownFds?: Fd | undefined;
}

/**
 * The calls by which an agent makes an overlay, and among them the one whose result is its descriptor, a detached
 * mount. They close the layers'. The agent needs a mount namespace of its own.
 */
export function makeOverlay({ lower, upper, options = [], ownFds }: Layers): { calls: Call[]; made: Call } {
  // The same mount can hold several layers.
  const fds = [...new Set([...lower, ...(upper ? [upper.fd] : [])])];
  // Layers have to be attached somewhere in the caller's mount namespace until the overlay has copies of them. /proc
  // surely exists; it is still needed, and reached through the working directory.
  const proc = call('openat', AT.FDCWD, '/proc', O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  // Layers are named by descriptors: a path could have the characters that separate layers, and would be too long.
  const layers = [
    { key: 'lowerdir', value: lower.toReversed().join(':') },
    ...(upper
      ? [
          { key: 'upperdir', value: `${upper.fd}/${upper.directory}` },
          { key: 'workdir', value: `${upper.fd}/${upper.work}` },
        ]
      : []),
  ];
  const mount = newMount('overlay', [...layers, ...options], upper ? 0 : MOUNT_ATTR.RDONLY);
  const calls = [
    ownFds === undefined ? call('chdir', '/proc/self/fd') : call('fchdir', fdOf(ownFds)),
    proc,
    ...fds.map(fd => attachMount(fd, proc)),
    ...mount,
    ...fds.map(() => detachMount('/proc')),
    call('chdir', '/'),
    ...fds.map(fd => call('close', fd)),
    call('close', resultOf(proc)),
    call('close', resultOf(mount[0])),
  ];
  return { calls, made: mount.at(-1)! };
}
