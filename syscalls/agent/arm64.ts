/**
 * AArch64 machine code, listed as objdump prints it.
 * Encodings: Arm Architecture Reference Manual for A-profile, section C6 (A64 base instructions).
 */
import { type Assembled, type Assembler, checkRange, codeBuffer, type Patch, type Register } from './assembler.ts';

/** Register numbers; the system call convention is in syscall(2), x19–x28 are kept by it as all but x0 are. */
const REGISTERS: Record<Register, number> = {
  nr: 8,
  result: 0,
  a0: 0,
  a1: 1,
  a2: 2,
  a3: 3,
  a4: 4,
  a5: 5,
  s0: 19,
  s1: 20,
  s2: 21,
  s3: 22,
  s4: 23,
  sp: 31,
};

const hex = (value: number) => `0x${value.toString(16)}`;
const nameOf = (register: Register) => (register === 'sp' ? 'sp' : `x${REGISTERS[register]}`);
const word = (value: number) => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];
const place = (base: Register, offset: number) => (offset ? `[${nameOf(base)}, #${offset}]` : `[${nameOf(base)}]`);

/** Puts (target - at) / 4 into `bits` bits at `shift` of the instruction. */
const relative = (label: string, bits: number, shift: number): Patch => ({
  label,
  write(bytes, at, target) {
    checkRange(`a jump to '${label}'`, target - at, [-(2 ** (bits + 1)), 2 ** (bits + 1) - 4, 4]);
    const distance = (target - at) / 4;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    view.setUint32(0, (view.getUint32(0, true) | ((distance & (2 ** bits - 1)) << shift)) >>> 0, true);
  },
});

/** Assembles `program` for AArch64. */
export function assembleArm64(program: (a: Assembler) => void): Assembled {
  const buffer = codeBuffer();
  const emit = (text: string, instruction: number) => buffer.emit(text, word(instruction));
  const jump = (text: string, instruction: number, patch: Patch) =>
    buffer.emitJump(target => `${text}${hex(target)}`, word(instruction), patch);
  /** B.cond: condition in the lowest four bits. */
  const jumpIf = (condition: 'eq' | 'cs', label: string) =>
    jump(`b.${condition} `, 0x54000000 | { eq: 0, cs: 2 }[condition], relative(label, 19, 5));

  program({
    label: buffer.label,
    set(register, value) {
      const [number, name] = [REGISTERS[register], nameOf(register)];
      checkRange(`set ${name}`, value, [-0x10000, 0xffffffff]);
      if (value < 0) {
        // MOVN writes the complement.
        const printed = BigInt.asUintN(64, BigInt(value)).toString(16);
        emit(`mov ${name}, #0x${printed}`, 0x92800000 | (~value << 5) | number);
        return;
      }
      const [low, high] = [value & 0xffff, value >>> 16];
      if (low !== 0 || high === 0) emit(`mov ${name}, #${hex(low)}`, 0xd2800000 | (low << 5) | number);
      else emit(`mov ${name}, #${hex(value)}`, 0xd2a00000 | (high << 5) | number);
      if (low !== 0 && high !== 0) emit(`movk ${name}, #${hex(high)}, lsl #16`, 0xf2a00000 | (high << 5) | number);
    },
    move(to, from) {
      const [t, f] = [REGISTERS[to], REGISTERS[from]];
      // ORR reads register 31 as zero; a move from sp is an ADD of 0.
      if (from === 'sp' || to === 'sp') emit(`mov ${nameOf(to)}, ${nameOf(from)}`, 0x91000000 | (f << 5) | t);
      else emit(`mov ${nameOf(to)}, ${nameOf(from)}`, 0xaa0003e0 | (f << 16) | t);
    },
    load(register, base, offset) {
      checkRange(`ldr ${nameOf(register)}`, offset, [0, 8 * 4095, 8]);
      const instruction = 0xf9400000 | ((offset / 8) << 10) | (REGISTERS[base] << 5) | REGISTERS[register];
      emit(`ldr ${nameOf(register)}, ${place(base, offset)}`, instruction);
    },
    load32(register, base, offset) {
      checkRange(`ldr w${REGISTERS[register]}`, offset, [0, 4 * 4095, 4]);
      const instruction = 0xb9400000 | ((offset / 4) << 10) | (REGISTERS[base] << 5) | REGISTERS[register];
      emit(`ldr w${REGISTERS[register]}, ${place(base, offset)}`, instruction);
    },
    store(register, base, offset) {
      checkRange(`str ${nameOf(register)}`, offset, [0, 8 * 4095, 8]);
      const instruction = 0xf9000000 | ((offset / 8) << 10) | (REGISTERS[base] << 5) | REGISTERS[register];
      emit(`str ${nameOf(register)}, ${place(base, offset)}`, instruction);
    },
    add(register, value) {
      const [number, name] = [REGISTERS[register], nameOf(register)];
      checkRange(`add ${name}`, value, [-4095, 4095]);
      const operation = value < 0 ? 0xd1000000 : 0x91000000;
      const text = `${value < 0 ? 'sub' : 'add'} ${name}, ${name}, #${hex(Math.abs(value))}`;
      emit(text, operation | (Math.abs(value) << 10) | (number << 5) | number);
    },
    addRegister(to, from) {
      const [t, f] = [REGISTERS[to], REGISTERS[from]];
      emit(`add ${nameOf(to)}, ${nameOf(to)}, ${nameOf(from)}`, 0x8b000000 | (f << 16) | (t << 5) | t);
    },
    jump: label => jump('b ', 0x14000000, relative(label, 26, 0)),
    jumpIfZero: (register, label) =>
      jump(`cbz ${nameOf(register)}, `, 0xb4000000 | REGISTERS[register], relative(label, 19, 5)),
    // Negative: bit 63 is set.
    jumpIfNegative: (register, label) =>
      jump(`tbnz ${nameOf(register)}, #63, `, 0xb7f80000 | REGISTERS[register], relative(label, 14, 5)),
    jumpIfEqual(a, b, label) {
      emit(`cmp ${nameOf(a)}, ${nameOf(b)}`, 0xeb00001f | (REGISTERS[b] << 16) | (REGISTERS[a] << 5));
      jumpIf('eq', label);
    },
    jumpIfBitClear(register, bit, label) {
      const number = REGISTERS[register];
      checkRange(`tbz w${number}`, bit, [0, 31]);
      jump(`tbz w${number}, #${bit}, `, 0x36000000 | (bit << 19) | number, relative(label, 14, 5));
    },
    jumpIfError(label) {
      // x0 + 4095 carries exactly for -4095 and above.
      emit('cmn x0, #0xfff', 0xb13ffc1f);
      jumpIf('cs', label);
    },
    syscall: () => emit('svc #0x0', 0xd4000001),
    return: () => emit('ret', 0xd65f03c0),
  });
  return buffer.finish();
}
