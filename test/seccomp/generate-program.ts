/** Random BPF programs of all operations, most of them valid. */

import { CODE, type Instruction } from '../../syscalls/seccomp/index.ts';
import type { Random } from '../support/random.ts';

const OPERATIONS = Object.values(CODE);

/** Loads arguments and memory, computes and jumps at random, and returns what A has become as an errno. */
export function randomProgram(random: Random, length: number): Instruction[] {
  const start = [step(CODE.ld, 16), step(CODE.st, 0), step(CODE.tax), step(CODE.ld, 28), step(CODE.stx, 1)];
  const ending = [step(CODE.and, 0xfff), step(CODE.or, 0x0005_0000), step(CODE.retA)];
  const body = Array.from({ length }, (_, at) => randomInstruction(random, length - at - 1 + ending.length));
  return [...start, ...body, ...ending];
}

function step(code: number, k = 0): Instruction {
  return { code, jt: 0, jf: 0, k };
}

function randomInstruction(random: Random, following: number): Instruction {
  const code = random.oneIn(60) ? random.below(256) : random.pick(OPERATIONS);
  const skip = () => (random.oneIn(60) ? random.below(256) : random.below(Math.min(following, 6)));
  const k = random.pick([0, 1, 31, 32, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, random.below(64), random.uint32()]);
  const jt = skip();
  const jf = skip();
  return { code, jt, jf, k: random.oneIn(40) ? k : validOperand(random, code, k, following) };
}

function validOperand(random: Random, code: number, k: number, following: number): number {
  switch (code) {
    case CODE.ld:
      // Not 8 and 12, the instruction pointer, which the interpreter cannot know.
      return random.pick([0, 4, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60]);
    case CODE.ldm:
    case CODE.ldxm:
    case CODE.st:
    case CODE.stx:
      return random.below(3);
    case CODE.lsh:
    case CODE.rsh:
      return random.below(32);
    case CODE.div:
      return Math.max(1, k);
    case CODE.ja:
      return random.below(Math.min(following, 6));
    case CODE.ret:
      return 0x0005_0000 + random.below(4096);
    default:
      return k;
  }
}
