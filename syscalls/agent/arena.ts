/** The memory shared with an agent: batches are written here, with all that their arguments point to. */
import { type Argument, allows, argumentWord, type Call, type Placer, type ResultOf, writeCString } from '../call.ts';
import { MAP, MFD, PROT } from '../constants.ts';
import { errnoByNumber, errnoNumber } from '../errno.ts';
import { closeFd, passableFd } from '../fd.ts';
import { syscallNumber } from '../machine.ts';
import { memoryAt, syscall } from '../syscall.ts';
import {
  ARENA_ADDRESS,
  ARENA_SIZE,
  BATCH,
  BECOME_INIT,
  CONTROL_FD,
  FLAG,
  FORK_AGENT,
  HEADER,
  NOT_RUN,
  OP,
  WILL,
} from './layout.ts';

export interface Arena {
  fd: number;
  /** Where this process has it mapped. */
  address: bigint;
  /** Its first USUAL_VIEW bytes, or all of it: see viewAll(). */
  bytes: Uint8Array;
  words: BigInt64Array;
  /** The same memory in 32-bit halves, the lower one first. */
  halves: Int32Array;
}

/** Arenas that no agent holds any more, to be used again: making one costs more than a small container's set-up. */
const free: Arena[] = [];
const MOST_FREE = 4;

/**
 * What nearly all batches fit in. The JavaScript engine counts what it can see as memory that it uses itself: if it saw all
 * of two or three arenas, it would collect garbage in the middle of a start.
 */
const USUAL_VIEW = 256 << 10;

/** An arena of ARENA_SIZE bytes, of which only touched pages take memory. Throws SyscallError. */
export function takeArena(): Arena {
  const arena = free.pop() ?? makeArena();
  arena.words[HEADER.control / 8] = BigInt(CONTROL_FD);
  return arena;
}

