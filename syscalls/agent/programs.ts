/**
 * The programs that run without JavaScript: the stub between clone and exec in borrowed memory, the agent, which can
 * fork another one, and the init of --as-pid2, which an agent can turn into. The janitor is an agent that has a will.
 */
import type { Assembler } from './assembler.ts';
import { ARENA_ADDRESS, ARENA_FD, ARENA_SIZE, BATCH, BECOME_INIT, CONTROL_FD, FLAG, HEADER, OP } from './layout.ts';

/** Gives an architecture's number of a system call. */
export type Numbers = Readonly<Record<string, number>>;

const EXIT_FAILURE = 1;
const EXIT_EXCEPTION = 255;
/** include/uapi/asm-generic/mman-common.h */
const PROT_READ_WRITE = 3;
const MAP_SHARED_FIXED = 0x11;
const MSG_NOSIGNAL = 0x4000;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const SIGCHLD = 17;
const LAST_FD = 0xffffffff;
/** include/uapi/linux/wait.h; CLD_EXITED is in asm-generic/siginfo.h */
const P_ALL = 0;
const WNOHANG_WEXITED = 1 | 4;
const CLD_EXITED = 1;
/** Offsets in siginfo_t as waitid fills it on 64-bit machines, asm-generic/siginfo.h */
const SIGINFO = { code: 8, pid: 16, status: 24, size: 128 } as const;

type SyscallArgument = number | 'kept';

/** One system call; 'kept' leaves a register as it is. */
function call(a: Assembler, numbers: Numbers, name: string, ...args: SyscallArgument[]): void {
  const number = numbers[name];
  if (number === undefined) throw new Error(`assembling ${name}: this architecture has no such system call`);
  args.forEach((value, i) => {
    if (value !== 'kept') a.set(`a${i}` as 'a0', value);
  });
  a.set('nr', number);
  a.syscall();
}

/**
 * Runs the batch at s0, and goes on behind it when it is done or an op has failed. Uses s0 (the op), s1 (ops left)
 * and s2. `special` is the label that ops with a negative number jump to; it comes back to label 'ran' with a result.
 */
function runBatch(a: Assembler, special?: string): void {
  a.load('s1', 's0', BATCH.count);
  a.add('s0', BATCH.ops);
  a.label('next');
  a.jumpIfZero('s1', 'end');
  a.load('s2', 's0', OP.flags);
  for (let i = 0; i < 6; i++) {
    const register = `a${i}` as 'a0';
    a.load(register, 's0', OP.arguments + 8 * i);
    a.jumpIfBitClear('s2', i, `direct ${i}`);
    a.load(register, register, 0);
    a.label(`direct ${i}`);
  }
  a.load('nr', 's0', OP.number);
  if (special) a.jumpIfNegative('nr', special);
  a.syscall();
  a.label('ran');
  a.store('result', 's0', OP.result);
  a.jumpIfError('error');
  a.label('done');
  a.add('s0', OP.size);
  a.add('s1', -1);
  a.jump('next');
  a.label('error');
  // The result is -errno: with the allowed errno added, it is 0.
  a.load('s3', 's0', OP.allowed);
  a.addRegister('s3', 'result');
  a.jumpIfZero('s3', 'done');
  a.jumpIfBitClear('s2', FLAG.anyError, 'end');
  a.jump('done');
  a.label('end');
}

/**
 * `long stub(struct clone_args *args, size_t size, batch *batch)`: clone3, then in the child the batch, which ends in
 * execveat. The child runs on a stack of its own in the parent's memory (CLONE_VM), while the parent is held
 * (CLONE_VFORK); it writes nothing but the batch's results.
 */
export const stubProgram =
  (numbers: Numbers) =>
  (a: Assembler): void => {
    a.move('a4', 'a2');
    call(a, numbers, 'clone3', 'kept', 'kept');
    a.jumpIfZero('result', 'child');
    a.return();
    a.label('child');
    a.move('s0', 'a4');
    runBatch(a);
    call(a, numbers, 'exit_group', EXIT_FAILURE);
  };

/**
 * The agent: maps the arena, then for each byte that comes over the control socket runs the batch that the header
 * names and sends a byte back. When the parent's end is gone it runs the will, if there is one, and exits.
 */
