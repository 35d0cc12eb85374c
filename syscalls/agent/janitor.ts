/**
 * The janitor: an agent in no namespace of its own that outlives this process and carries out what was written down
 * for that moment. It waits on its control socket; the kernel closes our end however we die. One serves all
 * containers of this process.
 */
import { type Call, call, resultOf } from '../call.ts';
import { AT, LAST_FD, O } from '../constants.ts';
import { F_DUPFD_CLOEXEC, readableWithin } from '../fd.ts';
import { syscallNumber } from '../machine.ts';
import { ALL_SIGNALS, NO_SIGNALS, setName, setSignalMask } from '../process.ts';
import { type Agent, AgentDiedError, startAgent } from './agent.ts';
import { type Arena, viewAll, writeOps } from './arena.ts';
import { ARENA_ADDRESS, BATCH, CONTROL_FD, HEADER, OP, WILL } from './layout.ts';

/** A piece of the will. Disposing of it takes it back. */
export type Entrusted = Disposable;

interface Piece {
  fds: readonly number[];
  will: (fds: number[]) => readonly Call[];
  /** The numbers that the janitor has `fds` under. */
  theirs: number[];
}

const NO_PIECE: Piece = { fds: [], will: () => [], theirs: [] };

let janitor: Agent | undefined;
/** What is entrusted now, by its slot in the will; NO_PIECE where a slot is free. */
const slots: Piece[] = [];

/** What it does at last, in the last slot; see entrustSuccessor(). */
let successor: Piece = NO_PIECE;
const LAST_SLOT = WILL.slots - 1;

/** Where an arena has the number of the will's ops. */
const COUNT = (WILL.start + BATCH.count) / 8;

/** What an op without use does: nothing, and never fails. */
const NOTHING: Call = call('getpid');

/**
 * Writes down what to do if this process dies. `fds` are handed to the janitor; `will` gets the numbers it has them
 * under and returns at most WILL.opsPerSlot calls, of which each is tried whatever became of the others. A janitor that
 * was killed is replaced at the next call of this, and gets all pieces again: so `fds` must stay open until the piece is
 * disposed of. Throws SyscallError, AgentDiedError, or an Error when there is no room.
 */
export function entrust(fds: readonly number[], will: Piece['will']): Entrusted {
  const free = slots.indexOf(NO_PIECE);
  const slot = free < 0 ? slots.length : free;
  if (slot >= LAST_SLOT) throw new Error(`watching over a container: more than ${LAST_SLOT} at a time`);
  const piece: Piece = { fds, will, theirs: [] };
  give(slot, piece);
  slots[slot] = piece;

  return {
    [Symbol.dispose]() {
      if (slots[slot] !== piece) return;
      slots[slot] = NO_PIECE;
      withdraw(slot, piece);
    },
  };
}

function give(slot: number, piece: Piece): void {
  const agent = livingJanitor();
  try {
    handOver(agent, slot, piece);
  } catch (error) {
    if (error instanceof AgentDiedError) dismiss();
    throw error;
  }
}

function withdraw(slot: number, piece: Piece): void {
  try {
    if (janitor) takeBack(janitor, slot, piece);
  } catch (error) {
    if (!(error instanceof AgentDiedError)) throw error;
    dismiss();
  }
}

/**
 * Has the janitor become the program behind the descriptor `executable` once all else in the will is done, with nothing
 * open but /dev/null. There is one; this takes the place of an earlier one, and no words take it away. Throws as
 * entrust() does.
 */
export function entrustSuccessor(executable: number, words: readonly string[]): void {
  const earlier = successor;
  successor = NO_PIECE;
  withdraw(LAST_SLOT, earlier);
  if (words.length === 0) return;
  fillUp(livingJanitor().arena);
  const piece = { fds: [executable], will: ([program]: number[]) => become(program!, words), theirs: [] };
  give(LAST_SLOT, piece);
  successor = piece;
}

function become(program: number, words: readonly string[]): Call[] {
  // Out of the way of standard streams: descriptors have come to have any number.
  const moved = call('fcntl', program, F_DUPFD_CLOEXEC, 3);
  const nothing = call('openat', AT.FDCWD, '/dev/null', O.RDWR | O.CLOEXEC, 0);
  return [
    setSignalMask(NO_SIGNALS),
    moved,
    nothing,
    ...[0, 1, 2].map(fd => call('dup3', resultOf(nothing), fd, 0)),
    call('execveat', resultOf(moved), '', words, [], AT.EMPTY_PATH),
  ];
}

