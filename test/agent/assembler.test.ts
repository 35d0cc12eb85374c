/** Machine code against objdump: what it reads in our bytes must be what our own listing says. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Assembled, Assembler, Register, Word } from '../../syscalls/agent/assembler.ts';
import type { Architecture } from '../../syscalls/agent/elf.ts';
import { assemble } from '../../syscalls/agent/machine-code.ts';
import { agentProgram, stubProgram } from '../../syscalls/agent/programs.ts';
import { arm64 } from '../../syscalls/tables/arm64.ts';
import { x86_64 } from '../../syscalls/tables/x86_64.ts';
import { needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const ARCHITECTURES = [
  { name: 'x86_64', numbers: x86_64, objdump: 'objdump', options: ['-m', 'i386:x86-64', '-M', 'intel'] },
  { name: 'arm64', numbers: arm64, objdump: 'aarch64-linux-gnu-objdump', options: ['-m', 'aarch64'] },
] as const;

type Line = Assembled['listing'][number];

/** What objdump reads in the code, without the values in other notations that it puts behind instructions. */
function disassemble({ objdump, options }: (typeof ARCHITECTURES)[number], code: Uint8Array): Line[] {
  using directory = temporaryDirectory();
  const file = join(directory.path, 'code');
  writeFileSync(file, code);
  const listing = execFileSync(objdump, ['-D', '-b', 'binary', '--no-show-raw-insn', '-w', '-z', ...options, file], {
    encoding: 'utf8',
  });
  return [...listing.matchAll(/^ *([0-9a-f]+):\t(.*)$/gm)].map(([, offset, text]) => ({
    offset: Number.parseInt(offset!, 16),
    text: normalised(text!),
  }));
}

const normalised = (text: string) =>
  text
    .replace(/\s*\/\/.*$/, '')
    .replaceAll(/\s+/g, ' ')
    .trim();

function assertListed(architecture: (typeof ARCHITECTURES)[number], program: (a: Assembler) => void): void {
  const { code, listing } = assemble(architecture.name, program);
  const read = disassemble(architecture, code);
  for (const [i, line] of listing.entries()) {
    assert.equal(read[i], { ...line, text: normalised(line.text) }, `instruction ${i}`);
  }
  assert.is(read.length, listing.length);
}

