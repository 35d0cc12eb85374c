/** Runs eBPF programs that read their context, as the kernel would: for tests of the programs that we make. */
import { CODE, type Instruction } from '../../syscalls/bpf/instructions.ts';

/** What a program answers. Throws for what the kernel's verifier would refuse. */
export function interpret(program: readonly Instruction[], context: Uint8Array): bigint {
  const memory = new DataView(context.buffer, context.byteOffset, context.byteLength);
  const registers: (bigint | 'context' | undefined)[] = [undefined, 'context'];
  const read = (register: number): bigint => {
    const value = registers[register];
    if (typeof value !== 'bigint') throw new Error(`register ${register} has no number`);
    return value;
  };
  for (let at = 0; ; at++) {
    const instruction = program[at];
    if (!instruction) throw new Error(`there is no instruction ${at}`);
    const { code, destination, source, offset, constant } = instruction;
    const operand = BigInt.asUintN(64, BigInt(constant));
    switch (code) {
      case CODE.loadWord:
        if (registers[source] !== 'context') throw new Error(`register ${source} is no address`);
        registers[destination] = BigInt(memory.getUint32(offset, true));
        break;
      case CODE.set:
        registers[destination] = operand;
        break;
      case CODE.copy:
        registers[destination] = read(source);
        break;
      case CODE.and:
        registers[destination] = read(destination) & operand;
        break;
      case CODE.shiftRight:
        registers[destination] = read(destination) >> operand;
        break;
      case CODE.jumpIfNot:
        if (offset < 0) throw new Error('it jumps back');
        if (read(destination) !== operand) at += offset;
        break;
      case CODE.exit:
        return read(0);
      default:
        throw new Error(`instruction ${at} is unknown: ${code}`);
    }
  }
}
