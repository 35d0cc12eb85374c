/**
 * Directories for what is made for a while, beside the trees that it is made of: a snapshot, an overlay's upper layer,
 * half a copy. Such a directory is its own record: whoever made it holds a lock on it, so one without a lock belongs
 * to a killed nspawn, and may be removed.
 */
import { entrust, entrustSuccessor } from '../../syscalls/agent/janitor.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { AT, LOCK, O } from '../../syscalls/constants.ts';
import { nameText, nextEntries } from '../../syscalls/directory.ts';
import { type OwnedFd, owned, passableFd } from '../../syscalls/fd.ts';
import { fileStatus, openBelow } from '../../syscalls/file.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';
import { randomDigits } from '../random-digits.ts';
import { ownCommand } from './own-command.ts';
import { type MakeOurs, removeTree } from './remove.ts';

export interface HiddenDirectory extends Disposable {
  /** Open for reading, and locked. */
  readonly fd: number;
  /** The directory that it is in. */
  readonly parent: number;
  readonly name: string;
}

/** How their names begin. */
export const HIDDEN_PREFIX = '.#nspawn-';
const MODE = 0o700;
const MOST_TRIES = 100;

/**
 * Makes a hidden directory in the directory `path`. Disposing of it removes it with all in it; without root
 * `makeOurs` is needed for that, as for removeTree(). Throws SyscallError when it can't be made.
 */
export function makeHiddenDirectory(path: string, log: Logger, makeOurs?: MakeOurs): HiddenDirectory {
  using made = new DisposableStack();
  const parent = made.use(openDirectory(path));
  // First of all, and so withdrawn last of all.
  made.use(cleanedUpAfterUs(path));
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const name = `${HIDDEN_PREFIX}${randomDigits()}`;
    syscall('mkdirat', parent.fd, name, MODE);
    const directory = lockHidden(parent.fd, name);
    // Until it was locked, another nspawn may have taken it for a leftover.
    if (!directory) continue;
    made.use(directory);
    made.defer(() => remove(parent.fd, name, path, log, makeOurs));
    // Its lock goes with the janitor that has ended what uses it, not with us.
    made.use(entrust([directory.fd], () => []));
    const held = made.move();
    return { fd: directory.fd, parent: parent.fd, name, [Symbol.dispose]: () => held.dispose() };
  }
  throw new Error(`making a directory in ${path}: another process removes what is made`);
}

/** Directories that have hidden ones of ours, as often as they have. */
const inUse: string[] = [];
let executable: OwnedFd | undefined;

/** Has the janitor become a `nspawn --cleanup` if we are killed. Without that, it is left to the next run. */
function cleanedUpAfterUs(path: string): Disposable {
  inUse.push(path);
  tellJanitor();
  return {
    [Symbol.dispose]() {
      inUse.splice(inUse.indexOf(path), 1);
      tellJanitor();
    },
  };
}

function tellJanitor(): void {
  const command = ownCommand();
  if (!command) return;
  executable ??= owned(passableFd(syscall('openat', AT.FDCWD, '/proc/self/exe', O.PATH | O.CLOEXEC, 0)));
  const words = inUse.length === 0 ? [] : [...command, '--cleanup', '--', ...new Set(inUse)];
  try {
    entrustSuccessor(executable.fd, words);
  } catch {
    // The janitor is gone, or has no room for so many paths: then it is left to the next run.
  }
}

/** Removes hidden directories in the directory `path` that nobody holds a lock on. */
export function removeLeftovers(path: string, log: Logger, makeOurs?: MakeOurs): void {
  using parent = openDirectory(path);
  for (;;) {
    const entries = nextEntries(parent.fd);
    if (!entries) return;
    for (const name of entries.map(entry => nameText(entry.name)).filter(each => each.startsWith(HIDDEN_PREFIX))) {
      using directory = lockHidden(parent.fd, name);
      if (!directory) continue;
      log.debug(`removing ${path}/${name}, which a killed nspawn has left`);
      remove(parent.fd, name, path, log, makeOurs);
    }
  }
}

const openDirectory = (path: string): OwnedFd =>
  owned(passableFd(syscall('openat', AT.FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0)));

/** Opens and locks a hidden directory of ours; undefined when it is someone else's, locked, or gone meanwhile. */
function lockHidden(parent: number, name: string): OwnedFd | undefined {
  const open = openBelow(parent, name, O.RDONLY | O.DIRECTORY);
  const fd = perform(allowing(open, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV', 'EACCES'));
  if (fd < 0) return undefined;
  using opened = new DisposableStack();
  const directory = opened.use(owned(passableFd(fd)));
  const { mode, uid, inode } = fileStatus(directory.fd);
  if (uid !== process.geteuid?.() || (mode & 0o777) !== MODE) return undefined;
  if (perform(allowing(call('flock', directory.fd, LOCK.EX | LOCK.NB), 'EAGAIN')) < 0) return undefined;
  const now = perform(allowing(openBelow(parent, name, O.PATH), 'ENOENT'));
  if (now < 0) return undefined;
  using same = owned(now);
  if (fileStatus(same.fd).inode !== inode) return undefined;
  opened.move();
  return directory;
}

function remove(parent: number, name: string, path: string, log: Logger, makeOurs: MakeOurs | undefined): void {
  try {
    removeTree(parent, name, makeOurs);
  } catch (error) {
    log.warn(`removing ${path}/${name}: ${(error as Error).message}`);
  }
}