const WORDS: Word[] = ['nr', 'result', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5', 's0', 's1', 's2', 's3', 's4'];
const REGISTERS: Register[] = [...WORDS, 'sp'];

/** Every instruction with every register, and with the numbers at the edges of what the encodings hold. */
function everyInstruction(a: Assembler): void {
  a.label('start');
  for (const register of WORDS) {
    for (const value of [0, 1, 0xfff, 0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000, 0xffff0000, 0xffffffff]) {
      a.set(register, value);
    }
    for (const value of [-1, -2, -100, -0x8000, -0xffff, -0x10000]) a.set(register, value);
  }
  for (const to of REGISTERS) {
    for (const from of REGISTERS) a.move(to, from);
    for (const value of [1, 8, 127, 128, 4095, -1, -8, -128, -129, -4095]) a.add(to, value);
  }
  for (const register of WORDS) {
    a.add(register, 0); // To sp it is what objdump calls a move.
    for (const base of REGISTERS) {
      for (const offset of [0, 8, 120, 128, 4096, 32760]) {
        a.load(register, base, offset);
        a.store(register, base, offset);
      }
      for (const offset of [0, 4, 124, 4092, 16380]) a.load32(register, base, offset);
    }
    for (const from of WORDS) a.addRegister(register, from);
  }
  a.syscall();
  a.return();
}

/** Every jump with every register, to labels behind, ahead, and at the very instruction. */
function everyJump(a: Assembler): void {
  const jumps: ((label: string) => void)[] = [
    a.jump,
    a.jumpIfError,
    ...WORDS.flatMap(register => [
      (label: string) => a.jumpIfZero(register, label),
      (label: string) => a.jumpIfNegative(register, label),
      ...WORDS.map(other => (label: string) => a.jumpIfEqual(register, other, label)),
      ...[0, 1, 7, 8, 30, 31].map(bit => (label: string) => a.jumpIfBitClear(register, bit, label)),
    ]),
  ];
  a.label('start');
  for (const [i, jump] of jumps.entries()) {
    a.label(`here ${i}`);
    jump(`here ${i}`);
    jump('start');
    jump('end');
  }
  a.label('end');
  a.return();
}

for (const architecture of ARCHITECTURES) {
  const { name, numbers, objdump } = architecture;
  const disassembled = needs([tool(objdump)]);
  disassembled(`${name}: the stub is what its listing says`, () => assertListed(architecture, stubProgram(numbers)));
  disassembled(`${name}: the agent is what its listing says`, () => assertListed(architecture, agentProgram(numbers)));
  disassembled(`${name}: every instruction is what its listing says`, () =>
    assertListed(architecture, everyInstruction),
  );
  disassembled(`${name}: every jump is what its listing says`, () => assertListed(architecture, everyJump));

  test(`${name}: a label that is missing or stands twice is an error`, () => {
    assert.throws(() => assemble(name, a => a.jump('nowhere')), /a jump to 'nowhere': no such label/);
    assert.throws(
      () =>
        assemble(name, a => {
          a.label('here');
          a.label('here');
        }),
      /label 'here': it stands twice/,
    );
  });

  test(`${name}: a system call that the architecture lacks is an error`, () => {
    const { clone3: _, ...without } = numbers;
    assert.throws(() => assemble(name, stubProgram(without)), /assembling clone3: this architecture has no such/);
  });
}

const refused = (architecture: Architecture, ...programs: ((a: Assembler) => void)[]) => {
  for (const program of programs) {
    assert.throws(() => assemble(architecture, program), /^assembling .*can't be encoded, only/, String(program));
  }
};

const FOR_ALL: ((a: Assembler) => void)[] = [
  a => a.set('a0', 2 ** 32),
  a => a.set('a0', 1.5),
  a => a.set('a0', Number.NaN),
  a => a.set('a0', -(2 ** 31) - 1),
  a => a.load('a0', 's0', -8),
  a => a.load('a0', 's0', 2 ** 31),
  a => a.load32('a0', 's0', -4),
  a => a.load32('a0', 's0', 2 ** 31),
  a => a.store('a0', 's0', -8),
  a => a.store('a0', 's0', 2 ** 31),
  a => a.add('a0', 2 ** 31),
  a => a.add('a0', -(2 ** 31) - 1),
  a => a.add('a0', 0.5),
  a => a.jumpIfBitClear('a0', 32, 'start'),
  a => a.jumpIfBitClear('a0', -1, 'start'),
];

test('x86_64: what an encoding cannot hold is an error', () => refused('x86_64', ...FOR_ALL));

test('arm64: what an encoding cannot hold is an error', () => {
  refused(
    'arm64',
    ...FOR_ALL,
    a => a.set('a0', -0x10001),
    a => a.load('a0', 's0', 4),
    a => a.load('a0', 's0', 32768),
    a => a.load32('a0', 's0', 2),
    a => a.load32('a0', 's0', 16384),
    a => a.store('a0', 's0', 4),
    a => a.store('a0', 's0', 32768),
    a => a.add('a0', 4096),
    a => a.add('a0', -4096),
  );
});

/** Fills with instructions of four bytes each between a jump and its label. */
function jumpOver(jump: (a: Assembler) => void, instructions: number): (a: Assembler) => void {
  return a => {
    a.label('start');
    jump(a);
    for (let i = 0; i < instructions; i++) a.syscall();
    a.label('end');
  };
}

test('arm64: a jump reaches as far as its encoding, and is an error beyond', () => {
  // TBZ and TBNZ have 14 bits, CBZ and B.cond 19, each counting instructions.
  const bitClear = (a: Assembler) => a.jumpIfBitClear('a0', 3, 'end');
  const negative = (a: Assembler) => a.jumpIfNegative('a0', 'end');
  const zero = (a: Assembler) => a.jumpIfZero('a0', 'end');
  for (const [jump, reach] of [
    [bitClear, 2 ** 13 - 1],
    [negative, 2 ** 13 - 1],
    [zero, 2 ** 18 - 1],
  ] as const) {
    assemble('arm64', jumpOver(jump, reach - 1));
    assert.throws(() => assemble('arm64', jumpOver(jump, reach)), /a jump to 'end'.*can't be encoded/);
  }
});

test.run();
