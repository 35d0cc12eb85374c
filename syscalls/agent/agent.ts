/**
 * Agents: child processes that carry out system calls for this one, between clone and exec. See programs.ts for the
 * code that they run, and layout.ts for the memory that is shared with them.
 */
import { allowing, type Call, call } from '../call.ts';
import { AF, MSG, O, SOCK } from '../constants.ts';
import { errnoByNumber, errnoNumber } from '../errno.ts';
import { closeFd, type OwnedFd, owned, passableFd, readableWithin } from '../fd.ts';
import { formatCall } from '../format.ts';
import { endingOf, keepExitStatuses, killAndReap, killAndReapChild, openProcess } from '../process.ts';
import { receiveFds, sendFds } from '../socket.ts';
import { perform, SyscallError, syscall, trace } from '../syscall.ts';
import { type Arena, forkAgent, goesOn, releaseArena, takeArena, type WrittenBatch, writeBatch } from './arena.ts';
import { type Child, cloneAgent, forkArguments } from './clone.ts';
import { ARENA_FD, CONTROL_FD, HEADER } from './layout.ts';

/** How long a batch may take before the agent is taken for stuck, in seconds: a dead network mount, a lost disk. */
const LONGEST_BATCH = 90;
/** How long the end of an agent that nothing holds may take, in seconds. */
const LONGEST_END = 5;
const EAGAIN = errnoNumber('EAGAIN');
/** How often an openat2 of a batch is tried again. */
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
  /** Seconds that a batch may take before the agent is taken for stuck. Default: 90. */
  longestBatch?: number;
}

/** An agent died, or was stuck, where it should have answered. Nothing more can be asked of it. */
export class AgentDiedError extends Error {
  override readonly name = 'AgentDiedError';
}

export interface Agent extends Disposable {
  readonly pid: number;
  /** The caller closes it (detach) or disposing of the agent does. */
  readonly pidfd: number;
  readonly arena: Arena;
  /**
   * Runs calls in their order; returns their results. An error stops the batch and throws SyscallError, unless the
   * call allows it; then its result is -errno. Throws AgentDiedError if the agent is gone. `meanwhile` is done by this
   * process while the agent is at it.
   */
  run(calls: readonly Call[], meanwhile?: () => void): number[];
  /**
   * As run, but an execve among the calls that succeeds ends it: undefined then. Throws AgentDiedError if the agent died
   * in another call; one that dies in an execve died as the program.
   */
  exec(calls: readonly Call[]): number[] | undefined;
  /**
   * Has calls run without waiting for it; whatever is asked next comes after them. What it returns waits for them and
   * gives the results of those that ran (-errno for an error), until something else is asked. Throws AgentDiedError.
   */
  send(calls: readonly Call[]): () => number[];
  /** Sends descriptors; returns the numbers that the agent has them under. */
  sendFds(fds: readonly number[]): number[];
  /** A copy of one of the agent's descriptors, under a number that another agent can have. Throws SyscallError. */
  takeFd(fd: number): OwnedFd;
  /** Has the agent's own descriptor, 3, under another number, which goes by itself when it executes a program. */
  moveControl(to: number): void;
  /**
   * Has it fork another agent, in new namespaces (CLONE.NEW* bits) and else in those that it is in: a child of this
   * process with the same descriptors. It must have been given those of the channel. It runs calls itself, `before` and
   * after that. Throws SyscallError, AgentDiedError.
   */
  fork(namespaces: bigint, channel: Channel, after?: readonly Call[], before?: readonly Call[]): Agent;
  /**
   * Lets go of the process, which goes on as what it has become; one that is still an agent ends. The pidfd is the
   * caller's now.
   */
  detach(): void;
}

/** Starts an agent. Throws SyscallError, or an Error that names what the machine lacks. */
export function startAgent(options: AgentOptions): Agent {
  if (options.fds.includes(CONTROL_FD) || options.fds.includes(ARENA_FD)) {
    throw new Error(`starting an agent: the descriptors ${CONTROL_FD} and ${ARENA_FD} are its own, use passableFd()`);
  }
  keepExitStatuses();
  using channel = makeChannel();
  const child = cloneAgent(options, channel.theirs, channel.arena.fd);
  return channel.connect(child, options.longestBatch ?? LONGEST_BATCH);
}

/** What an agent is talked to by, before there is one. Disposing of it takes it away, unless an agent was connected. */
export interface Channel extends Disposable {
  /** The agent's end of the control socket. Its number, and that of the arena's descriptor, are none of an agent's own. */
  readonly theirs: number;
  readonly arena: Arena;
  /** The handle of the agent that has got both. */
  connect(child: Child, longestBatch: number): Agent;
}

