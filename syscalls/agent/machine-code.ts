/**
 * The programs of programs.ts as machine code. In the one-file executable scripts/build.ts puts their bytes in this
 * module's place: assembling takes a millisecond in a runtime that has just started.
 */
import { hostArchitecture, syscallNumbers } from '../machine.ts';
import { assembleArm64 } from './arm64.ts';
import type { Assembled, Assembler } from './assembler.ts';
import { type Architecture, elfExecutable } from './elf.ts';
import { agentProgram, stubProgram } from './programs.ts';
import { assembleX86_64 } from './x86_64.ts';

/** Assembles a program for an architecture. */
export function assemble(architecture: Architecture, program: (a: Assembler) => void): Assembled {
  return architecture === 'x86_64' ? assembleX86_64(program) : assembleArm64(program);
}

/** The stub's code. */
export const stubCode = (architecture = hostArchitecture(), numbers = syscallNumbers()): Uint8Array =>
  assemble(architecture, stubProgram(numbers)).code;

/** The agent as an executable. */
export const agentElf = (architecture = hostArchitecture(), numbers = syscallNumbers()): Uint8Array =>
  elfExecutable(architecture, assemble(architecture, agentProgram(numbers)).code);
