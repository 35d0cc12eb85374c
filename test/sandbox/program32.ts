/** A 32-bit program of x86, as bytes: there need be no compiler for it. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Need } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Where it is in memory, and its headers' sizes: elf(5). */
const BASE = 0x0804_8000;
const [EHDR, PHDR] = [52, 32];

/** Numbers of i386. */
const [EXIT, SOCKETCALL] = [1, 102];
const SYS_SOCKET = 1;

const bytes32 = (...values: number[]) => [...new Uint8Array(new Uint32Array(values).buffer)];

/** A program that makes a socket by socket(2) or socketcall(2), and exits with the error's number, or 0. */
export function socketMaker(call: number, family: number, type: number): Uint8Array {
  const start = BASE + EHDR + PHDR;
  const code = (parameters: number) => [
    ...[0xb8, ...bytes32(call)], // mov eax, call
    ...[0xbb, ...bytes32(call === SOCKETCALL ? SYS_SOCKET : family)], // mov ebx, …
    ...[0xb9, ...bytes32(call === SOCKETCALL ? parameters : type)], // mov ecx, …
    ...[0xba, ...bytes32(0)], // mov edx, 0
    ...[0xcd, 0x80], // int 0x80
    ...[0x31, 0xdb], // xor ebx, ebx
    ...[0x85, 0xc0], // test eax, eax
    ...[0x79, 0x04], // jns over the next two
    ...[0x29, 0xc3, 0x90, 0x90], // sub ebx, eax
    ...[0xb8, ...bytes32(EXIT), 0xcd, 0x80], // exit(ebx)
  ];
  const parameters = start + code(0).length;
  const body = [...code(parameters), ...bytes32(family, type, 0)];
  const size = EHDR + PHDR + body.length;
  return new Uint8Array([
    ...[0x7f, 0x45, 0x4c, 0x46, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[2, 0, 3, 0, ...bytes32(1, start, EHDR, 0, 0)], // an executable for i386, its entry and program header
    ...[EHDR, 0, PHDR, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    ...bytes32(1, 0, BASE, BASE, size, size, 5, 4096), // loads all of it, to be read and run
    ...body,
  ]);
}

/** Whether this machine runs such programs. */
export const programs32: Need = () => {
  using directory = temporaryDirectory();
  const program = join(directory.path, 'program');
  writeFileSync(program, socketMaker(SOCKETCALL, 1, 1), { mode: 0o755 });
  return spawnSync(program).status === 0 ? undefined : 'this machine runs no 32-bit programs of x86';
};
