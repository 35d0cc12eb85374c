/**
 * The list of running containers: a file for each in the runtime directory, named by the process id of its first process.
 * Whoever started it holds a lock on the file as long as the container runs, so a file without a lock is what a killed
 * nspawn has left, and goes when somebody reads the list.
 */
import { allowing, type Call, call } from '../../syscalls/call.ts';
import { AT, LOCK, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { readAll } from '../../syscalls/file.ts';
import { openProcess } from '../../syscalls/process.ts';
import { perform, SyscallError, syscall } from '../../syscalls/syscall.ts';
import { readIfThere } from '../host.ts';
import { makeRuntimeDirectory, runtimeDirectory } from '../runtime-directory.ts';

/** A container as others see it. */
export interface ContainerRecord {
  /** Its name. */
  machine: string;
  /** Canonical path of its root directory, or of its image. */
  root: string;
  /** Process id of its first process, on the host. */
  pid: number;
  /** Process id of the nspawn that runs it. */
  nspawn: number;
  /** Milliseconds since 1970. */
  since: number;
  /** Number of the signal that asks it to shut down; undefined where there is none. */
  killSignal?: number | undefined;
  /** Its system call filter, if that isn't the default one: an array of struct sock_filter in base64. */
  filter?: string;
}

const NAME = 'containers';
const directoryOfRecords = () => `${runtimeDirectory()}/${NAME}`;
const LARGEST_RECORD = 65536;
const pathOf = (pid: number) => `${directoryOfRecords()}/${pid}`;

/** What removes the record of a container, for a janitor. */
export const forgetContainer = (pid: number): Call => call('unlinkat', AT.FDCWD, pathOf(pid), 0);

/** A container's place on the list: disposing of it takes the container off. */
export interface Listing extends Disposable {
  /** The locked file: whoever waits for the container's end goes on when it is closed. */
  lock: OwnedFd;
}

/** Puts a container on the list. Throws SyscallError where /run can't be written to. */
export function listContainer(record: ContainerRecord): Listing {
  makeRuntimeDirectory(NAME);
  using undo = new DisposableStack();
  // It gets its name when it is locked and complete: nobody ever sees another. Who may open it could hold its lock.
  const file = undo.use(
    owned(syscall('openat', AT.FDCWD, directoryOfRecords(), O.TMPFILE | O.RDWR | O.CLOEXEC, 0o600)),
  );
  syscall('flock', file.fd, LOCK.EX | LOCK.NB);
  const text = Buffer.from(JSON.stringify(record));
  syscall('write', file.fd, text, text.length);
  // Of an earlier process with this number.
  perform(allowing(forgetContainer(record.pid), 'ENOENT'));
  syscall('linkat', AT.FDCWD, `/proc/self/fd/${file.fd}`, AT.FDCWD, pathOf(record.pid), AT.SYMLINK_FOLLOW);
  undo.move();
  return { lock: file, [Symbol.dispose]: () => perform(allowing(forgetContainer(record.pid), 'ENOENT')) };
}

/**
 * Waits until nspawn has let go of a container that has ended, which may be started again then. `file` is its record,
 * opened while it ran. See openRecord().
 */
export const untilReleased = ({ fd }: OwnedFd): number => syscall('flock', fd, LOCK.SH);

/** A container's record, to wait for; undefined when it is off the list. */
export function openRecord(pid: number): OwnedFd | undefined {
  const fd = perform(allowing(call('openat', AT.FDCWD, pathOf(pid), O.RDONLY | O.CLOEXEC, 0), 'ENOENT'));
  return fd < 0 ? undefined : owned(fd);
}

/** The containers that run, by name and age. Removes what killed ones have left, if it may. Throws SyscallError. */
export function listedContainers(): ContainerRecord[] {
  const { readdirSync, existsSync } = process.getBuiltinModule('node:fs');
  if (!existsSync(directoryOfRecords())) return [];
  const records = readdirSync(directoryOfRecords()).flatMap(name => readRecord(Number(name)) ?? []);
  return records.toSorted((a, b) => a.machine.localeCompare(b.machine) || a.since - b.since);
}

function readRecord(pid: number): ContainerRecord | undefined {
  using file = openRecord(pid);
  if (!file) return undefined;
  if (isHeld(file)) return JSON.parse(readAll(file.fd, LARGEST_RECORD).toString());
  perform(allowing(forgetContainer(pid), 'ENOENT', 'EACCES', 'EROFS'));
  return undefined;
}

const isHeld = ({ fd }: OwnedFd): boolean => perform(allowing(call('flock', fd, LOCK.SH | LOCK.NB), 'EAGAIN')) < 0;

/** The only container of that name. Throws an Error when there is none, or more. */
export function containerNamed(machine: string): ContainerRecord {
  const [found, ...others] = listedContainers().filter(record => record.machine === machine);
  if (!found) throw new Error(`looking for the container ${machine}: none of this name runs; see nspawn list`);
  if (others.length === 0) return found;
  const pids = [found, ...others].map(({ pid }) => pid).join(', ');
  throw new Error(`looking for the container ${machine}: there is more than one of this name (processes ${pids})`);
}

/** A descriptor for a container's first process. Throws an Error when it has ended meanwhile. */
export function openContainer({ pid, nspawn, machine }: ContainerRecord): OwnedFd {
  try {
    using undo = new DisposableStack();
    const pidfd = undo.use(owned(openProcess(pid)));
    // Its number may have gone to another process; but that has another parent.
    if (parentOf(pid) !== nspawn) throw new Error('it has ended');
    undo.move();
    return pidfd;
  } catch (error) {
    const hasEnded = error instanceof SyscallError && error.code === 'ESRCH';
    throw new Error(`looking for the container ${machine}: ${hasEnded ? 'it has ended' : (error as Error).message}`, {
      cause: error,
    });
  }
}

/** proc_pid_stat(5): the fourth field, behind a name in brackets that may have any character in it. */
function parentOf(pid: number): number | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`)?.toString();
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}
