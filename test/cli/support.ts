/** The command nspawn, run from its sources and seen from outside: by a shell, or by a terminal. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { readableFrom } from '../../src/streams/readable.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { getTermios, openPty, setWindowSize } from '../../syscalls/tty.ts';
import { eventually, pipe } from '../console/support.ts';
import { busyboxTree } from '../support/tree.ts';

const LONGEST_RUN_MS = 60_000;

/** The words that start it. */
export const NSPAWN: readonly string[] = [process.execPath, resolve(import.meta.dirname, '../../src/cli/main.ts')];

/** Options for a container on the busybox tree that changes nothing in it, and of which there is nothing to warn. */
export const onBusybox = (): string[] => [
  '-D',
  busyboxTree(),
  '--machine=box',
  '--read-only',
  '--timezone=off',
  '--resolv-conf=off',
];

/** The words for a shell script in a container on the busybox tree. */
export const shell = (script: string, ...options: string[]): string[] => [
  ...onBusybox(),
  ...options,
  '--',
  '/bin/sh',
  '-c',
  script,
];

/** How a command ended and what it wrote. */
export interface Outcome {
  /** Exit status, or the name of the signal that killed it. */
  status: number | string;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  command?: readonly string[];
  input?: string;
  env?: Record<string, string>;
  cwd?: string;
  /** False leaves standard output to the caller. */
  collected?: boolean;
}

/** Runs nspawn, or another command, to its end; its standard streams are pipes. */
export async function nspawn(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { child, outcome } = startNspawn(args, options);
  child.stdin!.on('error', () => {}).end(options.input ?? '');
  return await outcome;
}

export interface Running {
  child: ChildProcess;
  /** Standard output. */
  stdout: Readable;
  outcome: Promise<Outcome>;
  /** Waits until standard output has had this text. */
  until(text: string): Promise<void>;
}

/** Starts nspawn with pipes for standard streams, of which the input stays open. */
export function startNspawn(
  args: readonly string[],
  { command = NSPAWN, env, cwd, collected = true }: RunOptions = {},
): Running {
  // Pipes of our own, for Bun gives sockets to its children.
  const [output, errors] = [pipe(), pipe()];
  const stdio: StdioOptions = ['pipe', output.write, errors.write];
  const child = start([...command, ...args], stdio, { env: { ...process.env, ...env }, cwd });
  for (const { write } of [output, errors]) closeFd(write);
  const [outputStream, errorStream] = [readableFrom(output.read), readableFrom(errors.read)];
  const stdout = collected ? collect(outputStream) : () => '';
  const stderr = collect(errorStream);
  // Whoever waits for the outcome is not to wait for ever.
  const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_RUN_MS);
  const closed = [child, outputStream, errorStream].map(each => once(each, 'close'));
  const outcome = Promise.all(closed).then(() => {
    clearTimeout(timer);
    return { status: endOf(child), stdout: stdout(), stderr: stderr() };
  });
  const until = (text: string) =>
    eventually(`${JSON.stringify(text)} is printed`, () => {
      if (child.exitCode !== null) throw new Error(`nspawn ended with ${child.exitCode}: ${stdout()}${stderr()}`);
      return stdout().includes(text);
    });
  return { child, stdout: outputStream, outcome, until };
}

export const endOf = ({ exitCode, signalCode }: ChildProcess): number | string => exitCode ?? signalCode ?? 'running';

function start([program, ...args]: string[], stdio: StdioOptions, options: object = {}): ChildProcess {
  return spawn(program!, args, { stdio, ...options });
}

/** Collects what a stream brings; the answer gives what has come so far. */
function collect(stream: Readable): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

/** A program that a user at a terminal has started. */
export interface Session extends AsyncDisposable {
  child: ChildProcess;
  /** All that the terminal has shown. */
  screen(): string;
  /** Presses keys. */
  type(keys: string): void;
  /** Waits until the terminal has shown a text since the last call. */
  until(text: string): Promise<void>;
  resize(columns: number, rows: number): void;
  /** The terminal's settings, as text to be compared. */
  settings(): string;
  /** Resolves to the exit status, or the name of the signal that ended the program. */
  ended: Promise<number | string>;
}

/**
 * Starts a command on a terminal of its own, which is also its controlling terminal. `redirections` are those of a
 * shell.
 */
export function atTerminal(command: readonly string[], redirections = ''): Session {
  const { master, slave } = openPty();
  setWindowSize(master.fd, { rows: 30, columns: 100, width: 0, height: 0 });
  const stdio = [slave.fd, slave.fd, slave.fd];
  const child = start(['setsid', '--ctty', 'sh', '-c', `exec "$@" ${redirections}`, 'sh', ...command], stdio);
  const output = readableFrom(master.fd);
  const screen = collect(output);
  const closed = once(output, 'close');
  let seen = 0;
  return {
    child,
    screen,
    type: keys => void writeSync(master.fd, keys),
    async until(text) {
      await eventually(`the terminal shows ${JSON.stringify(text)}, and not only ${JSON.stringify(screen())}`, () =>
        screen().includes(text, seen),
      );
      seen = screen().indexOf(text, seen) + text.length;
    },
    resize: (columns, rows) => setWindowSize(master.fd, { rows, columns, width: 0, height: 0 }),
    settings: () => Buffer.from(getTermios(slave.fd)).toString('hex'),
    ended: once(child, 'exit').then(() => endOf(child)),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      output.finish();
      await closed;
      slave[Symbol.dispose]();
    },
  };
}