export const agentProgram =
  (numbers: Numbers) =>
  (a: Assembler): void => {
    a.label('start');
    call(a, numbers, 'mmap', ARENA_ADDRESS, ARENA_SIZE, PROT_READ_WRITE, MAP_SHARED_FIXED, ARENA_FD, 0);
    a.jumpIfError('exit');
    call(a, numbers, 'close', ARENA_FD);
    // What ends the parent's wait: the socket closes when the payload takes over.
    call(a, numbers, 'fcntl', CONTROL_FD, F_SETFD, FD_CLOEXEC);

    a.label('wait');
    a.set('s3', ARENA_ADDRESS);
    a.load('a0', 's3', HEADER.control);
    call(a, numbers, 'read', 'kept', ARENA_ADDRESS + HEADER.token, 1);
    a.add('result', -1);
    a.set('s4', 0);
    a.load('s0', 's3', HEADER.batch);
    a.jumpIfZero('result', 'run');
    a.set('s4', 1);
    a.load('s0', 's3', HEADER.will);
    a.jumpIfZero('s0', 'exit');

    a.label('run');
    runBatch(a, 'special');
    a.jumpIfZero('s4', 'answer');
    a.label('exit');
    call(a, numbers, 'exit_group', EXIT_FAILURE);
    a.label('answer');
    a.set('s3', ARENA_ADDRESS);
    a.load('a0', 's3', HEADER.control);
    call(a, numbers, 'sendto', 'kept', ARENA_ADDRESS + HEADER.token, 1, MSG_NOSIGNAL, 0, 0);
    a.jump('wait');

    a.label('special');
    a.add('nr', -BECOME_INIT);
    a.jumpIfZero('nr', 'become init');
    forkAgent(a, numbers);
    becomeInit(a, numbers);
  };

/**
 * FORK_AGENT(struct clone_args *args, size_t size, control, arena): clone3 without shared memory. The child is an agent
 * of its own, with these two descriptors for its control socket and arena; the caller goes on with the batch.
 */
function forkAgent(a: Assembler, numbers: Numbers): void {
  call(a, numbers, 'clone3', 'kept', 'kept', 'kept', 'kept');
  a.jumpIfZero('result', 'forked');
  a.jump('ran');
  a.label('forked');
  a.move('s0', 'a2');
  a.move('s1', 'a3');
  a.move('a0', 's0');
  call(a, numbers, 'dup3', 'kept', CONTROL_FD, 0);
  a.jumpIfError('exit');
  a.move('a0', 's1');
  call(a, numbers, 'dup3', 'kept', ARENA_FD, 0);
  a.jumpIfError('exit');
  // With a copy left, the control socket would not close when the payload takes over.
  a.move('a0', 's0');
  call(a, numbers, 'close', 'kept');
  a.move('a0', 's1');
  call(a, numbers, 'close', 'kept');
  a.jump('start');
}

/**
 * Forks. The child goes on with the batch; the caller, process 1 of its namespace, becomes an init that lets go of
 * all it shares with the parent, reaps, hands signals on to the child, and ends with the child's exit status, or 255
 * if a signal ended it, as systemd-nspawn's does. The signals must all have been blocked before, so that sigtimedwait sees them.
 */
function becomeInit(a: Assembler, numbers: Numbers): void {
  a.label('become init');
  call(a, numbers, 'clone', SIGCHLD, 0, 0, 0, 0);
  a.jumpIfZero('result', 'ran');
  a.jumpIfError('ran');
  a.move('s0', 'result');
  // A siginfo_t, and below it the signal set of all ones that rt_sigtimedwait waits for.
  a.add('sp', -(SIGINFO.size + 16));
  a.move('s3', 'sp');
  a.move('s4', 'sp');
  a.add('s4', SIGINFO.size);
  a.set('s1', -1);
  a.store('s1', 's4', 0);
  call(a, numbers, 'munmap', ARENA_ADDRESS, ARENA_SIZE);
  // Streams too: a payload that closes its own must be seen to.
  call(a, numbers, 'close_range', 0, LAST_FD, 0);

  a.label('signal');
  a.move('a0', 's4');
  a.move('a1', 's3');
  call(a, numbers, 'rt_sigtimedwait', 'kept', 'kept', 0, 8);
  a.jumpIfError('signal');
  a.move('s1', 'result');
  a.set('s2', SIGCHLD);
  a.jumpIfEqual('s1', 's2', 'reap');
  a.move('a0', 's0');
  a.move('a1', 's1');
  call(a, numbers, 'kill', 'kept', 'kept');
  a.jump('signal');

  a.label('reap');
  // waitid leaves the pid alone when no child has ended.
  a.set('s1', 0);
  a.store('s1', 's3', SIGINFO.pid);
  a.move('a2', 's3');
  call(a, numbers, 'waitid', P_ALL, 0, 'kept', WNOHANG_WEXITED, 0);
  a.jumpIfError('signal');
  a.load32('s1', 's3', SIGINFO.pid);
  a.jumpIfZero('s1', 'signal');
  a.jumpIfEqual('s1', 's0', 'payload ended');
  a.jump('reap');

  a.label('payload ended');
  a.load32('s1', 's3', SIGINFO.code);
  a.set('s2', CLD_EXITED);
  a.jumpIfEqual('s1', 's2', 'payload exited');
  call(a, numbers, 'exit_group', EXIT_EXCEPTION);
  a.label('payload exited');
  a.load32('a0', 's3', SIGINFO.status);
  call(a, numbers, 'exit_group', 'kept');
}
