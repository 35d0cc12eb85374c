/** Processes by their pidfd, and what a process may change about itself. */
import { allowing, type Call, call } from './call.ts';
import { CLD, P, PR, PR_CAP_AMBIENT, SIG, SIG_SETMASK, W } from './constants.ts';
import { readableWithin } from './fd.ts';
import { perform, syscall } from './syscall.ts';

/** How a process ended: its exit status, or the number of the signal that killed it. */
export type Ending = { exited: number } | { killed: number };

/** What a process has used, with all those that it, or they, have waited for: getrusage(2). */
export interface ProcessUsage {
  /** CPU time in seconds. */
  cpuTime: number;
  /** The most memory that one of them had at a time, in bytes. Before execve(2) it may have been another program's. */
  largest: number;
}

/** The end of a child that was reaped. */
export interface Reaped {
  ending: Ending;
  used: ProcessUsage;
}

/** Offsets in siginfo_t as waitid(2) fills it on 64-bit machines, asm-generic/siginfo.h */
const SIGINFO = { code: 8, pid: 16, status: 24, size: 128 } as const;

/** Offsets in struct rusage as the kernel fills it on 64-bit machines, linux/resource.h: seconds, microseconds, KiB. */
const RUSAGE = { user: 0, system: 16, largest: 32, size: 144 } as const;

/** How a child has ended; undefined while it runs, 'lost' when another part of this process has reaped it. */
function wait(pidfd: number, options: number): Reaped | 'lost' | undefined {
  const info = new DataView(new ArrayBuffer(SIGINFO.size));
  const usage = new BigInt64Array(RUSAGE.size / 8);
  const [told, used] = [info, usage].map(({ buffer }) => ({ out: new Uint8Array(buffer as ArrayBuffer) }));
  // The last one is an argument of the call itself, which the function of the C library doesn't have.
  const waitid = call('waitid', P.PIDFD, pidfd, told!, W.EXITED | options, used!);
  if (perform(allowing(waitid, 'ECHILD')) < 0) return 'lost';
  if (info.getInt32(SIGINFO.pid, true) === 0) return undefined;
  const status = info.getInt32(SIGINFO.status, true);
  const ending = info.getInt32(SIGINFO.code, true) === CLD.EXITED ? { exited: status } : { killed: status };
  const time = (at: number) => Number(usage[at / 8]!) + Number(usage[at / 8 + 1]!) / 1e6;
  const cpuTime = time(RUSAGE.user) + time(RUSAGE.system);
  return { ending, used: { cpuTime, largest: Number(usage[RUSAGE.largest / 8]!) * 1024 } };
}

/** Reaps a child if it has ended; undefined while it runs. Throws an Error if somebody else has reaped it. */
export function reapIfEnded(pidfd: number): Reaped | undefined {
  const reaped = wait(pidfd, W.NOHANG);
  if (reaped === 'lost')
    throw new Error('waiting for a child process: its exit status is lost, another part of this program has reaped it');
  return reaped;
}

/** How a child has ended, without reaping it; undefined while it runs, or if somebody else has reaped it. */
export function endingOf(pidfd: number): Ending | undefined {
  const ended = wait(pidfd, W.NOHANG | W.NOWAIT);
  return ended === 'lost' ? undefined : ended?.ending;
}

/**
 * Kills a child and reaps it. One that a dead disk or network mount holds in the kernel is waited for this many
 * seconds, and left to itself then. Throws SyscallError.
 */
export function killAndReap(pidfd: number, seconds: number): void {
  signalProcess(pidfd, SIG.KILL);
  if (readableWithin(pidfd, seconds)) wait(pidfd, W.NOHANG);
}

/** The same by a child's number, its own until it is reaped: without a descriptor, as there may be none left. */
export function killAndReapChild(pid: number, seconds: number): void {
  perform(allowing(call('kill', pid, SIG.KILL), 'ESRCH'));
  const end = performance.now() + seconds * 1000;
  const reap = allowing(call('wait4', pid, null, W.NOHANG, null), 'ECHILD');
  while (perform(reap) === 0 && performance.now() < end) perform(sleep(1));
}

/** Seconds that a will waits for a process it has killed. */
const DEATH_SECONDS = 10n;

