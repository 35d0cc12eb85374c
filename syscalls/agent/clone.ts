/**
 * The birth of an agent: clone3(2) through the stub. The child does a handful of calls in the memory that it borrows
 * from this process; the last of them gives it its own.
 */
import { type Argument, argumentWord, call, type Placer, type ResultOf, writeCString } from '../call.ts';
import { AT, CLONE, F, MAP, PROT, SIG, SIG_BLOCK } from '../constants.ts';
import { errnoByNumber } from '../errno.ts';
import { closeFd } from '../fd.ts';
import { syscallNumber } from '../machine.ts';
import { dieWithParent, killAndReap, setSignalMask } from '../process.ts';
import { callCode, memoryAt, perform, SyscallError, syscall, trace } from '../syscall.ts';
import type { AgentOptions } from './agent.ts';
import { ARENA_ADDRESS, ARENA_FD, BATCH, CONTROL_FD, HEADER, OP } from './layout.ts';
import { loadPrograms } from './program.ts';

/** Offsets in struct clone_args, linux/sched.h */
const CLONE_ARGS = {
  flags: 0,
  pidfd: 8,
  parentTid: 24,
  exitSignal: 32,
  stack: 40,
  stackSize: 48,
  cgroup: 80,
  size: 88,
} as const;

/**
 * struct clone_args of an agent that another one forks: a child of the same parent, which shares no memory. The kernel
 * writes its process id down before it runs: so that is known also if the one that forks dies before it has the result.
 */
export function forkArguments(namespaces: bigint): Uint8Array {
  const bytes = new Uint8Array(CLONE_ARGS.size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(CLONE_ARGS.flags, namespaces | CLONE.PARENT | CLONE.PARENT_SETTID, true);
  view.setBigUint64(CLONE_ARGS.parentTid, BigInt(ARENA_ADDRESS + HEADER.forked), true);
  return bytes;
}

/** What the strings of execveat take, and more. */
const SIZE_OF_STRINGS = 256;
/** Seconds for the end of a child that has failed here, and exits by itself. */
const LONGEST_EXIT = 5;

/**
 * SIGTSTP, SIGTTIN and SIGTTOU of asm-generic/signal.h. A child that ^Z at a terminal stops before it has memory of its
 * own would hold this process, which can't be stopped then, until somebody lets it go on. It keeps them blocked: what
 * an agent becomes sets its own mask.
 */
const STOPS = new Uint8Array(new BigUint64Array([(1n << 19n) | (1n << 20n) | (1n << 21n)]).buffer);
const maskBefore = new Uint8Array(STOPS.length);
const blockStops = call('rt_sigprocmask', SIG_BLOCK, STOPS, { out: maskBefore }, STOPS.length);

export interface Child {
  pid: number;
  pidfd: number;
}

/** Memory outside the JavaScript heap for what the stub reads; kept, because its address is asked for each time. */
let memory: { address: number; bytes: Uint8Array } | undefined;
const PAGE = 4096;

/** Clones an agent that has the given control socket and arena. Throws SyscallError. */
export function cloneAgent(options: AgentOptions, controlFd: number, arenaFd: number): Child {
  const { agent, stub, stack } = loadPrograms();
  const calls = [
    ...(options.dieWithParent ? [dieWithParent] : []),
    // Off with close-on-exec.
    ...options.fds.map(fd => call('fcntl', fd, F.SETFD, 0)),
    call('dup3', controlFd, CONTROL_FD, 0),
    call('dup3', arenaFd, ARENA_FD, 0),
    call('execveat', agent, '', ['nspawn'], [], AT.EMPTY_PATH),
  ];
  const pidfdAt = CLONE_ARGS.size;
  const batchAt = pidfdAt + 8;
  const opAt = (i: number) => batchAt + BATCH.ops + i * OP.size;
  const { address, bytes } = memoryFor(opAt(calls.length) + SIZE_OF_STRINGS);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  bytes.fill(0, 0, opAt(calls.length));

  const flags = options.namespaces | CLONE.VM | CLONE.VFORK | CLONE.PIDFD | CLONE.CLEAR_SIGHAND;
  view.setBigUint64(CLONE_ARGS.flags, options.cgroup === undefined ? flags : flags | CLONE.INTO_CGROUP, true);
  view.setBigUint64(CLONE_ARGS.pidfd, BigInt(address + pidfdAt), true);
  view.setBigUint64(CLONE_ARGS.exitSignal, BigInt(SIG.CHLD), true);
  view.setBigUint64(CLONE_ARGS.stack, stack.address, true);
  view.setBigUint64(CLONE_ARGS.stackSize, BigInt(stack.size), true);
  view.setBigUint64(CLONE_ARGS.cgroup, BigInt(options.cgroup ?? 0), true);
  view.setBigInt64(batchAt + BATCH.count, BigInt(calls.length), true);
  let end = opAt(calls.length);
  const place: Placer = placed => {
    const at = end;
    const size = typeof placed === 'string' ? writeCString(placed, bytes, at) : placed.length;
    if (typeof placed !== 'string') bytes.set(placed, at);
    end = (at + size + 7) & ~7;
    return address + at;
  };
  for (const [i, { name, args }] of calls.entries()) {
    view.setBigInt64(opAt(i) + OP.number, BigInt(syscallNumber(name)), true);
    for (const [k, argument] of args.entries()) {
      const word = argumentWord(argument as Exclude<Argument, ResultOf>, place);
      view.setBigInt64(opAt(i) + OP.arguments + 8 * k, BigInt(word), true);
    }
  }

  perform(blockStops);
  const pid = callCode(stub, BigInt(address), BigInt(CLONE_ARGS.size), BigInt(address + batchAt));
  perform(setSignalMask(maskBefore));
  trace.sink?.('nspawn', call('clone3', flags), pid);
  if (pid < 0) throw new SyscallError(call('clone3', flags), errnoByNumber(-pid));
  const pidfd = view.getInt32(pidfdAt, true);
  const resultAt = (i: number) => Number(view.getBigInt64(opAt(i) + OP.result, true));
  const failed = calls.find((_, i) => resultAt(i) < 0);
  if (!failed) return { pid, pidfd };
  killAndReap(pidfd, LONGEST_EXIT);
  closeFd(pidfd);
  throw new SyscallError(failed, errnoByNumber(-resultAt(calls.indexOf(failed))));
}

/** At least so much memory. Throws SyscallError. */
function memoryFor(size: number) {
  if (memory && memory.bytes.length >= size) return memory;
  if (memory) syscall('munmap', memory.address, memory.bytes.length);
  memory = undefined;
  const whole = Math.ceil(size / PAGE) * PAGE;
  const address = syscall('mmap', 0, whole, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);
  memory = { address, bytes: memoryAt(BigInt(address), whole) };
  return memory;
}
