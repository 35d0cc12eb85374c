/**
 * Shifts the owners of many files at a time: agents look at the files of one batch and change those of the one before,
 * while this process reads the next directories. Names go from the kernel to this process's and the agent's shared
 * memory, and from there back to the kernel, so that little is done for each file in JavaScript.
 */
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { type Agent, startAgent } from '../../syscalls/agent/agent.ts';
import { viewAll } from '../../syscalls/agent/arena.ts';
import { ARENA_ADDRESS, WILL } from '../../syscalls/agent/layout.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, O, S, STATX } from '../../syscalls/constants.ts';
import { DIRENT, DT, isDots, nameText } from '../../syscalls/directory.ts';
import { errnoByNumber, errnoNumber } from '../../syscalls/errno.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { fileType } from '../../syscalls/file.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import { shiftedId } from './range.ts';
import { ATTRIBUTES_TO_SHIFT, LOST_BITS, shiftFile } from './shift-file.ts';

/** The owner of a file could not be shifted. */
export class ShiftError extends Error {
  /** Its path in the tree. */
  path: string;

  constructor(path: string, cause: Error, hint = '') {
    super(`${cause.message}${hint}`, { cause });
    this.path = path;
  }
}

/** An open directory, which is closed when all who use it have let go. */
export interface SharedDirectory {
  fd: number;
  /** From the top of the tree on, with a slash at its end; empty for the top itself. */
  path: string;
  users: number;
}

export function letGo(directory: SharedDirectory): void {
  if (--directory.users === 0) closeFd(directory.fd);
}

export interface Workers extends Disposable {
  /**
   * Takes over the next files in a directory. Returns how many, and the names of those that may be directories;
   * undefined at its end. Throws ShiftError for any that were taken over before, SyscallError for the directory.
   */
  readFrom(directory: SharedDirectory): { files: number; directories: Uint8Array[] } | undefined;
  /** Waits for all. Throws ShiftError. */
  finish(): void;
}

const MOST_WORKERS = 4;
/** So many files are handed over at a time, or more when the last read gives more. */
const ENOUGH_FILES = 512;

/**
 * A batch's memory: names as getdents64(2) gives them, for each file what statx(2) tells, and the names of its extended
 * attributes. A worker has three: one is filled, one is looked at, and of one the files are changed. They are at the end
 * of what batches are written to, of which calls take less than half.
 */
const NAMES_SIZE = 65536;
const READ_SIZE = NAMES_SIZE / 2;
const STATUS_SIZE = 256;
const LIST_SIZE = 128;
const SMALLEST_DIRENT = 24;
const MOST_FILES = ENOUGH_FILES + READ_SIZE / SMALLEST_DIRENT;
const REGION_SIZE = NAMES_SIZE + Math.ceil(MOST_FILES) * (STATUS_SIZE + LIST_SIZE);
const REGIONS = 3;
const regionStart = (number: number) => (WILL.start - (number + 1) * REGION_SIZE) & ~7;

/** Offsets in struct statx, linux/stat.h */
const STATUS = { attributes: 8, uid: 20, gid: 24, mode: 28 } as const;
/** linux/stat.h: STATX_ATTR_ */
const ATTRIBUTE = { IMMUTABLE: 0x10, APPEND: 0x20, MOUNT_ROOT: 0x2000 } as const;

const [ENOENT, ENOTSUP, EROFS, EPERM] = ['ENOENT', 'ENOTSUP', 'EROFS', 'EPERM'].map(errnoNumber);

/** Files that are looked at; all numbers are offsets in the arena. */
interface Region {
  names: number;
  statuses: number;
  lists: number;
  /** How much of the room for names is used. */
  used: number;
  /** Each file's name. */
  files: number[];
  /** The directory of files from `from` up to, without, `to`. */
  looks: { directory: SharedDirectory; from: number; to: number }[];
}

function emptyRegion(number: number): Region {
  const names = regionStart(number);
  const statuses = names + NAMES_SIZE;
  const lists = statuses + Math.ceil(MOST_FILES) * STATUS_SIZE;
  return { names, statuses, lists, used: 0, files: [], looks: [] };
}

/** A file that gets another owner. */
interface Change {
  /** Asked for before the name's memory is used again. */
  path: () => string;
  isImmutable: boolean;
  call: Call;
}

interface Worker {
  agent: Agent;
  filled: Region;
  turn: number;
  /** What it is at: changes, and behind them looks. */
  changes: Change[];
  looked: Region | undefined;
  results: () => number[];
  /** What the looks before have shown to be done, and the agent's descriptors to be closed behind it. */
  next: Change[];
  open: number[];
}