/** The janitor; a new one that has all pieces if there was none or it has died. */
function livingJanitor(): Agent {
  if (janitor && !readableWithin(janitor.pidfd, 0)) return janitor;
  dismiss();
  using undo = new DisposableStack();
  const agent = undo.use(startJanitor());
  // Free slots as well: memory that was used before may have an old will in them.
  for (const [slot, piece] of slots.entries()) handOver(agent, slot, piece);
  if (successor !== NO_PIECE) {
    fillUp(agent.arena);
    handOver(agent, LAST_SLOT, successor);
  }
  undo.move();
  janitor = agent;
  return agent;
}

/** Ends a janitor that is of no use any more, without its will. */
function dismiss(): void {
  janitor?.[Symbol.dispose]();
  janitor = undefined;
}

function handOver(agent: Agent, slot: number, piece: Piece): void {
  piece.theirs = agent.sendFds(piece.fds);
  try {
    const calls = piece.will(piece.theirs);
    if (calls.length > WILL.opsPerSlot) throw new Error(`writing a will: ${calls.length} calls are too many`);
    writeSlot(agent.arena, slot, calls);
  } catch (error) {
    takeBack(agent, slot, piece);
    throw error;
  }
  const { words } = agent.arena;
  const ops = BigInt((slot + 1) * WILL.opsPerSlot);
  if (words[COUNT]! < ops) words[COUNT] = ops;
  words[HEADER.will / 8] = BigInt(ARENA_ADDRESS + WILL.start);
}

function takeBack(agent: Agent, slot: number, { theirs }: Piece): void {
  writeSlot(agent.arena, slot, []);
  const closing = theirs.map(fd => call('close', fd));
  // One is a process's, which nobody misses; others may keep a file system from being unmounted until they are closed.
  if (closing.length === 1) agent.send(closing);
  else agent.run(closing);
}

/** Fills a slot: calls, then nothings. */
function writeSlot(arena: Arena, slot: number, calls: readonly Call[]): void {
  const padding = new Array<Call>(WILL.opsPerSlot - calls.length).fill(NOTHING);
  const all = [...calls, ...padding];
  // Each is tried whatever became of the others.
  for (const entrusted of all) entrusted.allow = 'any';
  const opsAt = WILL.start + BATCH.ops + slot * WILL.opsPerSlot * OP.size;
  const dataAt = WILL.start + BATCH.ops + WILL.slots * WILL.opsPerSlot * OP.size + slot * WILL.dataPerSlot;
  // This process may die in the middle of it: an op does nothing until its number is written, and that is last.
  const nothing = BigInt(syscallNumber(NOTHING.name));
  for (let i = 0; i < all.length; i++) arena.words[(opsAt + i * OP.size + OP.number) / 8] = nothing;
  writeOps(arena, all, opsAt, { from: dataAt, to: dataAt + WILL.dataPerSlot });
}

/** Lets slots that nobody has used do nothing: empty memory would stop the will before its last slot. */
function fillUp(arena: Arena): void {
  const size = WILL.opsPerSlot * OP.size;
  const first = WILL.start + BATCH.ops + slots.length * size;
  const end = WILL.start + BATCH.ops + LAST_SLOT * size;
  writeSlot(arena, slots.length, []);
  for (let filled = first + size; filled < end; filled += filled - first) {
    arena.bytes.copyWithin(filled, first, Math.min(filled, first + end - filled));
  }
}

function startJanitor(): Agent {
  using undo = new DisposableStack();
  const agent = undo.use(startAgent({ namespaces: 0n, fds: [], dieWithParent: false }));
  // Away from the caller's session, directory and streams; signals meant for nspawn's group or cgroup don't end it.
  agent.run([
    call('setsid'),
    setSignalMask(ALL_SIGNALS),
    setName('nspawn-janitor'),
    call('chdir', '/'),
    call('close_range', 0, CONTROL_FD - 1, 0),
    call('close_range', CONTROL_FD + 1, LAST_FD, 0),
  ]);
  viewAll(agent.arena);
  agent.arena.words[COUNT] = 0n;
  undo.move();
  return agent;
}
