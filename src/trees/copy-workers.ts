/**
 * Copies the content of many files at a time. The kernel's part is the larger one of that work: agents have it done
 * while this process opens and makes the next files.
 */
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { type Agent, startAgent } from '../../syscalls/agent/agent.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { errnoByNumber } from '../../syscalls/errno.ts';
import type { OwnedFd } from '../../syscalls/fd.ts';
import type { FileStatus } from '../../syscalls/file.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import { copyAttributes } from './attributes.ts';
import { copyData, openRegular, READ_FLAGS } from './copy-data.ts';

/** A file could not be copied. */
export class CopyError extends Error {
  /** Its path in the tree. */
  path: string;

  constructor(path: string, cause: SyscallError) {
    super(cause.message, { cause });
    this.path = path;
  }
}

/** A regular file without extended attributes, and the empty one that becomes its copy. Both are closed then. */
export interface Job {
  /** O_PATH */
  from: OwnedFd;
  to: OwnedFd;
  status: FileStatus;
  /** For errors. */
  path: string;
}

export interface Workers extends Disposable {
  /** Takes a job over. Throws CopyError for an earlier one. */
  add(job: Job): void;
  /** Waits for all jobs. Throws CopyError. */
  finish(): void;
}

/** So many files, or bytes, are handed over at a time. */
const MOST_JOBS = 64;
const MOST_BYTES = 4 << 20;
const MOST_WORKERS = 4;

interface Worker {
  agent: Agent;
  jobs: Job[];
  results: () => number[];
}

export function startWorkers(): Workers {
  const workers: Worker[] = [];
  let turn = 0;
  let waiting: Job[] = [];
  let bytes = 0;

  const nextWorker = (): Worker => {
    const worker = workers[turn++ % Math.min(availableParallelism(), MOST_WORKERS)];
    if (worker) {
      settle(worker);
      return worker;
    }
    const agent = startAgent({ namespaces: 0n, fds: [], dieWithParent: true });
    const started: Worker = { agent, jobs: [], results: () => [] };
    workers.push(started);
    return started;
  };
  const handOver = () => {
    if (waiting.length === 0) return;
    const worker = nextWorker();
    worker.jobs = waiting;
    worker.results = worker.agent.send(waiting.flatMap(callsOf));
    waiting = [];
    bytes = 0;
  };
  return {
    add(job) {
      waiting.push(job);
      bytes += job.status.size;
      if (waiting.length >= MOST_JOBS || bytes >= MOST_BYTES) handOver();
    },
    finish() {
      handOver();
      for (const worker of workers) settle(worker);
    },
    [Symbol.dispose]() {
      for (const { agent } of workers) agent[Symbol.dispose]();
      for (const job of [...waiting, ...workers.flatMap(({ jobs }) => jobs)]) close(job);
    },
  };
}

const CALLS_PER_JOB = 8;
/** Which of them copies. */
const COPYING = 2;

/** Each is tried whatever became of those before: a negative number is no descriptor. */
function callsOf({ from, to, status: { size, uid, gid, mode, times } }: Job): Call[] {
  const path = ({ fd }: OwnedFd) => `/proc/${process.pid}/fd/${fd}`;
  const source = allowing(call('openat', AT.FDCWD, path(from), READ_FLAGS, 0));
  const copy = allowing(call('openat', AT.FDCWD, path(to), O.WRONLY | O.CLOEXEC, 0));
  return [
    source,
    copy,
    allowing(call('sendfile', resultOf(copy), resultOf(source), null, size)),
    // In the order of copyAttributes().
    allowing(call('fchown', resultOf(copy), uid, gid)),
    allowing(call('fchmod', resultOf(copy), mode & 0o7777)),
    allowing(call('utimensat', resultOf(copy), null, times, 0)),
    allowing(call('close', resultOf(source))),
    allowing(call('close', resultOf(copy))),
  ];
}

/** Waits for what a worker does. Throws CopyError for the first file that it could not copy. */
function settle(worker: Worker): void {
  const results = worker.results();
  const { jobs } = worker;
  for (const [i, job] of jobs.entries()) {
    const own = results.slice(i * CALLS_PER_JOB, (i + 1) * CALLS_PER_JOB);
    const failed = own.findIndex(result => result < 0);
    if (failed >= 0) {
      throw new CopyError(job.path, new SyscallError(callsOf(job)[failed]!, errnoByNumber(-own[failed]!)));
    }
    if (own[COPYING]! < job.status.size) copyAgain(job);
  }
  worker.jobs = [];
  worker.results = () => [];
  for (const job of jobs) close(job);
}

/** The file has become shorter, or the file system full: that is seen only when the rest is copied, too. */
function copyAgain({ from, to, status, path }: Job): void {
  try {
    using source = openRegular(from.fd);
    perform(call('ftruncate', to.fd, 0));
    for (const _ of copyData(source.fd, to.fd, status.size, { reflink: false, copyRange: false }));
    copyAttributes(source.fd, status, to.fd);
  } catch (error) {
    throw error instanceof SyscallError ? new CopyError(path, error) : error;
  }
}

function close({ from, to }: Job): void {
  from[Symbol.dispose]();
  to[Symbol.dispose]();
}