/** Throws SyscallError. */
export function makeChannel(): Channel {
  using undo = new DisposableStack();
  const arena = takeArena();
  undo.defer(() => releaseArena(arena, true));
  const { ours, theirs } = controlSockets();
  undo.defer(() => closeFd(ours));
  undo.defer(() => closeFd(theirs));
  let held = undo.move();
  return {
    theirs,
    arena,
    connect(child, longestBatch) {
      held = new DisposableStack();
      // With a copy of it here, the end of the agent would go unnoticed.
      closeFd(theirs);
      return agentHandle(child, ours, arena, longestBatch);
    },
    [Symbol.dispose]: () => held.dispose(),
  };
}

function controlSockets(): { ours: number; theirs: number } {
  const pair = new Int32Array(2);
  syscall('socketpair', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0, { out: new Uint8Array(pair.buffer) });
  const [ours, theirs] = [pair[0]!, pair[1]!];
  try {
    return { ours, theirs: passableFd(theirs) };
  } catch (error) {
    closeFd(ours);
    throw error;
  }
}

function agentHandle({ pid, pidfd }: Child, control: number, arena: Arena, longestBatch: number): Agent {
  const token = new Uint8Array(1);
  const wake = allowing(call('sendto', control, token, 1, MSG.NOSIGNAL, null, 0), 'EPIPE');
  const hear = allowing(call('read', control, { out: token }, 1), 'ECONNRESET');
  let attached = true;
  let agentsControl = CONTROL_FD;
  /** Whether the other end of the socket is known to be closed. */
  let over = false;
  /** Once set nothing is asked any more: a late answer would be taken for another batch's. */
  let lost: AgentDiedError | undefined;

  /** `how` it was lost, and in which call of the batch. */
  const lose = (how: string, { calls, result }: WrittenBatch, ending = '') => {
    const at = calls.find((_, i) => result(i) === undefined) ?? calls.at(-1)!;
    lost = new AgentDiedError(`the container's agent (process ${pid}) ${how} ${formatCall(at)}${ending}`);
    return lost;
  };

  const died = (batch: WrittenBatch) => lose('died in', batch, howItEnded(pidfd));

  /** Has the agent run a batch. Throws AgentDiedError if it was gone before. */
  const start = (batch: WrittenBatch): void => {
    if (perform(wake) !== 1) throw lose('died before', batch, howItEnded(pidfd));
  };
  /** Waits for it. False: the other end of the socket is closed. Throws AgentDiedError if the agent is stuck. */
  const isAnswered = (batch: WrittenBatch): boolean => {
    if (!readableWithin(control, longestBatch)) throw lose(`is stuck since ${longestBatch} s in`, batch);
    over = perform(hear) !== 1;
    batch.copyBack();
    return !over;
  };

  /** A batch that was sent, and not waited for. */
  let sent: WrittenBatch | undefined;

  const awaitSent = (): void => {
    if (sent && !isAnswered(sent)) throw died(sent);
    sent = undefined;
  };

  const write = (calls: readonly Call[]): WrittenBatch => {
    if (lost) throw lost;
    if (!attached) throw new AgentDiedError(`the container's agent (process ${pid}) was let go`);
    awaitSent();
    return writeBatch(arena, calls);
  };

  /** Adds what calls have returned since; a call that stopped the batch comes last. */
  const collect = (results: number[], { calls, result: resultOf }: WrittenBatch): void => {
    for (let i = results.length; i < calls.length; i++) {
      const result = resultOf(i);
      if (result === undefined) return;
      trace.sink?.(`agent ${pid}`, calls[i]!, result);
      results.push(result);
    }
  };

  /** Undefined: an execve has succeeded. */
  const runUntilExec = (calls: readonly Call[], mayExec: boolean, meanwhile?: () => void): number[] | undefined => {
    const batch = write(calls);
    const results: number[] = [];
    let tries = 1;
    while (results.length < calls.length) {
      // The agent knows one allowed error of each call; others stop the batch, and it goes on behind them.
      batch.startAt(results.length);
      start(batch);
      if (results.length === 0) meanwhile?.();
      const isBack = isAnswered(batch);
      collect(results, batch);
      if (!isBack) {
        const next = calls[results.length];
        if (!mayExec || !next?.name.startsWith('execve')) throw died(batch);
        trace.sink?.(`agent ${pid}`, next, 0);
        return undefined;
      }
      const last = calls[results.length - 1]!;
      const result = results.at(-1)!;
      if (last.name === 'openat2' && result === -EAGAIN && tries++ < MOST_TRIES) {
        // A rename or mount anywhere on the machine while a `..` was resolved: see openat2(2).
        results.pop();
        continue;
      }
      if (!goesOn(last, result)) throw new SyscallError(last, errnoByNumber(-result));
    }
    return results;
  };
  const run = (calls: readonly Call[], meanwhile?: () => void) => runUntilExec(calls, false, meanwhile)!;

  /**
   * True once the agent's end of the socket is closed. No process has the arena then: the kernel takes memory away
   * before it closes descriptors, at exec and at exit alike, and an init that an agent became has let go of both.
   */
  const isOver = (): boolean => {
    const hearNow = allowing(call('recvfrom', control, token, 1, MSG.DONTWAIT, null, null), 'EAGAIN', 'ECONNRESET');
    while (!over) {
      const received = perform(hearNow);
      if (received === -EAGAIN) return false;
      // One byte is a late answer; the end comes behind it.
      over = received !== 1;
    }
    return true;
  };
  const letGo = () => {
    attached = false;
    const reusable = isOver();
    closeFd(control);
    releaseArena(arena, reusable);
  };

  return {
    pid,
    pidfd,
    arena,
    run,
    exec: calls => runUntilExec(calls, true),
    send(calls) {
      const batch = write(calls);
      batch.startAt(0);
      start(batch);
      sent = batch;
      return () => {
        if (sent === batch) awaitSent();
        const results: number[] = [];
        collect(results, batch);
        return results;
      };
    },
    sendFds(fds) {
      if (fds.length === 0) return [];
      const send = sendFds(control, fds);
      const receive = receiveFds(agentsControl, fds.length);
      const batch = write([receive.call]);
      batch.startAt(0);
      start(batch);
      const result = perform(allowing(send));
      // The agent waits for a byte in any case.
      if (result < 0) perform(wake);
      if (!isAnswered(batch)) throw died(batch);
      if (result < 0) throw new SyscallError(send, errnoByNumber(-result));
      const got = batch.result(0)!;
      if (got < 0) throw new SyscallError(receive.call, errnoByNumber(-got));
      const received = receive.fds();
      if (received.length === fds.length) return received;
      run(received.map(fd => call('close', fd)));
      throw new Error(`handing ${fds.length} descriptors to an agent: it can have only ${received.length} more open`);
    },
    fork(namespaces, channel, after = [], before = []) {
      const given = [channel.theirs, channel.arena.fd] as const;
      const forking = forkAgent(forkArguments(namespaces), ...given);
      const calls = [...before, allowing(forking), ...given.map(fd => call('close', fd)), ...after];
      arena.words[HEADER.forked / 8] = 0n;
      try {
        const forked = run(calls)[before.length]!;
        if (forked < 0) throw new SyscallError(forking, errnoByNumber(-forked));
        return channel.connect({ pid: forked, pidfd: openProcess(forked) }, longestBatch);
      } catch (error) {
        const forked = Number(arena.words[HEADER.forked / 8]);
        if (forked !== 0) killAndReapChild(forked, LONGEST_END);
        throw error;
      }
    },
    takeFd(fd) {
      const taken = perform(allowing(call('pidfd_getfd', pidfd, fd, 0), 'EPERM'));
      if (taken >= 0) return owned(passableFd(taken));
      // Where nobody may look into others (Yama's ptrace_scope 3, ptrace(2)) the agent has to send it.
      const send = sendFds(agentsControl, [fd]);
      const receive = receiveFds(control, 1);
      const batch = write([send]);
      batch.startAt(0);
      start(batch);
      if (!readableWithin(control, longestBatch)) throw lose(`is stuck since ${longestBatch} s in`, batch);
      perform(allowing(receive.call));
      const [received] = receive.fds();
      // Without a descriptor that was the answer, or the end.
      if (received === undefined) {
        const result = batch.result(0);
        throw result === undefined ? died(batch) : new SyscallError(send, errnoByNumber(-result));
      }
      using undo = new DisposableStack();
      const copy = undo.use(owned(passableFd(received)));
      if (!isAnswered(batch)) throw died(batch);
      undo.move();
      return copy;
    },
    moveControl(to) {
      run([call('dup3', agentsControl, to, O.CLOEXEC)]);
      agentsControl = to;
      arena.words[HEADER.control / 8] = BigInt(to);
    },
    detach() {
      if (attached) letGo();
    },
    [Symbol.dispose]() {
      if (!attached) return;
      try {
        killAndReap(pidfd, longestBatch + LONGEST_END);
      } finally {
        closeFd(pidfd);
        letGo();
      }
    },
  };
}

/** `: killed by signal 9`, or nothing when it can't be told. */
function howItEnded(pidfd: number): string {
  const ending = readableWithin(pidfd, LONGEST_END) ? endingOf(pidfd) : undefined;
  if (!ending) return '';
  return 'killed' in ending ? `: killed by signal ${ending.killed}` : `: exit status ${ending.exited}`;
}
