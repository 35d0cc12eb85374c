/**
 * Classic BPF as seccomp takes it: instructions, their codes and their bytes.
 */

import { ProgramError } from './errors.ts';

/** struct sock_filter of <linux/filter.h>. */
export interface Instruction {
  /** Operation, 16 bits: one of CODE, or the kernel refuses it. */
  code: number;
  /** Instructions to skip if a conditional jump's test holds, 0 to 255. */
  jt: number;
  /** The same if it does not. */
  jf: number;
  /** Operand, 32 bits unsigned. */
  k: number;
}

/** Most instructions that a program may have: BPF_MAXINSNS in <linux/bpf_common.h>. */
export const MAX_INSTRUCTIONS = 4096;

/** Bytes of an instruction. */
export const INSTRUCTION_SIZE = 8;

/** Words of scratch memory: BPF_MEMWORDS in <linux/filter.h>. */
export const MEMORY_WORDS = 16;

/** Bytes of struct seccomp_data in <linux/seccomp.h>: nr 0, arch 4, instruction_pointer 8, args[6] from 16 on. */
export const SECCOMP_DATA_SIZE = 64;

/** Offsets of seccomp_data's fields. */
export const OFFSET = { nr: 0, arch: 4, instructionPointer: 8, args: 16 } as const;

/**
 * All operations that seccomp accepts (seccomp_check_filter() in the kernel's kernel/seccomp.c), composed as in
 * <linux/bpf_common.h>. A is the accumulator, X the index register, M[] the scratch memory; a trailing X in a name
 * means that the operand is X instead of k.
 */
export const CODE = {
  /** A = the 32-bit word at offset k of seccomp_data: BPF_LD | BPF_W | BPF_ABS */
  ld: 0x20,
  /** A = k: BPF_LD | BPF_IMM */
  ldi: 0x00,
  /** A = size of seccomp_data: BPF_LD | BPF_W | BPF_LEN */
  ldlen: 0x80,
  /** A = M[k]: BPF_LD | BPF_MEM */
  ldm: 0x60,
  /** X = k, size of seccomp_data, M[k]: BPF_LDX */
  ldxi: 0x01,
  ldxlen: 0x81,
  ldxm: 0x61,
  /** M[k] = A: BPF_ST */
  st: 0x02,
  /** M[k] = X: BPF_STX */
  stx: 0x03,
  /** A = A op k, A = A op X: BPF_ALU. BPF_MOD is not accepted. */
  add: 0x04,
  addX: 0x0c,
  sub: 0x14,
  subX: 0x1c,
  mul: 0x24,
  mulX: 0x2c,
  div: 0x34,
  divX: 0x3c,
  or: 0x44,
  orX: 0x4c,
  and: 0x54,
  andX: 0x5c,
  lsh: 0x64,
  lshX: 0x6c,
  rsh: 0x74,
  rshX: 0x7c,
  neg: 0x84,
  xor: 0xa4,
  xorX: 0xac,
  /** Skip k instructions: BPF_JMP */
  ja: 0x05,
  /** Skip jt instructions if A == k (> k, >= k, A & k != 0), else jf */
  jeq: 0x15,
  jeqX: 0x1d,
  jgt: 0x25,
  jgtX: 0x2d,
  jge: 0x35,
  jgeX: 0x3d,
  jset: 0x45,
  jsetX: 0x4d,
  /** Return k, return A: BPF_RET */
  ret: 0x06,
  retA: 0x16,
  /** X = A, A = X: BPF_MISC */
  tax: 0x07,
  txa: 0x87,
} as const;

/** Name of an operation. */
export type Mnemonic = keyof typeof CODE;

const MNEMONICS = new Map(Object.entries(CODE).map(([name, code]) => [code as number, name as Mnemonic]));

/** Name of an instruction's operation, or undefined if seccomp does not accept it. */
export function mnemonic(instruction: Instruction): Mnemonic | undefined {
  return MNEMONICS.get(instruction.code);
}

/** Whether an operation is a jump with a test. */
export function isConditionalJump(name: Mnemonic | undefined): boolean {
  return name !== undefined && /^j[^a]/.test(name);
}

/** Where a jump that stands at an index may lead; nothing for other instructions. */
export function jumpTargets(instruction: Instruction, at: number): number[] {
  if (instruction.code === CODE.ja) return [at + 1 + instruction.k];
  if (isConditionalJump(mnemonic(instruction))) return [at + 1 + instruction.jt, at + 1 + instruction.jf];
  return [];
}

/**
 * An array of struct sock_filter, little-endian as all of seccomp's architectures here are.
 */
export function encode(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * INSTRUCTION_SIZE);
  const view = new DataView(bytes.buffer);
  for (const [index, { code, jt, jf, k }] of instructions.entries()) {
    const offset = index * INSTRUCTION_SIZE;
    view.setUint16(offset, code, true);
    view.setUint8(offset + 2, jt);
    view.setUint8(offset + 3, jf);
    view.setUint32(offset + 4, k, true);
  }
  return bytes;
}

/** The instructions in an array of struct sock_filter. Throws ProgramError if the bytes are no whole number of them. */
export function decode(program: Uint8Array): Instruction[] {
  const count = instructionCount(program);
  if (!Number.isInteger(count)) {
    throw new ProgramError(`BPF program: ${program.length} bytes are not a multiple of ${INSTRUCTION_SIZE}`);
  }
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  return Array.from({ length: count }, (_, index) => {
    const offset = index * INSTRUCTION_SIZE;
    return {
      code: view.getUint16(offset, true),
      jt: view.getUint8(offset + 2),
      jf: view.getUint8(offset + 3),
      k: view.getUint32(offset + 4, true),
    };
  });
}

/** Number of instructions in a program: sock_fprog.len. */
export function instructionCount(program: Uint8Array): number {
  return program.length / INSTRUCTION_SIZE;
}
