import { allowing, call } from '../syscalls/call.ts';
import { AT } from '../syscalls/constants.ts';
import { perform } from '../syscalls/syscall.ts';

/** Where containers are written down, and locks are, until the machine is started again. */
export const RUNTIME_DIRECTORY = '/run/nspawn';

/** Makes it and, if they are named, directories in it; what is there stays. Throws SyscallError. */
export function makeRuntimeDirectory(...names: string[]): void {
  for (const path of [RUNTIME_DIRECTORY, ...names.map(name => `${RUNTIME_DIRECTORY}/${name}`)]) {
    perform(allowing(call('mkdirat', AT.FDCWD, path, 0o755), 'EEXIST'));
  }
}