function makeArena(): Arena {
  const fd = passableFd(syscall('memfd_create', 'nspawn-arena', MFD.CLOEXEC));
  try {
    return mapArena(fd);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function mapArena(fd: number): Arena {
  syscall('ftruncate', fd, ARENA_SIZE);
  const address = BigInt(syscall('mmap', 0, ARENA_SIZE, PROT.READ | PROT.WRITE, MAP.SHARED, fd, 0));
  return { fd, address, ...view(address, USUAL_VIEW) };
}

function view(address: bigint, size: number): Pick<Arena, 'bytes' | 'words' | 'halves'> {
  const bytes = memoryAt(address, size);
  const { buffer, byteOffset } = bytes;
  return {
    bytes,
    words: new BigInt64Array(buffer, byteOffset, size / 8),
    halves: new Int32Array(buffer, byteOffset, size / 4),
  };
}

/** For who uses more of an arena than its beginning. */
export function viewAll(arena: Arena): void {
  if (arena.bytes.length < ARENA_SIZE) Object.assign(arena, view(arena.address, ARENA_SIZE));
}

/** Gives an arena back. `reusable` only when no other process can still have it mapped. */
export function releaseArena(arena: Arena, reusable: boolean): void {
  if (reusable && free.length < MOST_FREE) {
    arena.words.fill(0n, 0, HEADER.size / 8);
    free.push(arena);
    return;
  }
  syscall('munmap', arena.address, ARENA_SIZE);
  closeFd(arena.fd);
}

/** Ops that stand in an arena. */
export interface WrittenOps {
  /** Offset of the first byte behind the ops' data. */
  end: number;
  /** The result of op `i`: undefined while it has not run, else what the kernel returned (-errno for an error). */
  result(i: number): number | undefined;
  /** Copies what the ops have written into the calls' own buffers. */
  copyBack(): void;
}

/** A batch that stands in an arena. */
export interface WrittenBatch extends WrittenOps {
  calls: readonly Call[];
  /** Makes the calls from this one on the batch to run next. Those before it must have run; itself may have. */
  startAt(first: number): void;
}

/** Writes calls as a batch. Throws if they don't fit. */
export function writeBatch(arena: Arena, calls: readonly Call[]): WrittenBatch {
  const opsAt = HEADER.size + BATCH.ops;
  const write = () => {
    const to = Math.min(arena.bytes.length, WILL.start);
    return writeOps(arena, calls, opsAt, { from: opsAt + calls.length * OP.size, to });
  };
  let written: WrittenOps;
  try {
    written = write();
  } catch (error) {
    if (!(error instanceof TooLongError) || arena.bytes.length === ARENA_SIZE) throw error;
    viewAll(arena);
    written = write();
  }
  return {
    ...written,
    calls,
    startAt(first) {
      // The count in front of an op lies over the end of the one before it, which has run.
      const start = opsAt + first * OP.size - BATCH.ops;
      arena.words[(start + BATCH.count) / 8] = BigInt(calls.length - first);
      arena.words[HEADER.batch / 8] = BigInt(ARENA_ADDRESS + start);
    },
  };
}

class TooLongError extends Error {}

/**
 * Writes calls as ops at the offset `opsAt`, and what their arguments point to into the room given. This is most of
 * what a start costs in JavaScript, and a command runs it once, before anything is compiled: so words are written as
 * halves, because BigInts are slow, what is there already is used again, and the inner loop calls no function.
 */
export function writeOps(
  { halves, bytes }: Arena,
  calls: readonly Call[],
  opsAt: number,
  data: { from: number; to: number },
): WrittenOps {
  const offset = (i: number) => opsAt + i * OP.size;
  const outputs: { at: number; bytes: Uint8Array }[] = [];
  const placedAt = new Map<Uint8Array | string, number>();
  let end = data.from;
  let writing = `${calls.length} calls`;
  const tooLong = () =>
    new TooLongError(`handing ${writing} to an agent: too long for the memory that is shared with it`);

  const place: Placer = (placed, output) => {
    const known = output ? undefined : placedAt.get(placed);
    if (known !== undefined) return known;
    const at = end;
    const size = typeof placed === 'string' ? placed.length * 3 + 1 : placed.length;
    if (at + size + 8 > data.to) throw tooLong();
    const used = typeof placed === 'string' ? writeCString(placed, bytes, at) : size;
    if (typeof placed !== 'string') bytes.set(placed, at);
    if (!output) placedAt.set(placed, ARENA_ADDRESS + at);
    else if (typeof placed !== 'string') outputs.push({ at, bytes: placed });
    // Words stay aligned; an empty argument still has an address of its own.
    end = at + ((used + 8) & ~7);
    return ARENA_ADDRESS + at;
  };

  if (data.from > data.to || data.to > bytes.length) throw tooLong();
  for (let i = 0; i < calls.length; i++) {
    const { name, args, allow } = calls[i]!;
    writing = name;
    const at = offset(i);
    let flags = allow === 'any' ? 1 << FLAG.anyError : 0;
    let half = (at + OP.arguments) / 4;
    for (let k = 0; k < 6; k++, half += 2) {
      let word: Argument = args[k] ?? 0;
      if (typeof word === 'object' && word !== null && 'resultOf' in word) {
        flags |= 1 << k;
        word = ARENA_ADDRESS + offset(indexOf(calls, word, i)) + OP.result;
      } else if (typeof word !== 'number') {
        word = argumentWord(word, place);
      }
      if (typeof word === 'bigint') {
        halves[half] = Number(BigInt.asIntN(32, word));
        halves[half + 1] = Number(BigInt.asIntN(32, word >> 32n));
        continue;
      }
      halves[half] = word;
      halves[half + 1] = word >= 0 && word <= 0xffffffff ? 0 : Math.floor(word / 2 ** 32);
    }
    halves[(at + OP.result) / 4] = NOT_RUN;
    halves[(at + OP.result) / 4 + 1] = Math.floor(NOT_RUN / 2 ** 32);
    halves[(at + OP.flags) / 4] = flags;
    halves[(at + OP.flags) / 4 + 1] = 0;
    halves[(at + OP.allowed) / 4] = typeof allow === 'object' && allow.length ? errnoNumber(allow[0]!) : 0;
    halves[(at + OP.allowed) / 4 + 1] = 0;
    // Last, because a will may be carried out while it is being written: until here the op is what stood there.
    const number = SPECIAL[name] ?? syscallNumber(name);
    halves[at / 4 + 1] = number < 0 ? -1 : 0;
    halves[at / 4] = number;
  }

  return {
    end,
    result(i) {
      const at = (offset(i) + OP.result) / 4;
      const result = halves[at + 1]! * 2 ** 32 + (halves[at]! >>> 0);
      return result === NOT_RUN ? undefined : result;
    },
    copyBack() {
      for (const output of outputs) output.bytes.set(bytes.subarray(output.at, output.at + output.bytes.length));
    },
  };
}

/** True if this result (-errno) does not stop its batch in the agent: the agent itself knows of one allowed error. */
export const goesOn = (ran: Call, result: number): boolean =>
  result >= 0 || result < -4095 || allows(ran.allow, errnoByNumber(-result).name);

function indexOf(calls: readonly Call[], { resultOf }: ResultOf, before: number): number {
  // A position of -1 would be the last one.
  const index = before === 0 ? -1 : calls.lastIndexOf(resultOf, before - 1);
  if (index < 0)
    throw new Error(`writing a batch: ${resultOf.name} does not come before the call that uses its result`);
  return index;
}

/** Not a system call, but what turns process 1 into the init of --as-pid2 while its new child goes on. */
export const BECOME_INIT_CALL: Call = { name: 'become_init', args: [] };

/** Not a system call: has the agent fork another one, which gets these of its descriptors. Returns a process id. */
export const forkAgent = (cloneArgs: Uint8Array, control: number, arena: number): Call => ({
  name: 'fork_agent',
  args: [cloneArgs, cloneArgs.length, control, arena],
});

const SPECIAL: Readonly<Record<string, number>> = { become_init: BECOME_INIT, fork_agent: FORK_AGENT };
