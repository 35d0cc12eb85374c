/**
 * Agents: child processes that carry out system calls for this one, between clone and exec. See programs.ts for the
 * code that they run, and layout.ts for the memory that is shared with them.
 */
import { type Call, call } from '../call.ts';
import { AF, AT, CLONE, MSG, SIG, SOCK } from '../constants.ts';
import { errnoByNumber, errnoNumber } from '../errno.ts';
import { closeFd, passableFd } from '../fd.ts';
import { formatCall } from '../format.ts';
import { syscallNumber } from '../machine.ts';
import { dieWithParent, endingOf, killAndReap } from '../process.ts';
import { receiveFds, sendFds } from '../socket.ts';
import { addressOf, callCode, perform, SyscallError, syscall, trace } from '../syscall.ts';
import { type Arena, type Earlier, goesOn, releaseArena, takeArena, type WrittenOps, writeBatch } from './arena.ts';
import { ARENA_FD, BATCH, CONTROL_FD, OP } from './layout.ts';
import { agentExecutable, loadStub } from './program.ts';

/** The oldest kernel with all that is needed: the file cgroup.kill came last, after mount_setattr(2) in 5.12. */
export const OLDEST_KERNEL = '5.14';

/** How long a batch may take before the agent is taken for stuck, in seconds: a dead network mount, a lost disk. */
const LONGEST_BATCH = 90;
const EAGAIN = errnoNumber('EAGAIN');
/** How often a batch is taken up again. */
const MOST_TRIES = 1000;

export interface AgentOptions {
  /** Namespaces to make, CLONE.NEW* bits. */
  namespaces: bigint;
  /** Descriptors of this process that the agent shall have, under the same numbers. */
  fds: readonly number[];
  /** A cgroup v2 directory's descriptor to be born in. */
  cgroup?: number;
  /** Die by SIGKILL when the thread that calls this dies (PR_SET_PDEATHSIG). */
  dieWithParent: boolean;
}

/** An agent died where it should have answered. */
export class AgentDiedError extends Error {}

export interface Agent extends Disposable {
  readonly pid: number;
  /** The caller closes it (detach) or disposing of the agent does. */
  readonly pidfd: number;
  readonly arena: Arena;
  /**
   * Runs calls in their order; returns their results. An error stops the batch and throws SyscallError, unless the
   * call allows it; then its result is -errno. Throws AgentDiedError if the agent is gone.
   */
  run(calls: readonly Call[]): number[];
  /**
   * Runs calls until an execve among them succeeds: returns undefined then. Otherwise returns the results of the calls
   * that ran. Throws AgentDiedError if the agent died in another call; one that dies in an execve died as the program.
   */
  exec(calls: readonly Call[]): number[] | undefined;
  /** Sends descriptors; returns the numbers that the agent has them under. */
  sendFds(fds: readonly number[]): number[];
  /** Lets go of the process, which goes on as what it has become. The pidfd is the caller's now. */
  detach(): void;
}

/** Starts an agent. Throws SyscallError, or an Error that names what the machine lacks. */
export function startAgent(options: AgentOptions): Agent {
  const arena = takeArena();
  const [ours, theirs] = controlSockets();
  let started: { pid: number; pidfd: number };
  try {
    started = cloneAgent(options, theirs, arena.fd);
  } catch (error) {
    closeFd(ours);
    releaseArena(arena, true);
    throw error;
  } finally {
    closeFd(theirs);
  }
  return agentHandle(started.pid, started.pidfd, ours, arena);
}

function controlSockets(): [number, number] {
  const pair = new Int32Array(2);
  const bytes = new Uint8Array(pair.buffer);
  syscall('socketpair', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0, { out: bytes });
  const [ours, theirs] = [pair[0]!, passableFd(pair[1]!)];
  // struct timeval; SO_RCVTIMEO of asm-generic/socket.h
  const timeout = new BigInt64Array([BigInt(LONGEST_BATCH), 0n]);
  syscall('setsockopt', ours, 1, 20, new Uint8Array(timeout.buffer), 16);
  return [ours, theirs];
}

/** Offsets in struct clone_args, linux/sched.h */
const CLONE_ARGS = { flags: 0, pidfd: 8, exitSignal: 32, stack: 40, stackSize: 48, cgroup: 80, size: 88 } as const;