/** Kills a process and waits until it is gone: for a will, so as data. */
export function killAndWait(pidfd: number): Call[] {
  // struct pollfd: descriptor, events and returned events; struct timespec: seconds, nanoseconds
  const poll = new Uint8Array(new Int32Array([pidfd, POLLIN]).buffer);
  const timeout = new Uint8Array(new BigInt64Array([DEATH_SECONDS, 0n]).buffer);
  return [call('pidfd_send_signal', pidfd, SIG.KILL, null, 0), call('ppoll', { out: poll }, 1, timeout, null, 0)];
}
/** asm-generic/poll.h */
const POLLIN = 1;

/** nanosleep(2), with struct timespec: seconds, nanoseconds. */
export const sleep = (milliseconds: number): Call =>
  call(
    'nanosleep',
    new Uint8Array(
      new BigInt64Array([BigInt(Math.floor(milliseconds / 1000)), BigInt((milliseconds % 1000) * 1_000_000)]).buffer,
    ),
    null,
  );

/**
 * An ignored SIGCHLD, which a program may be started with, makes the kernel forget how children end: waitid(2), NOTES.
 * This puts it back to its default. Throws SyscallError.
 */
export function keepExitStatuses(): void {
  const action = new BigUint64Array(SIGACTION_SIZE / 8);
  syscall('rt_sigaction', SIG.CHLD, null, { out: new Uint8Array(action.buffer) }, SIGSET_SIZE);
  if (action[0] === SIG_IGN) perform(defaultSignalAction(SIG.CHLD));
}

/** Sends a signal; a process that has ended already gets none. Throws SyscallError. */
export function signalProcess(pidfd: number, signal: number): void {
  try {
    syscall('pidfd_send_signal', pidfd, signal, null, 0);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ESRCH') throw error;
  }
}

/** A descriptor for a process. Throws SyscallError; ESRCH when there is none of this number. */
export const openProcess = (pid: number): number => syscall('pidfd_open', pid, 0);

// What the agent does to itself on its way to the payload.

/** struct sigaction of the kernel: handler, flags, restorer, mask; all zero is SIG_DFL. asm-generic/signal-defs.h */
const SIGACTION_SIZE = 32;
const DEFAULT_ACTION = new Uint8Array(SIGACTION_SIZE);
const SIG_IGN = 1n;
const SIGSET_SIZE = 8;
export const defaultSignalAction = (signal: number): Call =>
  call('rt_sigaction', signal, DEFAULT_ACTION, null, SIGSET_SIZE);
export const setSignalMask = (blocked: Uint8Array): Call =>
  call('rt_sigprocmask', SIG_SETMASK, blocked, null, SIGSET_SIZE);
export const NO_SIGNALS = new Uint8Array(SIGSET_SIZE);
export const ALL_SIGNALS = new Uint8Array(SIGSET_SIZE).fill(0xff);

export const dieWithParent: Call = call('prctl', PR.SET_PDEATHSIG, SIG.KILL, 0, 0, 0);
/**
 * Leaves the session and process group of this process, so that what a terminal sends to them (^C, ^Z, its end) is for
 * this process alone, which ends in their order what it has started.
 */
export const leaveSession: Call = call('setsid');
export const noNewPrivileges: Call = call('prctl', PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0);
export const dropBounding = (capability: number): Call => call('prctl', PR.CAPBSET_DROP, capability, 0, 0, 0);
export const clearAmbient: Call = call('prctl', PR.CAP_AMBIENT, PR_CAP_AMBIENT.CLEAR_ALL, 0, 0, 0);
/** The capability must be permitted and inheritable: see capabilities(7). */
export const raiseAmbient = (capability: number): Call =>
  call('prctl', PR.CAP_AMBIENT, PR_CAP_AMBIENT.RAISE, capability, 0, 0);
/** A change from root to another user leaves the capabilities permitted, up to the next execve. */
export const keepCapabilities: Call = call('prctl', PR.SET_KEEPCAPS, 1, 0, 0, 0);

/** linux/capability.h: _LINUX_CAPABILITY_VERSION_3 */
const CAPABILITY_VERSION = 0x20080522;

