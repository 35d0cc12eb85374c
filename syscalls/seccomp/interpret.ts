/**
 * Runs programs as the kernel's seccomp would.
 */

import type { Action } from './action.ts';
import { decodeAction } from './action.ts';
import type { Instruction } from './bpf.ts';
import { CODE, decode, MEMORY_WORDS, SECCOMP_DATA_SIZE } from './bpf.ts';
import { checkProgram } from './check.ts';

/** struct seccomp_data of <linux/seccomp.h>: what a filter sees of a call. */
export interface SeccompData {
  /** Syscall number: the low 32 bits count. */
  nr: number;
  /** AUDIT_ARCH value of the architecture that the call was made in. */
  arch: number;
  /** Address of the instruction after the call. Default: 0n. */
  instructionPointer?: bigint;
  /** Up to six arguments, 64 bits each; missing ones are 0n. */
  args?: readonly bigint[];
}

/** A program's decision on a call. */
export interface Verdict {
  /** The word returned: SECCOMP_RET_*. */
  word: number;
  /** What the kernel does on that word. */
  action: Action;
  /** Number of instructions carried out. */
  executed: number;
}

/** The decision of a program (an array of struct sock_filter) on a call. Throws ProgramError as loadProgram() does. */
export function evaluate(program: Uint8Array, data: SeccompData): Verdict {
  return loadProgram(program)(data);
}

/** Checks a program once, to be run many times. Throws ProgramError for a program that the kernel would refuse. */
export function loadProgram(program: Uint8Array): (data: SeccompData) => Verdict {
  const instructions = decode(program);
  checkProgram(instructions);
  return data => run(instructions, dataWords(data));
}

/** seccomp_data as the 32-bit words that a little-endian machine's program loads. */
function dataWords(data: SeccompData): Uint32Array {
  const words = new Uint32Array(SECCOMP_DATA_SIZE / 4);
  words[0] = data.nr;
  words[1] = data.arch;
  for (const [index, value] of [data.instructionPointer ?? 0n, ...(data.args ?? [])].slice(0, 7).entries()) {
    words[2 + 2 * index] = Number(value & 0xffff_ffffn);
    words[3 + 2 * index] = Number((value >> 32n) & 0xffff_ffffn);
  }
  return words;
}

/** Bits of an operation's code: BPF_CLASS, BPF_OP and BPF_SRC of <linux/bpf_common.h>. */
const CLASS = 0x07;
const JUMP_CLASS = 0x05;
const OPERATION = 0xf0;
const SOURCE_X = 0x08;

/** BPF_ALU by the bits of BPF_OP: unsigned 32-bit results after a `>>> 0`. Shifts count modulo 32, as in the kernel. */
const ALU: Readonly<Record<number, (a: number, b: number) => number>> = {
  [CODE.add & OPERATION]: (a, b) => a + b,
  [CODE.sub & OPERATION]: (a, b) => a - b,
  [CODE.mul & OPERATION]: Math.imul,
  [CODE.div & OPERATION]: (a, b) => a / b,
  [CODE.or & OPERATION]: (a, b) => a | b,
  [CODE.and & OPERATION]: (a, b) => a & b,
  [CODE.lsh & OPERATION]: (a, b) => a << b,
  [CODE.rsh & OPERATION]: (a, b) => a >>> b,
  [CODE.neg & OPERATION]: a => -a,
  [CODE.xor & OPERATION]: (a, b) => a ^ b,
};

/** The tests of BPF_JMP by the bits of BPF_OP. */
const TESTS: Readonly<Record<number, (a: number, b: number) => boolean>> = {
  [CODE.jeq & OPERATION]: (a, b) => a === b,
  [CODE.jgt & OPERATION]: (a, b) => a > b,
  [CODE.jge & OPERATION]: (a, b) => a >= b,
  [CODE.jset & OPERATION]: (a, b) => (a & b) !== 0,
};

/** Carries a checked program out: jumps only lead forward and the last instruction returns, so this ends. */
function run(instructions: readonly Instruction[], data: Uint32Array): Verdict {
  const memory = new Uint32Array(MEMORY_WORDS);
  // The kernel starts with both registers at 0.
  let a = 0;
  let x = 0;
  for (let at = 0, executed = 1; ; at++, executed++) {
    const { code, jt, jf, k } = instructions[at]!;
    const operand = code & SOURCE_X ? x : k;
    switch (code) {
      case CODE.ld:
        a = data[k / 4]!;
        break;
      case CODE.ldi:
        a = k;
        break;
      case CODE.ldxi:
        x = k;
        break;
      case CODE.ldlen:
        a = SECCOMP_DATA_SIZE;
        break;
      case CODE.ldxlen:
        x = SECCOMP_DATA_SIZE;
        break;
      case CODE.ldm:
        a = memory[k]!;
        break;
      case CODE.ldxm:
        x = memory[k]!;
        break;
      case CODE.st:
        memory[k] = a;
        break;
      case CODE.stx:
        memory[k] = x;
        break;
      case CODE.tax:
        x = a;
        break;
      case CODE.txa:
        a = x;
        break;
      case CODE.ja:
        at += k;
        break;
      case CODE.ret:
        return verdict(k, executed);
      case CODE.retA:
        return verdict(a, executed);
      default: {
        const operation = code & OPERATION;
        if ((code & CLASS) === JUMP_CLASS) {
          at += TESTS[operation]!(a, operand) ? jt : jf;
          break;
        }
        // Division by zero (in X; k is checked) ends a program with 0: for seccomp that is kill-thread.
        if (operation === (CODE.div & OPERATION) && operand === 0) return verdict(0, executed);
        a = ALU[operation]!(a, operand) >>> 0;
      }
    }
  }
}

function verdict(word: number, executed: number): Verdict {
  return { word, action: decodeAction(word), executed };
}
