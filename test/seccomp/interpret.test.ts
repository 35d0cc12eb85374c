import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  AUDIT_ARCH,
  CODE,
  decodeAction,
  encode,
  evaluate,
  type Instruction,
  loadProgram,
  ProgramError,
  type SeccompData,
} from '../../syscalls/seccomp/index.ts';

type Step = [operation: keyof typeof CODE, k?: number, jt?: number, jf?: number];

function program(...steps: Step[]): Uint8Array {
  return encode(steps.map(([operation, k = 0, jt = 0, jf = 0]) => ({ code: CODE[operation], jt, jf, k })));
}

/** The word that a program of these steps, with a `ret a` after them, returns. */
function result(...steps: Step[]): number {
  return evaluate(program(...steps, ['retA']), { nr: 0, arch: 0 }).word;
}

test('loads read the fields of seccomp_data', () => {
  const data: SeccompData = {
    nr: -2,
    arch: AUDIT_ARCH.i386,
    instructionPointer: 0x1111_2222_3333_4444n,
    args: [0x0a0a_0b0b_0c0c_0d0dn, 1n, 2n, 3n, 4n, -1n],
  };
  const wanted = [0xffff_fffe, 0x4000_0003, 0x3333_4444, 0x1111_2222, 0x0c0c_0d0d, 0x0a0a_0b0b, 1, 0, 2, 0, 3, 0, 4, 0];
  wanted.push(0xffff_ffff, 0xffff_ffff);
  for (const [index, word] of wanted.entries()) {
    assert.equal(evaluate(program(['ld', 4 * index], ['retA']), data).word, word, `offset ${4 * index}`);
  }
});

test('missing arguments are 0', () => {
  assert.equal(result(['ld', 60]), 0);
});

test('registers start at 0', () => {
  assert.equal(result(), 0);
  assert.equal(result(['txa']), 0);
});

test('arithmetic is of 32 bits, unsigned', () => {
  const cases: [operation: Step[0], a: number, b: number, wanted: number][] = [
    ['add', 0xffff_ffff, 2, 1],
    ['sub', 1, 2, 0xffff_ffff],
    ['mul', 0xffff_ffff, 0xffff_fffd, 3],
    ['div', 0xffff_fffe, 3, 0x5555_5554],
    ['or', 0x8000_0000, 1, 0x8000_0001],
    ['and', 0xffff_ffff, 0x8000_0001, 0x8000_0001],
    ['lsh', 0xffff_ffff, 31, 0x8000_0000],
    ['rsh', 0x8000_0000, 31, 1],
    ['xor', 0xffff_ffff, 1, 0xffff_fffe],
    ['neg', 1, 0, 0xffff_ffff],
  ];
  for (const [operation, a, b, wanted] of cases) {
    assert.equal(result(['ldi', a], [operation, b]), wanted, operation);
    if (operation === 'neg') continue;
    assert.equal(result(['ldi', a], ['ldxi', b], [`${operation}X` as Step[0]]), wanted, `${operation} x`);
  }
});

test('a shift by X counts modulo 32, a division by an X of 0 ends the program with 0', () => {
  assert.equal(result(['ldi', 1], ['ldxi', 33], ['lshX']), 2);
  assert.equal(evaluate(program(['ldi', 1], ['divX'], ['ret', 0x7fff_0000]), { nr: 0, arch: 0 }).action, 'kill-thread');
});

test('memory, lengths and transfers', () => {
  assert.equal(result(['ldi', 7], ['st', 15], ['ldi', 0], ['ldm', 15]), 7);
  assert.equal(result(['ldxi', 8], ['stx', 0], ['ldxi', 0], ['ldxm', 0], ['txa']), 8);
  assert.equal(result(['ldi', 9], ['tax'], ['ldi', 0], ['txa']), 9);
  assert.equal(result(['ldlen']), 64);
  assert.equal(result(['ldxlen'], ['txa']), 64);
});

