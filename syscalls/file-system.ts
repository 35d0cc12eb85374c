/** Mounts file systems in this process, detached: nobody sees them until they are attached somewhere. See fsopen(2). */
import { allowing, type Call, call } from './call.ts';
import { FSCONFIG, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC } from './constants.ts';
import { type OwnedFd, owned, passableFd } from './fd.ts';
import type { MountOption } from './mount.ts';
import { perform, SyscallError, syscall } from './syscall.ts';

/** An error of a file system, with what the kernel has to say of it. */
export class FileSystemError extends Error {}

/**
 * Makes a file system known to the kernel and returns a detached mount of it, under a number that an
 * agent can have. `options` are fsconfig strings (a value)
 * or flags (no value), `source` among them; `attributes` are MOUNT_ATTR bits of the mount. Throws FileSystemError.
 */
export function mountFileSystem(type: string, options: readonly MountOption[], attributes: number): OwnedFd {
  using context = openFileSystem(type);
  const set = ({ key, value }: MountOption): Call =>
    value === undefined
      ? call('fsconfig', context.fd, FSCONFIG.SET_FLAG, key, null, 0)
      : call('fsconfig', context.fd, FSCONFIG.SET_STRING, key, value, 0);
  try {
    for (const option of options) perform(set(option));
    perform(call('fsconfig', context.fd, FSCONFIG.CMD_CREATE, null, null, 0));
    return owned(passableFd(syscall('fsmount', context.fd, FSMOUNT_CLOEXEC, attributes)));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const words = kernelWords(context.fd);
    const why = words.length > 0 ? words.join('; ') : "the kernel's log (dmesg) may tell why";
    throw new FileSystemError(`${error.message}: ${why}`, { cause: error });
  }
}

function openFileSystem(type: string): OwnedFd {
  try {
    return owned(syscall('fsopen', type, FSOPEN_CLOEXEC));
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'ENODEV') throw error;
    throw new FileSystemError(`this kernel does not know the file system ${type}`, { cause: error });
  }
}

/** Longest message of the kernel's. */
const LONGEST_MESSAGE = 1024;

/** The errors that the kernel has written down for a context, each with "e " in front: fs/fsopen.c fscontext_read(). */
function kernelWords(context: number): string[] {
  const words: string[] = [];
  for (;;) {
    const message = new Uint8Array(LONGEST_MESSAGE);
    const length = perform(allowing(call('read', context, { out: message }, message.length)));
    if (length <= 0) return words;
    const text = Buffer.from(message.buffer, 0, length).toString().trim();
    if (text.startsWith('e ')) words.push(text.slice(2));
  }
}
