/** Resource limits of the payload: the kernel's own defaults, so that they don't depend on who starts nspawn. */
import process from 'node:process';
import type { Call } from '../../syscalls/call.ts';
import { getRlimit, type LimitValue, setRlimit } from '../../syscalls/process.ts';
import { readHostFile } from '../host.ts';
import type { Rlimit } from '../options.ts';
import type { Piece } from './attempt.ts';

type Limit = { number: number; soft: LimitValue; hard: LimitValue } | { number: number; ofInit: true };

/** Numbers of the limits, asm-generic/resource.h, with what the kernel gives its first process (INIT_RLIMITS). */
const LIMITS: Readonly<Record<string, Limit>> = {
  CPU: { number: 0, soft: 'infinity', hard: 'infinity' },
  FSIZE: { number: 1, soft: 'infinity', hard: 'infinity' },
  DATA: { number: 2, soft: 'infinity', hard: 'infinity' },
  STACK: { number: 3, soft: 8n << 20n, hard: 'infinity' },
  CORE: { number: 4, soft: 0n, hard: 'infinity' },
  RSS: { number: 5, soft: 'infinity', hard: 'infinity' },
  // By the size of memory, at boot: the first process still has it.
  NPROC: { number: 6, ofInit: true },
  NOFILE: { number: 7, soft: 1024n, hard: 4096n },
  MEMLOCK: { number: 8, soft: 8n << 20n, hard: 8n << 20n },
  AS: { number: 9, soft: 'infinity', hard: 'infinity' },
  LOCKS: { number: 10, soft: 'infinity', hard: 'infinity' },
  SIGPENDING: { number: 11, ofInit: true },
  MSGQUEUE: { number: 12, soft: 819200n, hard: 819200n },
  NICE: { number: 13, soft: 0n, hard: 0n },
  RTPRIO: { number: 14, soft: 0n, hard: 0n },
  RTTIME: { number: 15, soft: 'infinity', hard: 'infinity' },
};

const lower = (a: LimitValue, b: LimitValue): LimitValue => (a === 'infinity' ? b : b === 'infinity' || a < b ? a : b);

/** The calls that set all limits of the caller, or of a process: numbers that are asked for must be possible. */
export function limitPieces(asked: readonly Rlimit[], pid = 0): Piece[] {
  return Object.entries(LIMITS).map(([name, limit]) => {
    const wanted = asked.find(rlimit => rlimit.name === name);
    return {
      doing: `setting the resource limit ${name}${wanted ? ` to ${wanted.soft}:${wanted.hard}` : ''}`,
      calls: wanted ? askedLimit(limit.number, wanted, pid) : defaultLimit(limit, pid),
    };
  });
}

/** None is as high a limit as there may be: of open files, the kernel takes only as many as it can count. */
function askedLimit(number: number, { name, soft, hard }: Rlimit, pid: number): Call[] {
  if (hard !== 'infinity') return [setRlimit(number, soft, hard, pid)];
  const most = name === 'NOFILE' ? BigInt(readHostFile('/proc/sys/fs/nr_open').toString().trim()) : hard;
  return highestLimit(number, lower(soft, most), most, pid);
}

function defaultLimit(limit: Limit, pid: number): Call[] {
  // Only root may ask about the first process.
  if ('ofInit' in limit && process.geteuid!() !== 0) return [];
  const { soft, hard } = 'ofInit' in limit ? getRlimit(INIT, limit.number) : limit;
  return highestLimit(limit.number, soft, hard, pid);
}

/** Raising a hard limit takes CAP_SYS_RESOURCE, which even root may lack: then it stays where it is. */
function highestLimit(number: number, soft: LimitValue, hard: LimitValue, pid: number): Call[] {
  const current = getRlimit(0, number);
  if (current.soft === soft && current.hard === hard) return [];
  const possible = lower(hard, current.hard);
  const lowered = setRlimit(number, lower(soft, possible), possible, pid);
  return possible === hard ? [lowered] : [lowered, { ...setRlimit(number, soft, hard, pid), allow: ['EPERM'] }];
}

const INIT = 1;
