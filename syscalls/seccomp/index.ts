/**
 * Seccomp filters: from rules over syscall names and arguments to BPF programs, and back to text and decisions. Pure:
 * it needs nothing but JavaScript. Installing a program is up to the caller: seccomp(2), SECCOMP_SET_MODE_FILTER.
 *
 *     const filter = {
 *       architectures: [await loadArchitecture('x86_64')],
 *       defaultAction: 'allow',
 *       rules: [{ syscall: 'swapon', action: { errno: 1 } }],
 *     } satisfies Filter;
 *     const program = compile(filter);
 *     evaluate(program, { nr: 167, arch: AUDIT_ARCH.x86_64 }).action; // { errno: 1 }
 */

export type { Action } from './action.ts';
export { decodeAction, encodeAction } from './action.ts';
export type { Architecture, ArchitectureName } from './arch.ts';
export { AUDIT_ARCH, syscallNumber } from './arch.ts';
export type { Instruction } from './bpf.ts';
export { CODE, decode, encode, instructionCount, MAX_INSTRUCTIONS } from './bpf.ts';
export { checkProgram } from './check.ts';
export { compile } from './compile.ts';
export { disassemble } from './disassemble.ts';
export { FilterError, ProgramError } from './errors.ts';
export type { SeccompData, Verdict } from './interpret.ts';
export { evaluate, loadProgram } from './interpret.ts';
export { loadArchitecture } from './load-architecture.ts';
export type { HostArchitecture } from './nspawn-filter.ts';
export { nspawnFilter } from './nspawn-filter.ts';
export { nspawnProgram } from './nspawn-program.ts';
export type { ArgumentIndex, Condition, Filter, Rule } from './rules.ts';
