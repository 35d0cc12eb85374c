/**
 * Whether the kernel takes a program: the tests of bpf_check_classic() in the kernel's net/core/filter.c and of
 * seccomp_check_filter() in kernel/seccomp.c.
 */

import type { Instruction } from './bpf.ts';
import {
  CODE,
  isConditionalJump,
  jumpTargets,
  MAX_INSTRUCTIONS,
  MEMORY_WORDS,
  mnemonic,
  SECCOMP_DATA_SIZE,
} from './bpf.ts';
import { ProgramError } from './errors.ts';

/** A bit for each word of scratch memory. */
const ALL_WORDS = 2 ** MEMORY_WORDS - 1;

/** Throws ProgramError for a program that seccomp(SECCOMP_SET_MODE_FILTER) refuses with EINVAL. */
export function checkProgram(instructions: readonly Instruction[]): void {
  const count = instructions.length;
  if (count === 0) throw new ProgramError('BPF program: it is empty');
  if (count > MAX_INSTRUCTIONS) {
    throw new ProgramError(`BPF program: ${count} instructions are more than the kernel takes (${MAX_INSTRUCTIONS})`);
  }
  for (const [at, instruction] of instructions.entries()) refuse(at, instructionFault(instruction, count - at - 1));
  const last = instructions[count - 1]!.code;
  if (last !== CODE.ret && last !== CODE.retA) refuse(count - 1, 'the program does not end with a return');
  checkMemory(instructions);
}

/** What is wrong with an instruction that has `following` others after it. */
function instructionFault(instruction: Instruction, following: number): string | undefined {
  const { code, jt, jf, k } = instruction;
  const name = mnemonic(instruction);
  if (name === undefined) return `seccomp does not accept the operation 0x${code.toString(16)}`;
  if (isConditionalJump(name)) {
    return jt < following && jf < following ? undefined : 'the jump leads out of the program';
  }
  switch (name) {
    case 'ja':
      return k < following ? undefined : 'the jump leads out of the program';
    case 'ld':
      return k < SECCOMP_DATA_SIZE && k % 4 === 0 ? undefined : `offset ${k} is no word of seccomp_data`;
    case 'ldm':
    case 'ldxm':
    case 'st':
    case 'stx':
      return k < MEMORY_WORDS ? undefined : `there is no memory word ${k}`;
    case 'div':
      return k !== 0 ? undefined : 'division by zero';
    case 'lsh':
    case 'rsh':
      return k < 32 ? undefined : `shift by ${k}, more than 31 bits`;
    default:
      return undefined;
  }
}

/**
 * Refuses loads of memory words that were not stored on every way there: check_load_and_stores() in net/core/filter.c.
 * As jumps only lead forward, one pass sees all ways to an instruction before the instruction.
 */
function checkMemory(instructions: readonly Instruction[]): void {
  /** By instruction: a bit for each memory word that has been stored whatever jump leads here. */
  const stored = new Uint16Array(instructions.length).fill(ALL_WORDS);
  let words = 0;
  for (const [at, instruction] of instructions.entries()) {
    const { code, k } = instruction;
    words &= stored[at]!;
    if (code === CODE.st || code === CODE.stx) words |= 1 << k;
    if ((code === CODE.ldm || code === CODE.ldxm) && (words & (1 << k)) === 0) {
      refuse(at, `memory word ${k} is not stored on every way here`);
    }
    const targets = jumpTargets(instruction, at);
    for (const target of targets) stored[target]! &= words;
    if (targets.length > 0) words = ALL_WORDS; // the next instruction is only reached by jumps
  }
}

function refuse(at: number, fault: string | undefined): void {
  if (fault !== undefined) throw new ProgramError(`BPF program: instruction ${at}: ${fault}`);
}
