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
export type Register =
  | 'nr'
  | 'a0'
  | 'a1'
  | 'a2'
  | 'a3'
  | 'a4'
  | 'a5'
  | 'result'
  | 's0'
  | 's1'
  | 's2'
  | 's3'
  | 's4'
  | 'sp';

/** The instructions a program may use. Addresses, offsets and immediates are in bytes; words have 64 bits. */
export interface Assembler {
  label(name: string): void;
  /** register = value */
  set(register: Register, value: number): void;
  move(to: Register, from: Register): void;
  /** register = the word at base + offset */
  load(register: Register, base: Register, offset: number): void;
  /** register = the 32 bits at base + offset, zero-extended */
  load32(register: Register, base: Register, offset: number): void;
  /** the word at base + offset = register */
  store(register: Register, base: Register, offset: number): void;
  add(register: Register, value: number): void;
  addRegister(to: Register, from: Register): void;
  jump(label: string): void;
  jumpIfZero(register: Register, label: string): void;
  jumpIfNegative(register: Register, label: string): void;
  jumpIfEqual(a: Register, b: Register, label: string): void;
  jumpIfBitClear(register: Register, bit: number, label: string): void;
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
