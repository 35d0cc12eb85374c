/** Ends containers before their own end: when their time is over, or a program has enough of them. */
import { SIG } from '../../syscalls/constants.ts';
import { syscallNumber } from '../../syscalls/machine.ts';
import { signalProcess } from '../../syscalls/process.ts';
import { readIfThere } from '../host.ts';

/** How long a container has to end when it was asked to, in milliseconds. */
const GRACE_MS = 10_000;
/** The longest time that a timer of JavaScript's can wait: more wraps around. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export type StopReason = 'timeout' | 'aborted';

/** What may end a container, and what is to be known for that. */
export interface StopOptions {
  pid: number;
  pidfd: number;
  /** The signal that asks it to end; undefined: SIGTERM, if it would notice. */
  killSignal: number | undefined;
  /** Milliseconds from now. */
  timeout: number | undefined;
  signal: AbortSignal | undefined;
}

/** Disposing of it stops the waiting, and what was begun. */
export interface Stopping extends Disposable {
  /** Why the container was asked to end; undefined if it wasn't. */
  readonly reason: StopReason | undefined;
}

/** Watches over the time. Where it is over the container is asked to end, and ten seconds later killed. */
export function stopInTime({ pid, pidfd, killSignal, timeout, signal }: StopOptions): Stopping {
  const timers = new DisposableStack();
  let reason: StopReason | undefined;
  const stop = (why: StopReason) => {
    if (reason) return;
    reason = why;
    const asked = killSignal ?? (notices(pid, SIG.TERM) ? SIG.TERM : SIG.KILL);
    signalProcess(pidfd, asked);
    if (asked !== SIG.KILL) timers.use(after(GRACE_MS, () => signalProcess(pidfd, SIG.KILL)));
  };
  if (timeout !== undefined) timers.use(after(timeout, () => stop('timeout')));
  if (signal) {
    const abort = () => stop('aborted');
    signal.addEventListener('abort', abort);
    timers.defer(() => signal.removeEventListener('abort', abort));
    if (signal.aborted) abort();
  }
  return {
    get reason() {
      return reason;
    },
    [Symbol.dispose]: () => timers.dispose(),
  };
}

/**
 * Whether a process catches a signal, holds it back for later or waits for it: the first of a process namespace gets no
 * others, pid_namespaces(7). Masks are those of proc_pid_status(5).
 */
function notices(pid: number, signal: number): boolean {
  if (waitsForSignals(pid)) return true;
  const status = readIfThere(`/proc/${pid}/status`)?.toString() ?? '';
  const isFirst = /^NSpid:.*\s1$/m.test(status);
  const masks = [...status.matchAll(/^Sig(?:Cgt|Blk):\s*([0-9a-f]+)/gm)].map(([, mask]) => BigInt(`0x${mask}`));
  return !isFirst || masks.some(mask => (mask >> BigInt(signal - 1)) & 1n);
}

/** Those that are waited for are in none of the masks. The file is that of proc_pid_syscall(5). */
function waitsForSignals(pid: number): boolean {
  try {
    const [number] = readIfThere(`/proc/${pid}/syscall`)?.toString().split(' ') ?? [];
    return Number(number) === syscallNumber('rt_sigtimedwait');
  } catch {
    // An ordinary user can't see it of who has a subordinate id.
    return false;
  }
}

function after(milliseconds: number, work: () => void): Disposable {
  const end = performance.now() + milliseconds;
  let timer: NodeJS.Timeout;
  const wait = () => {
    const left = end - performance.now();
    timer = left > LONGEST_TIMER_MS ? setTimeout(wait, LONGEST_TIMER_MS) : setTimeout(work, left);
  };
  wait();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}
