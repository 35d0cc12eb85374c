/**
 * Gives all files of a tree to a range of user ids, for --private-users-ownership=chown: the lower half of each id stays,
 * the upper one becomes that of the range. As with systemd-nspawn the root directory belongs to no range until all is
 * done, and to the new one then: so what was broken off is begun again, and what is right already is seen at once.
 */
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { nameText, nextEntries } from '../../syscalls/directory.ts';
import { owned } from '../../syscalls/fd.ts';
import { fileStatus, openBelow } from '../../syscalls/file.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';
import { nextTurn } from '../streams/next-turn.ts';
import { countFiles } from '../trees/count.ts';
import { BUSY_BASE, baseOfTree, type Owner, RANGE, shiftedId } from './range.ts';
import { shiftOpened } from './shift-file.ts';
import { letGo, type SharedDirectory, ShiftError, startWorkers, type Workers } from './shift-workers.ts';

export interface Shift {
  /** A descriptor of the root directory: of a mount that nothing is mounted below, or what is there is left alone. */
  tree: number;
  /** For messages. */
  path: string;
  /** The range: so many ids from `base` on. */
  base: number;
  count: number;
}

/** Told now and then how many files have been looked at, of about so many. */
export type Progress = (done: { files: number }, files: number) => unknown;

/** How long others wait for their turn, in milliseconds. */
const LONGEST_TURN = 50;
/** How many files in the root directory are looked at before a tree is taken to be right. */
const SAMPLE = 64;

/**
 * Shifts a tree, unless it is right already; resolves to whether it was shifted. ACLs and capabilities of files come
 * along, set-user-ID bits stay. What is read-only below the root directory stays as it is, which is logged. Rejects
 * with an Error that names the file which can't be shifted; the next run then begins again.
 */
export async function shiftTree(
  { tree, path, base, count }: Shift,
  log: Logger,
  progress?: Progress,
): Promise<boolean> {
  const doing = `giving the files of ${path} to the user ids from ${base} on`;
  if (base % RANGE !== 0 || count !== RANGE || base === BUSY_BASE) {
    throw new Error(
      `${doing}: that can be done only with ${RANGE} ids that start at a multiple of that, not with ${count} from ${base} on`,
    );
  }
  try {
    if (isShifted(tree, base)) return false;
    log.debug(doing);
    await shiftAll(tree, base, name => log.debug(`${name} in ${path} is read-only, and keeps its owner`), progress);
    return true;
  } catch (error) {
    const at = error instanceof ShiftError && error.path ? `${error.path}: ` : '';
    throw new Error(`${doing}: ${at}${(error as Error).message}`, { cause: error });
  }
}

/** Whether the root directory and what is in it belong to a range already. Throws SyscallError. */
export function isShifted(tree: number, base: number): boolean {
  const belongs = ({ uid, gid }: Owner) => uid === shiftedId(uid, base) && gid === shiftedId(gid, base);
  if (!belongs(fileStatus(tree))) return false;
  using directory = owned(perform(openBelow(tree, '.', O.RDONLY | O.DIRECTORY)));
  const entries = nextEntries(directory.fd) ?? [];
  return entries.slice(0, SAMPLE).every(({ name }) => {
    // Gone, or something else is mounted there.
    const fd = perform(allowing(openBelow(directory.fd, name, O.PATH), 'ENOENT', 'EXDEV'));
    if (fd < 0) return true;
    using file = owned(fd);
    return belongs(fileStatus(file.fd));
  });
}

async function shiftAll(
  tree: number,
  base: number,
  skipped: (path: string) => void,
  progress: Progress | undefined,
): Promise<void> {
  const { uid, gid } = fileStatus(tree);
  baseOfTree({ uid, gid });
  perform(call('fchownat', tree, '', shiftedId(uid, BUSY_BASE), shiftedId(gid, BUSY_BASE), AT.EMPTY_PATH));

  const files = progress ? countIn(tree) : 0;
  using workers = startWorkers({ base, skipped });
  const top = { fd: perform(openBelow(tree, '.', O.RDONLY | O.DIRECTORY | O.NOATIME)), path: '', users: 1 };
  const done = { files: 0 };
  let turn = performance.now();
  for (const some of shiftContents(top, workers)) {
    done.files += some;
    if (performance.now() - turn < LONGEST_TURN) continue;
    progress?.(done, files);
    await nextTurn();
    turn = performance.now();
  }
  workers.finish();
  shiftOpened(tree, fileStatus(tree), base);
}

function countIn(tree: number): number {
  using directory = owned(perform(openBelow(tree, '.', O.RDONLY | O.DIRECTORY | O.NOATIME)));
  return countFiles(directory.fd);
}

/** Hands over all that is below a directory, and lets go of it. Yields numbers of files. */
function* shiftContents(directory: SharedDirectory, workers: Workers): Generator<number> {
  try {
    const below: Uint8Array[] = [];
    for (let read = workers.readFrom(directory); read; read = workers.readFrom(directory)) {
      below.push(...read.directories);
      yield read.files;
    }
    for (const name of below) {
      const child = openDirectory(directory, name);
      if (child) yield* shiftContents(child, workers);
    }
  } finally {
    letGo(directory);
  }
}

/** Undefined for what is none any more, or is a mount point. Throws ShiftError. */
function openDirectory(directory: SharedDirectory, name: Uint8Array): SharedDirectory | undefined {
  const path = `${directory.path}${nameText(name)}/`;
  const open = openBelow(directory.fd, name, O.RDONLY | O.DIRECTORY | O.NOATIME);
  try {
    const fd = perform(allowing(open, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV'));
    return fd < 0 ? undefined : { fd, path, users: 1 };
  } catch (error) {
    throw error instanceof SyscallError ? new ShiftError(path, error) : error;
  }
}