test('jumps', () => {
  const jump = (operation: Step[0], a: number, k: number) =>
    result(['ldi', a], ['ldxi', k], [operation, k, 1, 0], ['ret', 0], ['ret', 1]);
  for (const suffix of ['', 'X']) {
    const taken = (operation: string, a: number, k: number) => jump(`${operation}${suffix}` as Step[0], a, k) === 1;
    assert.ok(taken('jeq', 0xffff_ffff, 0xffff_ffff));
    assert.not.ok(taken('jeq', 1, 2));
    assert.ok(taken('jgt', 0x8000_0000, 1));
    assert.not.ok(taken('jgt', 1, 1));
    assert.ok(taken('jge', 1, 1));
    assert.not.ok(taken('jge', 1, 0x8000_0000));
    assert.ok(taken('jset', 0x8000_0001, 0x8000_0000));
    assert.not.ok(taken('jset', 1, 2));
  }
  assert.equal(evaluate(program(['ja', 1], ['ret', 1], ['ret', 2]), { nr: 0, arch: 0 }).word, 2);
});

test('executed instructions are counted', () => {
  const run = loadProgram(program(['ld', 0], ['jeq', 1, 1, 0], ['ja', 1], ['ret', 1], ['ret', 2]));
  assert.equal(run({ nr: 1, arch: 0 }).executed, 3);
  assert.equal(run({ nr: 2, arch: 0 }).executed, 4);
});

test('words that a filter returns are decoded as the kernel takes them', () => {
  assert.equal(decodeAction(0x0005_ffff), { errno: 4095 });
  assert.equal(decodeAction(0x7fff_1234), 'allow');
  assert.equal(decodeAction(0x0003_0007), 'trap');
  assert.equal(decodeAction(0x7ff0_ffff), { trace: 65535 });
  assert.equal(decodeAction(0x1234_0000), 'kill-process');
});

test('programs that the kernel refuses are refused', () => {
  const ok: Step = ['ret', 0];
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /empty/],
    [new Uint8Array(7), /7 bytes are not a multiple of 8/],
    [program(...Array.from({ length: 4097 }, () => ok)), /4097 instructions/],
    [program(['ld', 0]), /instruction 0: the program does not end with a return/],
    [program(['ja', 1], ok), /instruction 0: the jump leads out of the program/],
    [program(['ja', 0xffff_ffff], ok), /instruction 0: the jump/],
    [program(['jeq', 0, 1, 0], ok), /instruction 0: the jump/],
    [program(['jeq', 0, 0, 1], ok), /instruction 0: the jump/],
    [program(['ld', 64], ok), /offset 64/],
    [program(['ld', 2], ok), /offset 2/],
    [program(['ld', 0xffff_f000], ok), /offset 4294963200/],
    [program(['ldm', 0], ok), /memory word 0 is not stored/],
    [program(['jeq', 0, 0, 1], ['st', 3], ['ldm', 3], ok), /instruction 2: memory word 3 is not stored/],
    [program(['st', 16], ok), /no memory word 16/],
    [program(['div', 0], ok), /division by zero/],
    [program(['lsh', 32], ok), /shift by 32/],
    // Kernels take these for sockets, but not for seccomp: a byte load, BPF_MOD.
    [encode([{ code: 0x30, jt: 0, jf: 0, k: 0 } satisfies Instruction, { code: 6, jt: 0, jf: 0, k: 0 }]), /0x30/],
    [encode([{ code: 0x94, jt: 0, jf: 0, k: 1 } satisfies Instruction, { code: 6, jt: 0, jf: 0, k: 0 }]), /0x94/],
  ];
  for (const [bytes, message] of cases) {
    assert.throws(
      () => loadProgram(bytes),
      (error: Error) => error instanceof ProgramError && message.test(error.message),
      String(message),
    );
  }
});

test('stored memory words may be loaded on all ways', () => {
  loadProgram(program(['st', 3], ['jeq', 0, 0, 1], ['ld', 0], ['ldm', 3], ['ret', 0]));
  loadProgram(program(['jeq', 0, 0, 2], ['st', 3], ['ja', 1], ['st', 3], ['ldm', 3], ['ret', 0]));
});

test.run();
