/** The pseudo terminal of a container. */
import process from 'node:process';
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import type { OwnedFd } from '../../syscalls/fd.ts';
import { mountFileSystem } from '../../syscalls/file-system.ts';
import { openPty } from '../../syscalls/tty.ts';
import { attempt } from '../execute/attempt.ts';
import { hasSelinux } from '../plan/selinux.ts';

/** The slave of a container's pseudo terminal, and the mount of devpts that it is alone in, if any. */
export interface Terminal {
  console: OwnedFd;
  devpts?: OwnedFd | undefined;
}

export interface OwnPty extends Disposable {
  readonly master: OwnedFd;
  readonly terminal: Terminal;
}

/**
 * A pseudo terminal for a container's /dev/console. Who may mount in a container may also give other options to a file
 * system that has just one file there, and `umount -a -r`, by which a busybox init ends, makes it read-only: with all
 * of the host's pseudo terminals, were they in the same one. From an ordinary user's container the kernel takes no such
 * thing. `label` is for SELinux, as --selinux-apifs-context= has it. Throws an Error.
 */
export function openOwnPty(label: string | undefined): OwnPty {
  return attempt('making the pseudo terminal', () => {
    using opened = new DisposableStack();
    const devpts = process.geteuid!() === 0 ? opened.use(mountDevpts(label)) : undefined;
    const { master, slave } = openPty(devpts);
    opened.use(slave);
    opened.use(master);
    const all = opened.move();
    return { master, terminal: { console: slave, devpts }, [Symbol.dispose]: () => all.dispose() };
  });
}

function mountDevpts(label: string | undefined): OwnedFd {
  const context = label !== undefined && hasSelinux() ? [{ key: 'context', value: label }] : [];
  const options = [{ key: 'source', value: 'devpts' }, ...context];
  return mountFileSystem('devpts', options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC);
}
