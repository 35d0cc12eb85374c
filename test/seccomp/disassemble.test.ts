import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  CODE,
  compile,
  disassemble,
  encode,
  type Filter,
  type Instruction,
  ProgramError,
} from '../../syscalls/seccomp/index.ts';

test('a filter reads as text', () => {
  const filter: Filter = {
    architectures: [
      { name: 'x86_64', syscalls: { socket: 41, swapon: 167 } },
      { name: 'x32', syscalls: { swapon: 0x4000_00a7 } },
    ],
    defaultAction: 'allow',
    rules: [
      { syscall: 'socket', args: [{ index: 1, op: 'masked ==', mask: 0xf_ffff_ffffn, value: 9n }], action: 'trap' },
      { syscall: 'swapon', action: { errno: 1 } },
    ],
  };
  const text = `\
0000  ld    [4]                         ; arch
0001  jeq   #0xc000003e, 0003, 0002     ; x86_64, x32
0002  ret   #0x80000000                 ; kill-process
0003  ld    [0]                         ; nr
0004  jge   #0xa7, 0013, 0005           ; nr 167
0005  jge   #0x29, 0006, 0017           ; nr 41
0006  jge   #0x2a, 0017, 0007           ; nr 42
0007  ld    [28]                        ; args[1], high
0008  and   #0xf
0009  jeq   #0x0, 0010, 0017
0010  ld    [24]                        ; args[1], low
0011  jeq   #0x9, 0012, 0017
0012  ret   #0x30000                    ; trap
0013  jge   #0x400000a7, 0015, 0014     ; nr 0x40000000 + 167
0014  jge   #0xa8, 0017, 0016           ; nr 168
0015  jge   #0x400000a8, 0017, 0016     ; nr 0x40000000 + 168
0016  ret   #0x50001                    ; errno 1
0017  ret   #0x7fff0000                 ; allow
`;
  assert.is(disassemble(compile(filter)), text);
});

test('every operation has a text', () => {
  const program = encode(Object.values(CODE).map((code): Instruction => ({ code, jt: 1, jf: 2, k: 3 })));
  const operations = disassemble(program)
    .trimEnd()
    .split('\n')
    .map(line =>
      line
        .replace(/^\d{4} {2}/, '')
        .replace(/ *;.*/, '')
        .replace(/, \d{4}/g, ' L')
        .replace(/ +/g, ' '),
    );
  const wanted = `ld [3]|ld #0x3|ld len|ld M[3]|ldx #0x3|ldx len|ldx M[3]|st M[3]|stx M[3]|\
add #0x3|add x|sub #0x3|sub x|mul #0x3|mul x|div #0x3|div x|or #0x3|or x|and #0x3|and x|lsh #0x3|lsh x|rsh #0x3|rsh x|\
neg|xor #0x3|xor x|ja 0032|jeq #0x3 L L|jeq x L L|jgt #0x3 L L|jgt x L L|jge #0x3 L L|jge x L L|jset #0x3 L L|\
jset x L L|ret #0x3|ret a|tax|txa`;
  assert.equal(operations, wanted.split('|'));
});

test('an operand is only explained where it is sure what it is compared with', () => {
  const program = encode([
    { code: CODE.ld, jt: 0, jf: 0, k: 4 },
    { code: CODE.jeq, jt: 0, jf: 1, k: 0x4000_0003 },
    { code: CODE.ld, jt: 0, jf: 0, k: 0 },
    { code: CODE.jeq, jt: 0, jf: 0, k: 0x4000_0003 },
    { code: CODE.ret, jt: 0, jf: 0, k: 0 },
  ]);
  const text = `\
0000  ld    [4]                         ; arch
0001  jeq   #0x40000003, 0002, 0003     ; i386
0002  ld    [0]                         ; nr
0003  jeq   #0x40000003, 0004, 0004
0004  ret   #0x0                        ; kill-thread
`;
  assert.is(disassemble(program), text);
});

test('what is no program shows, too', () => {
  const bytes = encode([
    { code: 0x28, jt: 1, jf: 2, k: 12 },
    { code: CODE.ja, jt: 0, jf: 0, k: 99 },
  ]);
  assert.is(disassemble(bytes), '0000  ?     code=0x28 jt=1 jf=2 k=0xc\n0001  ja    0101\n');
  assert.is(disassemble(new Uint8Array(0)), '');
  assert.throws(
    () => disassemble(new Uint8Array(3)),
    (error: Error) => error instanceof ProgramError,
  );
});

test.run();
