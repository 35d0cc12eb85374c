/** The system call filters that systemd-nspawn loads, as strace shows them. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { encode, type Instruction, loadProgram, type SeccompData } from '../../syscalls/seccomp/index.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busyboxTree } from '../support/tree.ts';

/** <linux/bpf_common.h>, <linux/seccomp.h> */
const CONSTANTS: Readonly<Record<string, number>> = {
  ...{ BPF_LD: 0, BPF_LDX: 1, BPF_ST: 2, BPF_STX: 3, BPF_ALU: 4, BPF_JMP: 5, BPF_RET: 6, BPF_MISC: 7 },
  ...{ BPF_W: 0, BPF_ABS: 0x20, BPF_IMM: 0, BPF_MEM: 0x60, BPF_K: 0, BPF_X: 8 },
  ...{ BPF_JA: 0, BPF_JEQ: 0x10, BPF_JGT: 0x20, BPF_JGE: 0x30, BPF_JSET: 0x40, BPF_AND: 0x50, BPF_OR: 0x40 },
  ...{ SECCOMP_RET_ALLOW: 0x7fff0000, SECCOMP_RET_ERRNO: 0x50000 },
  ...{ SECCOMP_RET_KILL_PROCESS: 0x80000000, SECCOMP_RET_KILL_THREAD: 0 },
};

/** `BPF_JMP|BPF_K|BPF_JEQ` or `0x1f`. */
function constant(text: string): number {
  const numbers = text.split('|').map(word => CONSTANTS[word.trim()] ?? Number(word));
  if (numbers.some(Number.isNaN)) throw new Error(`strace has shown ${text}, which this test can't read`);
  return numbers.reduce((all, number) => (all | number) >>> 0, 0);
}

const CALL = /^\d+ +seccomp\(SECCOMP_SET_MODE_FILTER, 0, \{len=(\d+), filter=\[(.*)\]\}\) += 0$/gm;
const INSTRUCTION = /BPF_(?:STMT|JUMP)\(([^)]*)\)/g;

/** What the kernel does on a call with several filters: the gravest counts, of equal ones that which was loaded last. */
export type Decide = (data: SeccompData) => number;

/** What systemd-nspawn's filters decide with these options, as the word that they return. */
export function realFilter(...options: string[]): Decide {
  using directory = temporaryDirectory();
  const file = join(directory.path, 'trace');
  const words = ['-f', '-v', '-s', '0', '-e', 'trace=seccomp', '-o', file, 'systemd-nspawn'];
  words.push('--register=no', '--keep-unit', '-q', '--read-only', '-D', busyboxTree(), '--console=pipe', ...options);
  // It may fail to start the payload with a filter that it has loaded.
  spawnSync('strace', [...words, '--', '/bin/true'], { timeout: 60_000 });
  const shown = readFileSync(file, 'utf8');
  const programs = [...shown.matchAll(CALL)].map(([, length, text]) => {
    const instructions = [...text!.matchAll(INSTRUCTION)].map(([, parts]): Instruction => {
      const [code = 0, k = 0, jt = 0, jf = 0] = parts!.split(', ').map(constant);
      return { code, k, jt, jf };
    });
    if (instructions.length !== Number(length)) throw new Error('strace has not shown all of a filter');
    return loadProgram(encode(instructions));
  });
  if (programs.length === 0) throw new Error(`strace has shown no filter: ${shown}`);
  return data =>
    programs
      .toReversed()
      .map(run => run(data).word)
      .reduce((gravest, word) => (gravity(word) < gravity(gravest) ? word : gravest));
}

/** SECCOMP_RET_ACTION_FULL, signed: see <linux/seccomp.h>. */
const gravity = (word: number) => (word & 0xffff0000) | 0;

/** What a single program decides. */
export function decideBy(program: Uint8Array): Decide {
  const run = loadProgram(program);
  return data => run(data).word;
}
