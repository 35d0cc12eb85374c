/**
 * The janitor: an agent in no namespace of its own that outlives this process and carries out what was written down
 * for that moment. It waits on its control socket; the kernel closes our end however we die. One serves all
 * containers of this process.
 */
import { type Call, call } from '../call.ts';
import { LAST_FD } from '../constants.ts';
import { ALL_SIGNALS, setName, setSignalMask } from '../process.ts';
import { type Agent, startAgent } from './agent.ts';
import { type Arena, writeOps } from './arena.ts';
import { ARENA_ADDRESS, BATCH, CONTROL_FD, HEADER, OP, WILL } from './layout.ts';

/** A piece of the will. Disposing of it takes it back. */
export type Entrusted = Disposable;

let janitor: { agent: Agent; freeSlots: number[]; usedSlots: number } | undefined;

/** What an op without use does: nothing, and never fails. */
const NOTHING: Call = call('getpid');

/**
 * Writes down what to do if this process dies. `fds` are handed to the janitor; `will` gets the numbers it has them
 * under and returns at most WILL.opsPerSlot calls, of which each is tried whatever became of the others.
 * Throws SyscallError, or an Error when more than WILL.slots pieces are asked for at a time.
 */
export function entrust(fds: readonly number[], will: (fds: number[]) => readonly Call[]): Entrusted {
  janitor ??= { agent: startJanitor(), freeSlots: [], usedSlots: 0 };
  const { agent, freeSlots } = janitor;
  const slot = freeSlots.pop() ?? janitor.usedSlots;
  if (slot >= WILL.slots) throw new Error(`watching over a container: more than ${WILL.slots} at a time`);
  const theirs = fds.length ? agent.sendFds(fds) : [];
  const calls = will(theirs);
  if (calls.length > WILL.opsPerSlot) throw new Error(`writing a will: ${calls.length} calls are too many`);

  writeSlot(agent.arena, slot, calls);
  if (slot === janitor.usedSlots) {
    janitor.usedSlots += 1;
    agent.arena.words[(WILL.start + BATCH.count) / 8] = BigInt(janitor.usedSlots * WILL.opsPerSlot);
    agent.arena.words[HEADER.will / 8] = BigInt(ARENA_ADDRESS + WILL.start);
  }

  return {
    [Symbol.dispose]() {
      writeSlot(agent.arena, slot, []);
      if (theirs.length) agent.run(theirs.map(fd => call('close', fd)));
      freeSlots.push(slot);
    },
  };
}

/** Fills a slot: calls, then nothings. An op's number is written last, so a half-written slot does no harm. */
function writeSlot(arena: Arena, slot: number, calls: readonly Call[]): void {
  const padding = Array.from({ length: WILL.opsPerSlot - calls.length }, () => NOTHING);
  const all = [...calls, ...padding];
  // Each is tried whatever became of the others.
  for (const entrusted of all) entrusted.allow = 'any';
  const opsAt = WILL.start + BATCH.ops + slot * WILL.opsPerSlot * OP.size;
  const dataAt = WILL.start + BATCH.ops + WILL.slots * WILL.opsPerSlot * OP.size + slot * WILL.dataPerSlot;
  writeOps(arena, all, opsAt, { from: dataAt, to: dataAt + WILL.dataPerSlot });
}

function startJanitor(): Agent {
  const agent = startAgent({ namespaces: 0n, fds: [], dieWithParent: false });
  // Away from the caller's session, directory and streams; signals meant for nspawn's group or cgroup don't end it.
  agent.run([
    call('setsid'),
    setSignalMask(ALL_SIGNALS),
    setName('nspawn-janitor'),
    call('chdir', '/'),
    call('close_range', 0, CONTROL_FD - 1, 0),
    call('close_range', CONTROL_FD + 1, LAST_FD, 0),
  ]);
  return agent;
}