/**
 * Makes these capabilities, as bits by their numbers, the inheritable set of an agent, which has this process's sets; see
 * capset(2); or with `hasAll` all of them, as root of a user namespace does. Left alone, it would hand what nspawn's caller
 * inherited on to programs with file capabilities. Throws SyscallError.
 */
export function setInheritable(mask: bigint, hasAll = false): Call {
  // Twice (for 32 capabilities each) effective, permitted, inheritable.
  const sets = new Uint32Array(6).fill(hasAll ? 0xffffffff : 0);
  if (!hasAll) syscall('capget', capabilityHeader(), { out: new Uint8Array(sets.buffer) });
  sets[2] = Number(mask & 0xffffffffn);
  sets[5] = Number(mask >> 32n);
  return call('capset', capabilityHeader(), new Uint8Array(sets.buffer));
}

/** Leaves the caller these capabilities, as bits by their numbers, of which it must have all; none is inheritable. */
export function setCapabilities(mask: bigint): Call {
  const [low, high] = [Number(mask & 0xffffffffn), Number(mask >> 32n)];
  return call('capset', capabilityHeader(), new Uint8Array(new Uint32Array([low, low, 0, high, high, 0]).buffer));
}

const capabilityHeader = () => new Uint8Array(new Uint32Array([CAPABILITY_VERSION, 0]).buffer);

/** Joins namespaces (CLONE.NEW* bits) of the process that a pidfd stands for; that of processes is for children only. */
export const joinNamespaces = (pidfd: number, namespaces: bigint): Call => call('setns', pidfd, namespaces);

export const setPersonality = (persona: number): Call => call('personality', persona);
export const setHostname = (name: string): Call => call('sethostname', name, Buffer.byteLength(name));
export const setGroups = (groups: readonly number[]): Call =>
  call('setgroups', groups.length, new Uint8Array(new Uint32Array(groups).buffer));
export const setGid = (gid: number): Call => call('setresgid', gid, gid, gid);
export const setUid = (uid: number): Call => call('setresuid', uid, uid, uid);
/**
 * Lets an agent with this process's capabilities make files that belong to somebody else, with all its rights: that change
 * would take those over files away, which the last call gives back. See setfsuid(2). Throws SyscallError.
 */
export const actAs = (owner: number): Call[] => [call('setfsgid', owner), call('setfsuid', owner), setInheritable(0n)];
export const setUmask = (mask: number): Call => call('umask', mask);

/** A limit in the units of setrlimit(2). */
export type LimitValue = bigint | 'infinity';
/** RLIM_INFINITY of asm-generic/resource.h: all ones. */
const INFINITY = 0xffff_ffff_ffff_ffffn;

/** Sets a resource limit of a process, by its number; 0 is the caller. */
export function setRlimit(resource: number, soft: LimitValue, hard: LimitValue, pid = 0): Call {
  const limits = new BigUint64Array([soft, hard].map(limit => (limit === 'infinity' ? INFINITY : limit)));
  return call('prlimit64', pid, resource, new Uint8Array(limits.buffer), null);
}

/** A process's resource limit; 0 is this process. Throws SyscallError. */
export function getRlimit(pid: number, resource: number): { soft: LimitValue; hard: LimitValue } {
  syscall('prlimit64', pid, resource, null, LIMITS);
  return { soft: limitValue(limits[0]!), hard: limitValue(limits[1]!) };
}

const limitValue = (limit: bigint): LimitValue => (limit === INFINITY ? 'infinity' : limit);
/** struct rlimit64. Made once, as buffers take long to make, and a container asks often. */
const limits = new BigUint64Array(2);
const LIMITS = { out: new Uint8Array(limits.buffer) };

/** sched_setaffinity for the caller; `cpus` are CPU numbers. */
export function setAffinity(cpus: readonly number[]): Call {
  const mask = new Uint8Array((Math.max(...cpus, 0) >> 6) * 8 + 8);
  for (const cpu of cpus) mask[cpu >> 3]! |= 1 << (cpu & 7);
  return call('sched_setaffinity', 0, mask.length, mask);
}

/** The name that ps shows, at most 15 bytes. */
export const setName = (name: string): Call => call('prctl', PR.SET_NAME, name, 0, 0, 0);
