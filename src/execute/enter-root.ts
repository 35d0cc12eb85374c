import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, MNT_DETACH, O } from '../../syscalls/constants.ts';
import { attachMount } from '../../syscalls/mount.ts';

/** The calls by which an agent makes a detached mount its root directory, and lets go of all other mounts. */
export function enterRoot(root: number): Call[] {
  const top = call('openat', AT.FDCWD, '/', O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  return [
    // On top of the old root: no mount point in the host's tree is needed, nor left.
    top,
    attachMount(root, top),
    call('fchdir', root),
    call('pivot_root', '.', '.'),
    // The old root now lies on top of the new one: pivot_root(2), "pivot_root(".", ".")".
    call('umount2', '.', MNT_DETACH),
    call('chdir', '/'),
    call('close', root),
    call('close', resultOf(top)),
  ];
}
