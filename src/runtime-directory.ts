import process from 'node:process';
import { allowing, call } from '../syscalls/call.ts';
import { AT, S } from '../syscalls/constants.ts';
import { fileType } from '../syscalls/file.ts';
import { perform } from '../syscalls/syscall.ts';
import { hostHas, hostStatus, readLink } from './host.ts';

/**
 * Where containers are written down, and locks are, until the machine is started again. An ordinary user's are in the
 * user's own directory, see XDG_RUNTIME_DIR in pam_systemd(8); where there is none, in one of /tmp.
 */
export function runtimeDirectory(): string {
  const uid = process.geteuid!();
  if (uid === 0) return '/run/nspawn';
  const own = process.env['XDG_RUNTIME_DIR'] || `/run/user/${uid}`;
  return hostHas(own) ? `${own}/nspawn` : `/tmp/nspawn-${uid}`;
}

/** Makes it and, if they are named, directories in it; what is there stays. Throws an Error. */
export function makeRuntimeDirectory(...names: string[]): void {
  const directory = runtimeDirectory();
  make(directory);
  // Anyone may have made something of this name in /tmp.
  const { uid, mode } = hostStatus(directory)!;
  if (uid !== process.geteuid!() || fileType(mode) !== S.IFDIR || readLink(directory) !== undefined) {
    throw new Error(`making ${directory}: there is something of another user's`);
  }
  for (const name of names) make(`${directory}/${name}`);
}

const make = (path: string) => perform(allowing(call('mkdirat', AT.FDCWD, path, 0o755), 'EEXIST'));
