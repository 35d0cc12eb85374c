/** The real kernel's seccomp, by way of kernel.c. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AUDIT_ARCH, encode, instructionCount, type SeccompData } from '../../syscalls/seccomp/index.ts';

/** A call: made with `syscall` for AUDIT_ARCH.x86_64, with `int 0x80` for AUDIT_ARCH.i386. */
export type Call = SeccompData;

/** A program, and calls to make under it; without calls it is only loaded. */
export interface Trial {
  program: Uint8Array;
  calls: readonly Call[];
}

export interface Kernel {
  /** Why there is no kernel to ask, or undefined. */
  missing: string | undefined;
  /** Why there is no kernel to ask about calls of i386, or undefined. */
  missing32: string | undefined;
  /** A line for each call (or for a trial without calls), see kernel.c. */
  run(trials: readonly Trial[]): string[];
  close(): void;
}

const ALLOW_ALL = encode([{ code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 }]);
const GETPPID_64 = 110;
const GETPPID_32 = 64;

/** Builds kernel.c in a temporary directory, which close() removes. */
export function openKernel(): Kernel {
  const directory = mkdtempSync(join(tmpdir(), 'nspawn-seccomp-'));
  const binary = join(directory, 'kernel');
  const run = (trials: readonly Trial[]) => runBinary(binary, trials);
  const missing = build(binary) ?? probe(run, { nr: GETPPID_64, arch: AUDIT_ARCH.x86_64 });
  const missing32 = missing ?? probe(run, { nr: GETPPID_32, arch: AUDIT_ARCH.i386 });
  return { missing, missing32, run, close: () => rmSync(directory, { recursive: true }) };
}

function build(binary: string): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'not Linux on x86-64';
  const source = fileURLToPath(new URL('kernel.c', import.meta.url));
  const { error, status, stderr } = spawnSync('gcc', ['-O1', '-Wall', '-Werror', '-o', binary, source]);
  if (error !== undefined) return 'no gcc';
  if (status !== 0) throw new Error(`gcc cannot build ${source}: ${stderr}`);
  return undefined;
}

function probe(run: Kernel['run'], call: Call): string | undefined {
  const [line] = run([{ program: ALLOW_ALL, calls: [call] }]);
  if (line?.startsWith('returned') && line !== 'returned -38') return undefined;
  return `the kernel has no seccomp or no such calls: ${line}`;
}

function runBinary(binary: string, trials: readonly Trial[]): string[] {
  const input = Buffer.concat(trials.map(trialBytes));
  const { status, stdout, stderr } = spawnSync(binary, { input, encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`kernel.c failed: ${stderr}`);
  return stdout.trimEnd().split('\n');
}

function trialBytes({ program, calls }: Trial): Buffer {
  const bytes = Buffer.alloc(4 + program.length + 4 + calls.length * 56);
  bytes.writeUInt32LE(instructionCount(program), 0);
  bytes.set(program, 4);
  bytes.writeUInt32LE(calls.length, 4 + program.length);
  for (const [index, { nr, arch, args = [] }] of calls.entries()) {
    const offset = 4 + program.length + 4 + index * 56;
    bytes.writeUInt32LE(arch === AUDIT_ARCH.i386 ? 1 : 0, offset);
    bytes.writeUInt32LE(nr >>> 0, offset + 4);
    for (const [position, value] of args.entries()) bytes.writeBigUInt64LE(value, offset + 8 + 8 * position);
  }
  return bytes;
}
