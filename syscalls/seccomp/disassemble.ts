/**
 * Programs as text for people.
 */

import { decodeAction } from './action.ts';
import { AUDIT_ARCH } from './arch.ts';
import type { Instruction } from './bpf.ts';
import { CODE, decode, jumpTargets, type Mnemonic, mnemonic, OFFSET } from './bpf.ts';

/**
 * A program's instructions, one a line: line number, operation, operand, the lines that a jump leads to (for
 * conditional ones first where the test holds, then where it does not), and what is known of the operand.
 *
 *     0000  ld    [4]                        ; arch
 *     0001  jeq   #0xc000003e, 0002, 0041    ; x86_64, x32
 *     0002  ld    [0]                        ; nr
 *
 * Operations that seccomp does not accept show as `?` with their fields. Throws ProgramError if the bytes are no whole
 * number of instructions; whether the kernel takes the program is not asked.
 */
export function disassemble(program: Uint8Array): string {
  const instructions = decode(program);
  const offsets = loadedOffsets(instructions);
  return instructions.map((instruction, at) => line(instruction, at, offsets[at]!)).join('');
}

/** __X32_SYSCALL_BIT in <asm/unistd.h>. */
const X32_BIT = 0x4000_0000;

/**
 * By instruction: the offset of the word of seccomp_data that A holds there whatever way led there, if there is one.
 * As jumps only lead forward, one pass will do.
 */
function loadedOffsets(instructions: readonly Instruction[]): (number | undefined)[] {
  const possible = instructions.map(() => new Set<number | undefined>());
  for (const [at, instruction] of instructions.entries()) {
    const { code, k } = instruction;
    if (code === CODE.ret || code === CODE.retA) continue;
    const targets = jumpTargets(instruction, at);
    for (const target of targets) for (const offset of possible[at]!) possible[target]?.add(offset);
    if (targets.length === 0) possible[at + 1]?.add(code === CODE.ld ? k : undefined);
  }
  return possible.map(offsets => (offsets.size === 1 ? [...offsets][0] : undefined));
}

function line(instruction: Instruction, at: number, loaded: number | undefined): string {
  const name = mnemonic(instruction);
  const targets = jumpTargets(instruction, at).map(lineNumber);
  const operands = [operandText(name, instruction), ...targets].filter(text => text !== '').join(', ');
  const text = `${lineNumber(at)}  ${operationText(name).padEnd(4)}  ${operands}`.trimEnd();
  const comment = commentText(instruction, loaded);
  return `${comment === undefined ? text : `${text.padEnd(40)}; ${comment}`}\n`;
}

/** The operation as the kernel's own tools write it: the kinds of loads and the register X show in the operand. */
function operationText(name: Mnemonic | undefined): string {
  return name?.replace(/^(ldx?)(i|len|m)$/, '$1').replace(/[XA]$/, '') ?? '?';
}

function operandText(name: Mnemonic | undefined, { code, jt, jf, k }: Instruction): string {
  switch (name) {
    case undefined:
      return `code=${hex(code)} jt=${jt} jf=${jf} k=${hex(k)}`;
    case 'ld':
      return `[${k}]`;
    case 'ldlen':
    case 'ldxlen':
      return 'len';
    case 'ldm':
    case 'ldxm':
    case 'st':
    case 'stx':
      return `M[${k}]`;
    case 'ja':
    case 'neg':
    case 'tax':
    case 'txa':
      return '';
    case 'retA':
      return 'a';
    default:
      return name.endsWith('X') ? 'x' : `#${hex(k)}`;
  }
}

/** What the operand stands for, where that is sure. */
function commentText({ code, k }: Instruction, loaded: number | undefined): string | undefined {
  if (code === CODE.ld) return fieldName(k);
  if (code === CODE.ret) return actionText(k);
  if (code === CODE.jeq && loaded === OFFSET.arch) return archNames(k);
  if ((code === CODE.jeq || code === CODE.jge) && loaded === OFFSET.nr)
    return `nr ${k < X32_BIT ? k : `0x40000000 + ${k - X32_BIT}`}`;
  return undefined;
}

function fieldName(offset: number): string {
  if (offset === OFFSET.nr) return 'nr';
  if (offset === OFFSET.arch) return 'arch';
  const half = offset % 8 === 0 ? 'low' : 'high';
  if (offset < OFFSET.args) return `instruction_pointer, ${half}`;
  return `args[${Math.floor((offset - OFFSET.args) / 8)}], ${half}`;
}

function archNames(value: number): string | undefined {
  const names = Object.entries(AUDIT_ARCH).filter(([, auditArch]) => auditArch === value);
  return names.length === 0 ? undefined : names.map(([name]) => name).join(', ');
}

function actionText(word: number): string {
  const action = decodeAction(word);
  if (typeof action === 'string') return action;
  return 'errno' in action ? `errno ${action.errno}` : `trace ${action.trace}`;
}

function lineNumber(at: number): string {
  return String(at).padStart(4, '0');
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