/** What is done to all files. */
interface Task {
  base: number;
  /** Is told the paths of files on a file system that is read-only. */
  skipped: (path: string) => void;
}

export function startWorkers(task: Task): Workers {
  const workers: Worker[] = [];
  let turn = 0;
  const worker = (): Worker => {
    const number = turn % Math.min(availableParallelism(), MOST_WORKERS);
    workers[number] ??= startWorker();
    return workers[number];
  };
  return {
    readFrom(directory) {
      const filling = worker();
      const read = readInto(filling, directory);
      if (filling.filled.files.length >= ENOUGH_FILES || filling.filled.used > NAMES_SIZE - READ_SIZE) {
        handOver(filling, task);
        turn++;
      }
      return read;
    },
    finish() {
      // Once to look at what is left, and once to change it.
      for (let times = 0; times < 2; times++) for (const each of workers) handOver(each, task);
      for (const each of workers) settle(each, task);
    },
    [Symbol.dispose]() {
      for (const { agent, filled, looked } of workers) {
        agent[Symbol.dispose]();
        for (const { directory } of [...filled.looks, ...(looked?.looks ?? [])]) letGo(directory);
      }
    },
  };
}

function startWorker(): Worker {
  const agent = startAgent({ namespaces: 0n, fds: [], dieWithParent: true });
  viewAll(agent.arena);
  const nothing = { changes: [], looked: undefined, results: () => [], next: [], open: [] };
  return { agent, filled: emptyRegion(0), turn: 0, ...nothing };
}

function readInto({ agent: { arena }, filled }: Worker, directory: SharedDirectory): ReturnType<Workers['readFrom']> {
  const start = filled.names + filled.used;
  const size = perform(call('getdents64', directory.fd, Number(arena.address) + start, READ_SIZE));
  if (size === 0) return undefined;
  const { bytes } = arena;
  const from = filled.files.length;
  const directories: Uint8Array[] = [];
  let length = 0;
  for (let at = start; at < start + size; at += length) {
    length = bytes[at + DIRENT.length]! | (bytes[at + DIRENT.length + 1]! << 8);
    const name = at + DIRENT.name;
    if (isDots(bytes, name)) continue;
    filled.files.push(name);
    const type = bytes[at + DIRENT.type]!;
    if (type === DT.DIR || type === DT.UNKNOWN) directories.push(nameAt(bytes, name));
  }
  filled.used += size;
  const files = filled.files.length - from;
  if (files > 0) {
    filled.looks.push({ directory, from, to: from + files });
    directory.users++;
  }
  return { files, directories };
}

/** A name's bytes with their NUL, copied. */
const nameAt = (bytes: Uint8Array, at: number): Uint8Array => bytes.slice(at, bytes.indexOf(0, at) + 1);

/** Waits for what a worker is at; has it change what that has shown to be changed, and look at what was read since. */
function handOver(worker: Worker, task: Task): void {
  settle(worker, task);
  const { agent, next, open, filled } = worker;
  const closing = open.map(fd => allowing(call('close', fd)));
  worker.results = agent.send([...next.map(change => change.call), ...closing, ...looking(filled)]);
  worker.changes = next;
  worker.looked = filled;
  worker.next = [];
  worker.open = [];
  worker.filled = emptyRegion(++worker.turn % REGIONS);
}

/** Calls in front of those for a directory's files. */
const OPENING = 2;
const CALLS_PER_FILE = 2;

/** Names are looked up in the agent's working directory: there is no llistxattr(2) for another. */
function looking(region: Region): Call[] {
  return region.looks.flatMap(({ directory, from, to }) => {
    const path = `/proc/${process.pid}/fd/${directory.fd}`;
    const opened = allowing(call('openat', AT.FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));
    const calls = [opened, allowing(call('fchdir', resultOf(opened)))];
    for (let i = from; i < to; i++) {
      const name = ARENA_ADDRESS + region.files[i]!;
      const status = ARENA_ADDRESS + region.statuses + i * STATUS_SIZE;
      const list = ARENA_ADDRESS + region.lists + i * LIST_SIZE;
      calls.push(
        { name: 'statx', args: [AT.FDCWD, name, AT.SYMLINK_NOFOLLOW, STATX.BASIC_STATS, status], allow: 'any' },
        { name: 'llistxattr', args: [name, list, LIST_SIZE], allow: 'any' },
      );
    }
    return calls;
  });
}

