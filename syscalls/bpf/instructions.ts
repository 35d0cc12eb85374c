/**
 * eBPF: instructions, a small assembler with labels, and their bytes. See linux/bpf.h and
 * Documentation/bpf/standardization/instruction-set.rst. Pure. (The classic BPF of system call filters is another
 * language: ../seccomp/bpf.ts.)
 */

/** struct bpf_insn: an operation, two of the registers 0 to 10, a jump's or memory's offset, a constant of 32 bits. */
export interface Instruction {
  code: number;
  destination: number;
  source: number;
  offset: number;
  constant: number;
}

/** Bytes of an instruction. */
export const INSTRUCTION_SIZE = 8;

/** The operations in use here, composed as in linux/bpf.h; arithmetic is that of 64 bits. */
export const CODE = {
  /** destination = the 32-bit word at source + offset: BPF_LDX | BPF_MEM | BPF_W */
  loadWord: 0x61,
  /** destination = constant: BPF_ALU64 | BPF_MOV | BPF_K */
  set: 0xb7,
  /** destination = source: BPF_ALU64 | BPF_MOV | BPF_X */
  copy: 0xbf,
  /** destination &= constant: BPF_ALU64 | BPF_AND | BPF_K */
  and: 0x57,
  /** destination >>= constant, without a sign: BPF_ALU64 | BPF_RSH | BPF_K */
  shiftRight: 0x77,
  /** Skip offset instructions if destination != constant: BPF_JMP | BPF_JNE | BPF_K */
  jumpIfNot: 0x55,
  /** Return register 0: BPF_JMP | BPF_EXIT */
  exit: 0x95,
} as const;

/** A jump whose target is a label. */
export interface Jump {
  jumpIfNot: { register: number; constant: number; to: string };
}

/** A place in a program. */
export interface Label {
  label: string;
}

export type Statement = Instruction | Jump | Label;

const instruction = (code: number, destination: number, fields: Partial<Instruction> = {}): Instruction => ({
  code,
  destination,
  source: 0,
  offset: 0,
  constant: 0,
  ...fields,
});

export const loadWord = (destination: number, source: number, offset: number): Instruction =>
  instruction(CODE.loadWord, destination, { source, offset });
export const set = (destination: number, constant: number): Instruction =>
  instruction(CODE.set, destination, { constant });
export const copy = (destination: number, source: number): Instruction =>
  instruction(CODE.copy, destination, { source });
export const and = (destination: number, constant: number): Instruction =>
  instruction(CODE.and, destination, { constant });
export const shiftRight = (destination: number, constant: number): Instruction =>
  instruction(CODE.shiftRight, destination, { constant });
export const exit: Instruction = instruction(CODE.exit, 0);

/** Puts distances in place of labels. Throws for a label that isn't there. */
export function assemble(statements: readonly Statement[]): Instruction[] {
  const places = new Map<string, number>();
  let count = 0;
  for (const statement of statements) {
    if ('label' in statement) places.set(statement.label, count);
    else count++;
  }
  const instructions: Instruction[] = [];
  for (const statement of statements) {
    if ('label' in statement) continue;
    if (!('jumpIfNot' in statement)) {
      instructions.push(statement);
      continue;
    }
    const { register, constant, to } = statement.jumpIfNot;
    const place = places.get(to);
    if (place === undefined) throw new Error(`assembling BPF: there is no label ${to}`);
    // From the instruction behind the jump.
    const offset = place - (instructions.length + 1);
    instructions.push(instruction(CODE.jumpIfNot, register, { offset, constant }));
  }
  return instructions;
}

/** An array of struct bpf_insn, little-endian as all machines that nspawn runs on are. */
export function encode(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * INSTRUCTION_SIZE);
  const view = new DataView(bytes.buffer);
  for (const [i, { code, destination, source, offset, constant }] of instructions.entries()) {
    const at = i * INSTRUCTION_SIZE;
    view.setUint8(at, code);
    view.setUint8(at + 1, destination | (source << 4));
    view.setInt16(at + 2, offset, true);
    view.setInt32(at + 4, constant, true);
  }
  return bytes;
}
