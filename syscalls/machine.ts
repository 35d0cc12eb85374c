/** The machine this runs on: its architecture and its system call numbers. */
import process from 'node:process';
import type { Architecture } from './agent/elf.ts';
import { arm64 } from './tables/arm64.ts';
import { x86_64 } from './tables/x86_64.ts';

/** This machine's architecture. Throws where nspawn has no machine code for it. */
export function hostArchitecture(): Architecture {
  if (process.arch === 'x64') return 'x86_64';
  if (process.arch === 'arm64') return 'arm64';
  throw new Error(`nspawn runs on x86-64 and arm64, not on ${process.arch}`);
}

/** Number of a system call on this machine. Throws when it has none of this name. */
export function syscallNumber(name: string): number {
  const number = syscallNumbers()[name];
  if (number === undefined) throw new Error(`calling ${name}: this architecture has no such system call`);
  return number;
}

/** All system call numbers of this machine by name. */
export const syscallNumbers = (): Readonly<Record<string, number>> => (process.arch === 'arm64' ? arm64 : x86_64);
