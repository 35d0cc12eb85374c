/**
 * The right to a range of user ids, for as long as a container uses it: a lock on a file named by the first id. It is
 * systemd-nspawn's own, so that each of the two programs sees what the other has: make_lock_file() in systemd.
 */
import process from 'node:process';
import { allowing, type Call, call } from '../../syscalls/call.ts';
import { AT, F, F_WRLCK, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { fileStatus } from '../../syscalls/file.ts';
import { perform } from '../../syscalls/syscall.ts';

const SYSTEMD = '/run/systemd';
const DIRECTORY = `${SYSTEMD}/nspawn-uid`;

/**
 * Disposing of it lets the range go. Who shall have it for longer than this process lives needs both the descriptor, as
 * long as the ids are in use, and the call after that. A file that nobody was told of in time goes with the next lease.
 */
export interface Lease extends Disposable {
  /** The first of the ids. */
  base: number;
  /** Of the open file that has the lock. */
  fd: number;
  /** What removes the file. */
  remove: Call;
}

/** Takes the lease of a range; undefined if somebody has it. Throws SyscallError where /run can't be written to. */
export function takeLease(base: number): Lease | undefined {
  const path = pathOf(base);
  for (const directory of [SYSTEMD, DIRECTORY]) {
    perform(allowing(call('mkdirat', AT.FDCWD, directory, 0o755), 'EEXIST'));
  }
  removeAbandoned();
  const file = lock(path);
  if (!file) return undefined;
  // Only who has the lock may remove the file.
  const remove = allowing(call('unlinkat', AT.FDCWD, path, 0), 'ENOENT');
  return {
    base,
    fd: file.fd,
    remove,
    [Symbol.dispose]() {
      perform(remove);
      file[Symbol.dispose]();
    },
  };
}

const pathOf = (base: number | string) => `${DIRECTORY}/${base}`;

/** Removes what was left by who was killed before it could entrust it to anybody. Throws SyscallError. */
function removeAbandoned(): void {
  const { readdirSync } = process.getBuiltinModule('node:fs');
  for (const path of readdirSync(DIRECTORY).map(pathOf)) {
    // Only who has the lock may remove the file.
    using file = lock(path, 0);
    if (file) perform(allowing(call('unlinkat', AT.FDCWD, path, 0), 'ENOENT'));
  }
}

/** The file, locked and in its place; undefined if somebody else has it, or without O.CREAT if there is none. */
function lock(path: string, create: number = O.CREAT): OwnedFd | undefined {
  const flags = O.RDWR | create | O.NOFOLLOW | O.NOCTTY | O.CLOEXEC;
  for (;;) {
    using undo = new DisposableStack();
    const fd = perform({ ...call('openat', AT.FDCWD, path, flags, 0o600), allow: create ? undefined : ['ENOENT'] });
    if (fd < 0) return undefined;
    const file = undo.use(owned(fd));
    // One of fcntl(2)'s locks that belong to the open file: flock(2) has others, which these don't see.
    if (perform(allowing(call('fcntl', file.fd, F.OFD_SETLK, wholeFile()), 'EAGAIN', 'EACCES')) < 0) return undefined;
    // Who had it before may have removed it since it was opened.
    if (fileStatus(file.fd).links === 0) continue;
    undo.move();
    return file;
  }
}

/** struct flock, asm-generic/fcntl.h: type, whence, and as words start, length (0 is all) and process. */
function wholeFile(): Uint8Array {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setInt16(0, F_WRLCK, true);
  return bytes;
}