function cloneAgent(options: AgentOptions, controlFd: number, arenaFd: number): { pid: number; pidfd: number } {
  const executable = agentExecutable();
  const { code, scratch, stack } = loadStub();
  const view = new DataView(scratch.bytes.buffer, scratch.bytes.byteOffset, scratch.bytes.byteLength);
  scratch.bytes.fill(0);

  const pidfdAt = CLONE_ARGS.size;
  const batchAt = pidfdAt + 8;
  const flags = options.namespaces | CLONE.VM | CLONE.VFORK | CLONE.PIDFD | CLONE.CLEAR_SIGHAND;
  view.setBigUint64(CLONE_ARGS.flags, options.cgroup === undefined ? flags : flags | CLONE.INTO_CGROUP, true);
  view.setBigUint64(CLONE_ARGS.pidfd, scratch.address + BigInt(pidfdAt), true);
  view.setBigUint64(CLONE_ARGS.exitSignal, BigInt(SIG.CHLD), true);
  view.setBigUint64(CLONE_ARGS.stack, stack.address, true);
  view.setBigUint64(CLONE_ARGS.stackSize, BigInt(stack.size), true);
  view.setBigUint64(CLONE_ARGS.cgroup, BigInt(options.cgroup ?? 0), true);

  // Pointers of the last call: an empty path, and lists that end at once but for a name.
  const [name, empty] = [Buffer.from('nspawn\0'), new Uint8Array(8)];
  const argv = new BigUint64Array([addressOf(name), 0n]);
  const addressOfWords = (words: BigUint64Array) => addressOf(new Uint8Array(words.buffer));
  const F_SETFD = 2;
  const calls = [
    ...(options.dieWithParent ? [dieWithParent] : []),
    ...options.fds.map(fd => call('fcntl', fd, F_SETFD, 0)),
    call('dup3', controlFd, CONTROL_FD, 0),
    call('dup3', arenaFd, ARENA_FD, 0),
    call('execveat', executable, addressOf(empty), addressOfWords(argv), addressOf(empty), AT.EMPTY_PATH),
  ];
  const opAt = (i: number) => batchAt + BATCH.ops + i * OP.size;
  if (opAt(calls.length) > scratch.bytes.length) throw new Error('starting an agent: too many file descriptors for it');
  view.setBigInt64(batchAt + BATCH.count, BigInt(calls.length), true);
  calls.forEach(({ name: callName, args }, i) => {
    view.setBigInt64(opAt(i), BigInt(syscallNumber(callName)), true);
    args.forEach((word, k) => {
      view.setBigInt64(opAt(i) + OP.arguments + 8 * k, BigInt(word as number | bigint), true);
    });
  });

  const pid = callCode(code, scratch.address, BigInt(CLONE_ARGS.size), scratch.address + BigInt(batchAt));
  trace.sink?.('nspawn', call('clone3', flags), pid);
  if (pid < 0) throw new SyscallError(call('clone3', flags), errnoByNumber(-pid));
  const pidfd = view.getInt32(pidfdAt, true);
  const failed = calls.findIndex((_, i) => view.getBigInt64(opAt(i) + OP.result, true) < 0n);
  if (failed < 0) return { pid, pidfd };
  killAndReap(pidfd);
  closeFd(pidfd);
  throw new SyscallError(calls[failed]!, errnoByNumber(Number(-view.getBigInt64(opAt(failed) + OP.result, true))));
}

function agentHandle(pid: number, pidfd: number, control: number, arena: Arena): Agent {
  const token = new Uint8Array(1);
  let attached = true;

  const wake = (calls: readonly Call[], written: WrittenOps) => {
    const woken = perform({ name: 'sendto', args: [control, token, 1, MSG.NOSIGNAL, null, 0], allow: ['EPIPE'] });
    if (woken !== 1) throw died(calls, written);
  };
  /** True: it answered. False: its end of the socket is closed. */
  const answered = (): boolean => {
    const read = perform({ name: 'read', args: [control, { out: token }, 1], allow: ['ECONNRESET', 'EAGAIN'] });
    if (read !== -EAGAIN) return read === 1;
    throw new AgentDiedError(`the container's agent (process ${pid}) is stuck since ${LONGEST_BATCH} s`);
  };

  const resultsOf = (calls: readonly Call[], written: WrittenOps): number[] => {
    const results: number[] = [];
    for (const [i, ran] of calls.entries()) {
      const result = written.result(i);
      if (result === undefined) break;
      trace.sink?.(`agent ${pid}`, ran, result);
      results.push(result);
    }
    written.copyBack();
    return results;
  };
  const died = (calls: readonly Call[], written: WrittenOps): AgentDiedError => {
    const at = calls.find((_, i) => written.result(i) === undefined) ?? calls.at(-1);
    const ending = endingOf(pidfd);
    const how = !ending
      ? ''
      : 'killed' in ending
        ? `: killed by signal ${ending.killed}`
        : `: exit status ${ending.exited}`;
    return new AgentDiedError(
      `the container's agent (process ${pid}) died in ${at ? formatCall(at) : 'its first step'}${how}`,
    );
  };

  /** Runs one batch; `between` happens while the agent is at it. */
  const runOnce = (calls: readonly Call[], earlier?: Earlier, between?: () => void): number[] => {
    const written = writeBatch(arena, calls, earlier);
    wake(calls, written);
    between?.();
    if (!answered()) throw died(calls, written);
    return resultsOf(calls, written);
  };

  return {
    pid,
    pidfd,
    arena,
    run(calls) {
      const results: number[] = [];
      const earlier = (call: Call) => results[calls.indexOf(call)];
      for (let tries = 1; results.length < calls.length; tries++) {
        // The agent knows one allowed error of each call; others interrupt the batch, and it goes on behind them.
        results.push(...runOnce(calls.slice(results.length), results.length ? earlier : undefined));
        const last = calls[results.length - 1]!;
        const result = results.at(-1)!;
        if (last.name === 'openat2' && result === -EAGAIN && tries < MOST_TRIES) {
          // A rename or mount anywhere on the machine while a `..` was resolved: see openat2(2).
          results.pop();
          continue;
        }
        if (!goesOn(last, result)) throw new SyscallError(last, errnoByNumber(-result));
      }
      return results;
    },
    exec(calls) {
      const written = writeBatch(arena, calls);
      wake(calls, written);
      if (answered()) return resultsOf(calls, written);
      if (calls[resultsOf(calls, written).length]?.name !== 'execve') throw died(calls, written);
      return undefined;
    },
    sendFds(fds) {
      const receive = receiveFds(CONTROL_FD, fds.length);
      const [result] = runOnce([receive.call], undefined, () => perform(sendFds(control, fds)));
      if (result! < 0) throw new SyscallError(receive.call, errnoByNumber(-result!));
      return receive.fds();
    },
    detach() {
      if (!attached) return;
      attached = false;
      closeFd(control);
      releaseArena(arena, true);
    },
    [Symbol.dispose]() {
      if (!attached) return;
      attached = false;
      killAndReap(pidfd);
      closeFd(pidfd);
      closeFd(control);
      releaseArena(arena, true);
    },
  };
}
