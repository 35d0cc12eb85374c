/** What the tests of consoles and streams have in common. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { AF, F, O, SOCK } from '../../syscalls/constants.ts';
import { syscall } from '../../syscalls/syscall.ts';

/** A pipe(2) whose ends are close-on-exec. */
export function pipe(): { read: number; write: number } {
  const [read, write] = pair(out => syscall('pipe2', { out }, O.CLOEXEC));
  return { read, write };
}

/** Two connected sockets of unix(7). */
export const socketPair = (): [number, number] =>
  pair(out => syscall('socketpair', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0, { out }));

function pair(fill: (out: Uint8Array) => void): [number, number] {
  const fds = new Int32Array(2);
  fill(new Uint8Array(fds.buffer));
  return [fds[0]!, fds[1]!];
}

export const isNonBlocking = (fd: number): boolean => (syscall('fcntl', fd, F.GETFL) & O.NONBLOCK) !== 0;

/** The terminals, pipes and sockets that this process has open, each with its number. */
export const openDescriptors = (): string[] =>
  readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      return [`${fd} -> ${readlinkSync(`/proc/self/fd/${fd}`)}`];
    } catch {
      return []; // The one that read the directory.
    }
  });

/** A payload: a shell command with a terminal, pipe or socket as its three standard streams. */
export const runOn = (fd: number, command: string): ChildProcess =>
  spawn('sh', ['-c', command], { stdio: [fd, fd, fd] });

/** The exit status of a child, or the signal that killed it. */
export async function endingOf(child: ChildProcess): Promise<number | string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode ?? child.signalCode!;
}

/** All that a stream brings, as text. */
export async function textOf(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

/** Waits until a condition is met; fails when it never is. */
export async function eventually(what: string, condition: () => unknown): Promise<void> {
  const end = performance.now() + 20_000;
  for (let pause = 0; performance.now() < end; pause = 10) {
    if (condition()) return;
    await setTimeout(pause);
  }
  throw new Error(`Waiting until ${what}: it has not come about within 20 seconds`);
}

/** A shell command that prints exactly this many bytes, in lines; and how to know them again. */
export const printing = (bytes: number): string => `yes abcdefghijklmnopqrstuvwxyz | head -c ${bytes}`;

/** Checks bytes against what `printing` prints, as they come. */
export function printedChecker(): { check(chunk: Uint8Array): void; total(): number } {
  const lines = Buffer.from('abcdefghijklmnopqrstuvwxyz\n'.repeat(8192));
  let total = 0;
  return {
    check(chunk) {
      for (let offset = 0; offset < chunk.length; ) {
        const at = total % 27;
        const size = Math.min(chunk.length - offset, lines.length - at);
        if (Buffer.compare(chunk.subarray(offset, offset + size), lines.subarray(at, at + size)) !== 0)
          throw new Error(`Output differs from what was printed within ${size} bytes from ${total}`);
        offset += size;
        total += size;
      }
    },
    total: () => total,
  };
}