/** Waits for what a worker does, and works out what it has to do next. Throws ShiftError. */
function settle(worker: Worker, task: Task): void {
  const results = worker.results();
  const { changes, looked } = worker;
  worker.results = () => [];
  worker.changes = [];
  for (const [i, change] of changes.entries()) if (results[i]! < 0) failed(change, -results[i]!, task);
  if (!looked) return;
  const calls = OPENING * looked.looks.length + CALLS_PER_FILE * looked.files.length;
  let at = results.length - calls;
  while (looked.looks[0]) {
    const { directory, from, to } = looked.looks[0];
    const entered = results.slice(at, at + OPENING).find(result => result < 0);
    if (entered !== undefined) {
      const entering = call('openat', AT.FDCWD, directory.path, O.RDONLY | O.DIRECTORY, 0);
      throw new ShiftError(directory.path, new SyscallError(entering, errnoByNumber(-entered)));
    }
    const fd = results[at]!;
    worker.open.push(fd);
    at += OPENING;
    for (let i = from; i < to; i++, at += CALLS_PER_FILE) {
      evaluate(worker, { directory, region: looked, i, fd, found: results[at]!, listed: results[at + 1]! }, task);
    }
    letGo(directory);
    looked.looks.shift();
  }
  worker.looked = undefined;
}

/** File `i` of a region, with what its calls have returned; `fd` is the agent's for the directory. */
interface Looked {
  directory: SharedDirectory;
  region: Region;
  i: number;
  fd: number;
  found: number;
  listed: number;
}

function evaluate(worker: Worker, looked: Looked, task: Task): void {
  const { directory, region, i, fd, found, listed } = looked;
  const { halves, bytes } = worker.agent.arena;
  const name = region.files[i]!;
  const pathOf = () => directory.path + nameText(nameAt(bytes, name));
  if (found === -ENOENT!) return;
  if (found < 0) throw new ShiftError(pathOf(), new SyscallError(call('statx', pathOf()), errnoByNumber(-found)));

  const status = region.statuses + i * STATUS_SIZE;
  const attributes = halves[(status + STATUS.attributes) >> 2]!;
  // What is mounted here is not of this tree.
  if (attributes & ATTRIBUTE.MOUNT_ROOT) return;
  const [oldUid, oldGid] = [halves[(status + STATUS.uid) >> 2]! >>> 0, halves[(status + STATUS.gid) >> 2]! >>> 0];
  const [uid, gid] = [shiftedId(oldUid, task.base), shiftedId(oldGid, task.base)];
  const isRight = uid === oldUid && gid === oldGid;
  const mode = halves[(status + STATUS.mode) >> 2]! & 0xffff;
  const loses = !isRight && fileType(mode) === S.IFREG && (mode & LOST_BITS) !== 0;
  const isImmutable = (attributes & (ATTRIBUTE.IMMUTABLE | ATTRIBUTE.APPEND)) !== 0;
  if (loses || hasAttributesToShift(bytes, region.lists + i * LIST_SIZE, listed)) {
    shiftNow(directory, nameAt(bytes, name), isImmutable, task);
  } else if (!isRight) {
    const args = [fd, ARENA_ADDRESS + name, uid, gid, AT.SYMLINK_NOFOLLOW];
    worker.next.push({ path: pathOf, isImmutable, call: { name: 'fchownat', args, allow: 'any' } });
  }
}

/** `length` is what llistxattr(2) returned. */
function hasAttributesToShift(bytes: Uint8Array, at: number, length: number): boolean {
  if (length === 0 || length === -ENOTSUP! || length === -ENOENT!) return false;
  // Too many to know.
  if (length < 0) return true;
  const names = Buffer.from(bytes.buffer, bytes.byteOffset + at, length)
    .toString('latin1')
    .split('\0');
  return names.some(name => ATTRIBUTES_TO_SHIFT.includes(name));
}

function shiftNow(directory: SharedDirectory, name: Uint8Array, isImmutable: boolean, task: Task): void {
  try {
    shiftFile(directory.fd, name, task.base);
  } catch (error) {
    const path = () => directory.path + nameText(name);
    if (!(error instanceof SyscallError)) throw new ShiftError(path(), error as Error);
    failed({ path, isImmutable, call: error.call }, error.errno, task);
  }
}

/** Throws ShiftError unless the file is gone, or can't be changed by anybody. */
function failed({ path, isImmutable, call: change }: Change, errno: number, { skipped }: Task): void {
  if (errno === ENOENT) return;
  if (errno === EROFS) {
    skipped(path());
    return;
  }
  const hint = errno === EPERM && isImmutable ? '; it is immutable, which chattr -ia ends' : '';
  // Names of a batch are numbers, places in the arena.
  const args = change.args.map((arg, i) => (i === 1 && typeof arg === 'number' ? path() : arg));
  throw new ShiftError(path(), new SyscallError({ ...change, args }, errnoByNumber(errno)), hint);
}
