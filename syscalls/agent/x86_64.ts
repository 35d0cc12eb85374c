/**
 * x86-64 machine code, listed as `objdump -M intel` prints it.
 * Encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
 */
import { type Assembled, type Assembler, checkRange, codeBuffer, type Register } from './assembler.ts';

/** Register numbers and names. The system call convention is in syscall(2); s0–s4 are kept by it. */
const REGISTERS: Record<Register, { number: number; name: string; name32: string }> = {
  nr: { number: 0, name: 'rax', name32: 'eax' },
  result: { number: 0, name: 'rax', name32: 'eax' },
  a0: { number: 7, name: 'rdi', name32: 'edi' },
  a1: { number: 6, name: 'rsi', name32: 'esi' },
  a2: { number: 2, name: 'rdx', name32: 'edx' },
  a3: { number: 10, name: 'r10', name32: 'r10d' },
  a4: { number: 8, name: 'r8', name32: 'r8d' },
  a5: { number: 9, name: 'r9', name32: 'r9d' },
  s0: { number: 3, name: 'rbx', name32: 'ebx' },
  s1: { number: 5, name: 'rbp', name32: 'ebp' },
  s2: { number: 13, name: 'r13', name32: 'r13d' },
  s3: { number: 14, name: 'r14', name32: 'r14d' },
  s4: { number: 15, name: 'r15', name32: 'r15d' },
  sp: { number: 4, name: 'rsp', name32: 'esp' },
};

const hex = (value: number) => `0x${value.toString(16)}`;
const little32 = (value: number) => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
/** Negative immediates are printed sign-extended to 64 bits. */
const immediate = (value: number) => (value < 0 ? `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}` : hex(value));

/** REX prefix: W for 64-bit operands, R and B for the upper half of the register file. */
const rex = (wide: boolean, reg: number, rm: number) => 0x40 | (wide ? 8 : 0) | (reg >> 3 ? 4 : 0) | (rm >> 3 ? 1 : 0);
const modRegister = (reg: number, rm: number) => 0xc0 | ((reg & 7) << 3) | (rm & 7);

/** ModRM (and SIB, which rsp as a base needs) for [base + 32-bit displacement]. */
function modMemory(reg: number, base: number, offset: number): number[] {
  checkRange('an access to memory', offset, [0, 0x7fffffff]);
  const sib = (base & 7) === 4 ? [0x24] : [];
  return [0x80 | ((reg & 7) << 3) | (base & 7), ...sib, ...little32(offset)];
}

const patch32 = (label: string) => ({
  label,
  write: (bytes: Uint8Array, at: number, target: number) =>
    bytes.set(little32(target - at - bytes.length), bytes.length - 4),
});

/** Assembles `program` for x86-64. */
export function assembleX86_64(program: (a: Assembler) => void): Assembled {
  const buffer = codeBuffer();
  const { emit } = buffer;
  const jump = (mnemonic: string, label: string, opcode: number[]) =>
    buffer.emitJump(target => `${mnemonic} ${hex(target)}`, [...opcode, 0, 0, 0, 0], patch32(label));
  const JE = [0x0f, 0x84];
  const JAE = [0x0f, 0x83];
  const JS = [0x0f, 0x88];

  const memory = (opcode: number, reg: number, base: Register, offset: number, wide: boolean) => {
    const { number } = REGISTERS[base];
    const prefix = rex(wide, reg, number);
    return [...(prefix === 0x40 ? [] : [prefix]), opcode, ...modMemory(reg, number, offset)];
  };
  const place = (size: string, base: Register, offset: number) =>
    `${size} PTR [${REGISTERS[base].name}+${hex(offset)}]`;
  const registers = (mnemonic: string, opcode: number, to: Register, from: Register) => {
    const [t, f] = [REGISTERS[to], REGISTERS[from]];
    emit(`${mnemonic} ${t.name},${f.name}`, [rex(true, f.number, t.number), opcode, modRegister(f.number, t.number)]);
  };

  program({
    label: buffer.label,
    set(register, value) {
      const { number, name, name32 } = REGISTERS[register];
      checkRange(`set ${name}`, value, [-0x80000000, 0xffffffff]);
      if (value < 0) {
        emit(`mov ${name},${immediate(value)}`, [
          rex(true, 0, number),
          0xc7,
          modRegister(0, number),
          ...little32(value),
        ]);
        return;
      }
      // A 32-bit move clears the upper half.
      const prefix = number >> 3 ? [0x41] : [];
      emit(`mov ${name32},${hex(value)}`, [...prefix, 0xb8 | (number & 7), ...little32(value)]);
    },
    move: (to, from) => registers('mov', 0x89, to, from),
    load(register, base, offset) {
      const { number, name } = REGISTERS[register];
      emit(`mov ${name},${place('QWORD', base, offset)}`, memory(0x8b, number, base, offset, true));
    },
    load32(register, base, offset) {
      const { number, name32 } = REGISTERS[register];
      emit(`mov ${name32},${place('DWORD', base, offset)}`, memory(0x8b, number, base, offset, false));
    },
    store(register, base, offset) {
      const { number, name } = REGISTERS[register];
      emit(`mov ${place('QWORD', base, offset)},${name}`, memory(0x89, number, base, offset, true));
    },
    add(register, value) {
      const { number, name } = REGISTERS[register];
      checkRange(`add ${name}`, value, [-0x80000000, 0x7fffffff]);
      const accumulator = number === 0;
      const operation = accumulator ? [0x05] : [0x81, modRegister(0, number)];
      emit(`add ${name},${immediate(value)}`, [rex(true, 0, number), ...operation, ...little32(value)]);
    },
    addRegister: (to, from) => registers('add', 0x01, to, from),
    jump: label => jump('jmp', label, [0xe9]),
    jumpIfZero(register, label) {
      registers('test', 0x85, register, register);
      jump('je', label, JE);
    },
    jumpIfNegative(register, label) {
      registers('test', 0x85, register, register);
      jump('js', label, JS);
    },
    jumpIfEqual(a, b, label) {
      registers('cmp', 0x39, a, b);
      jump('je', label, JE);
    },
    jumpIfBitClear(register, bit, label) {
      const { number, name32 } = REGISTERS[register];
      checkRange(`test ${name32}`, bit, [0, 31]);
      const mask = (1 << bit) >>> 0;
      const prefix = number >> 3 ? [0x41] : [];
      const operation = number === 0 ? [0xa9] : [0xf7, modRegister(0, number)];
      emit(`test ${name32},${hex(mask)}`, [...prefix, ...operation, ...little32(mask)]);
      jump('je', label, JE);
    },
    jumpIfError(label) {
      emit(`cmp rax,${immediate(-4095)}`, [0x48, 0x3d, ...little32(-4095)]);
      jump('jae', label, JAE);
    },
    syscall: () => emit('syscall', [0x0f, 0x05]),
    return: () => emit('ret', [0xc3]),
  });
  return buffer.finish();
}
