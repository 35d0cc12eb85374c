/**
 * A small assembler for the few programs that run where JavaScript can't: between clone and exec, and after nspawn's
 * own death. Programs are written once, over the instructions below; each architecture turns them to machine code
 * and to a listing in objdump's words.
 */

/**
 * Registers by their role. `nr`, `a0`–`a5` and `result` are those of the architecture's system call convention
 * (syscall(2)); `result` may be the same register as `a0`. `s0`–`s4` survive system calls. `a0`–`a2` are also where a
 * C caller puts its first three arguments.
 */
export type Word = 'nr' | 'a0' | 'a1' | 'a2' | 'a3' | 'a4' | 'a5' | 'result' | 's0' | 's1' | 's2' | 's3' | 's4';

/** The stack pointer, too, which can be moved, added to, and be the base of an address. */
export type Register = Word | 'sp';

/**
 * The instructions a program may use. Addresses, offsets and immediates are in bytes; words have 64 bits. A number
 * that the architecture's encoding can't hold is an error: the ranges given here are those that all of them have.
 */
export interface Assembler {
  label(name: string): void;
  /** register = value, -65536 to 0xffffffff */
  set(register: Word, value: number): void;
  move(to: Register, from: Register): void;
  /** register = the word at base + offset, 0 to 32760 in steps of 8 */
  load(register: Word, base: Register, offset: number): void;
  /** register = the 32 bits at base + offset, 0 to 16380 in steps of 4, zero-extended */
  load32(register: Word, base: Register, offset: number): void;
  /** the word at base + offset = register; offset as with load */
  store(register: Word, base: Register, offset: number): void;
  /** register += value, -4095 to 4095 */
  add(register: Register, value: number): void;
  addRegister(to: Word, from: Word): void;
  jump(label: string): void;
  jumpIfZero(register: Word, label: string): void;
  jumpIfNegative(register: Word, label: string): void;
  jumpIfEqual(a: Word, b: Word, label: string): void;
  /** bit: 0 to 31 */
  jumpIfBitClear(register: Word, bit: number, label: string): void;
  /** Jumps when `result` is an error: -4095 to -1, see syscall(2). */
  jumpIfError(label: string): void;
  /** System call by the number in `nr`. */
  syscall(): void;
  return(): void;
}

/** What an architecture's assembler gives back: code, and one line of listing for each instruction. */
export interface Assembled {
  code: Uint8Array;
  /** Offset of the instruction and its text as objdump prints it, white space and comments normalised. */
  listing: { offset: number; text: string }[];
}

/** Collects instructions and resolves labels; `Patch` writes a jump's target once it is known. */
export interface CodeBuffer {
  emit(text: string, bytes: number[]): void;
  emitJump(text: (target: number) => string, bytes: number[], patch: Patch): void;
  label(name: string): void;
  finish(): Assembled;
}
export type Patch = { label: string; write: (bytes: Uint8Array, at: number, target: number) => void };

/** What an encoding can hold: numbers from, to, and in which steps. */
type Range = readonly [from: number, to: number, step?: number];

/** Throws when a number does not fit into the encoding of an instruction. */
export function checkRange(instruction: string, value: number, [from, to, step = 1]: Range): void {
  if (value >= from && value <= to && value % step === 0) return;
  throw new Error(
    `assembling ${instruction}: ${value} can't be encoded, only ${from} to ${to}${step > 1 ? ` in steps of ${step}` : ''}`,
  );
}

/** A buffer for one program. */
export function codeBuffer(): CodeBuffer {
  const code: number[] = [];
  const labels = new Map<string, number>();
  const lines: { offset: number; text: string | ((target: number) => string); label?: string }[] = [];
  const patches: { at: number; length: number; patch: Patch }[] = [];

  const targetOf = (label: string) => {
    const target = labels.get(label);
    if (target === undefined) throw new Error(`assembling a jump to '${label}': no such label`);
    return target;
  };

  return {
    emit(text, bytes) {
      lines.push({ offset: code.length, text });
      code.push(...bytes);
    },
    emitJump(text, bytes, patch) {
      lines.push({ offset: code.length, text, label: patch.label });
      patches.push({ at: code.length, length: bytes.length, patch });
      code.push(...bytes);
    },
    label(name) {
      if (labels.has(name)) throw new Error(`assembling label '${name}': it stands twice`);
      labels.set(name, code.length);
    },
    finish() {
      const bytes = Uint8Array.from(code);
      for (const { at, length, patch } of patches) {
        patch.write(bytes.subarray(at, at + length), at, targetOf(patch.label));
      }
      const listing = lines.map(({ offset, text, label }) => ({
        offset,
        text: typeof text === 'string' ? text : text(targetOf(label!)),
      }));
      return { code: bytes, listing };
    },
  };
}
