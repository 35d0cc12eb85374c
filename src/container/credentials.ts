/** Credentials: read on the host before anything is made, handed over once the payload's user is known. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { call, resultOf } from '../../syscalls/call.ts';
import { AT, MOUNT_ATTR, O } from '../../syscalls/constants.ts';
import { makeDirectories, openInRoot } from '../../syscalls/file.ts';
import { attachMount, newMount, setMountAttributes } from '../../syscalls/mount.ts';
import type { User } from '../execute/user.ts';
import type { Credential } from '../options.ts';
import { CREDENTIALS_DIRECTORY } from '../plan/steps.ts';
import { writeAll } from './files.ts';

/** A credential that was read. */
type Loaded = Extract<Credential, { value: unknown }>;

/** They stay in memory that isn't swapped out. systemd-nspawn's limit is the same. */
const LARGEST_CREDENTIAL = 64 << 20;

/**
 * Reads credentials. A path may be that of a file, of a fifo, or of a stream socket, which is read up to its end. Rejects
 * with an Error.
 */
export async function readCredentials(credentials: readonly Credential[]): Promise<Loaded[]> {
  const read = async (credential: Credential): Promise<Loaded> => {
    if ('value' in credential) return credential;
    const { id, path } = credential;
    try {
      return { id, value: await contentOf(path) };
    } catch (error) {
      throw new Error(`reading the credential ${id} from ${path}: ${(error as Error).message}`, { cause: error });
    }
  };
  return await Promise.all(credentials.map(read));
}

async function contentOf(path: string): Promise<Uint8Array> {
  const { createReadStream, statSync } = process.getBuiltinModule('node:fs');
  const stream = statSync(path).isSocket()
    ? process.getBuiltinModule('node:net').createConnection({ path })
    : createReadStream(path);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    // Leaving the loop destroys the stream.
    if (size > LARGEST_CREDENTIAL) throw new Error(`it has more than ${LARGEST_CREDENTIAL >> 20} MiB`);
  }
  return Buffer.concat(chunks);
}

/**
 * Shows credentials to a user of the container, and to nobody else, in a file system of their own: a ramfs, as memory of
 * a tmpfs can be swapped out. Throws SyscallError.
 */
export function passCredentials(agent: Agent, credentials: readonly Loaded[], { uid, gid }: User): void {
  const attributes = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;
  const mounting = newMount('ramfs', [{ key: 'mode', value: '0700' }], attributes);
  const mount = agent.run(mounting).at(-1)!;
  for (const { id, value } of credentials) {
    const open = call('openat', mount, id, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC, 0o400);
    const [file] = agent.run([open, call('fchownat', resultOf(open), '', uid, gid, AT.EMPTY_PATH)]);
    // Written from here: a secret in memory that is shared with agents would be there for the next one, too.
    using copy = agent.takeFd(file!);
    writeAll(copy.fd, Buffer.from(value));
    agent.run([call('close', file!)]);
  }
  const target = openInRoot(AT.FDCWD, CREDENTIALS_DIRECTORY, O.PATH | O.DIRECTORY);
  agent.run([
    call('fchownat', mount, '', uid, gid, AT.EMPTY_PATH),
    call('fchmodat', mount, '.', 0o500),
    setMountAttributes(mount, { set: MOUNT_ATTR.RDONLY }),
    ...makeDirectories(AT.FDCWD, CREDENTIALS_DIRECTORY, 0o755),
    target,
    attachMount(mount, target),
  ]);
}
