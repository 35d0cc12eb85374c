/** Runs commands in containers and hands back what came of it. */
import type { Readable } from 'node:stream';
import { type LogLevel, type SpawnOptions, spawn } from '../../src/index.ts';
import type { Logger } from '../../src/log.ts';
import { busyboxTree } from '../support/tree.ts';

export interface Outcome {
  /** Without the newline at its end. */
  stdout: string;
  stderr: string;
  /** Exit status, or the name of what ended it otherwise. */
  status: number | string;
  /** What was logged: `level: message`, trace and debug too. */
  log: string[];
}

/** A logger that keeps lines, and the lines. */
export function keepingLogger(): { logger: Logger; log: string[] } {
  const log: string[] = [];
  const keep = (level: LogLevel) => (message: string) => log.push(`${level}: ${message}`);
  const levels = ['trace', 'debug', 'info', 'warn', 'error'] as const;
  const logger = Object.fromEntries(levels.map(level => [level, keep(level)])) as Record<LogLevel, () => void>;
  return { logger, log };
}

/** Runs a container to its end. A container that hangs is killed after `seconds`, and fails. */
export async function run(options: SpawnOptions, { input = '', seconds = 30 } = {}): Promise<Outcome> {
  const { logger, log } = keepingLogger();
  const container = await spawn({ logger, ...options });
  const timer = setTimeout(() => container.kill(), seconds * 1000);
  container.stdin?.end(input);
  const [stdout, stderr, ended] = await Promise.all([
    textOf(container.stdout),
    textOf(container.stderr),
    container.exited,
  ]);
  clearTimeout(timer);
  const status = ended.exitStatus ?? ended.reboot ?? `signal ${ended.signal}`;
  return { stdout: stdout.replace(/\n$/, ''), stderr: stderr.replace(/\n$/, ''), status, log };
}

async function textOf(stream: Readable | null): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Runs a shell script in a container on the busybox tree, which it can't write to; returns what it prints. */
export async function shell(script: string, options: SpawnOptions = {}): Promise<string> {
  const outcome = await run({
    directory: busyboxTree(),
    volatile: 'overlay',
    command: ['/bin/sh', '-c', script],
    ...options,
  });
  if (outcome.status !== 0) throw new Error(`ended with ${outcome.status}: ${outcome.stderr} ${outcome.stdout}`);
  return outcome.stdout;
}

/** The message of the error that a container's start ends with. Throws if it starts. */
export async function startError(options: SpawnOptions): Promise<string> {
  let started: Outcome;
  try {
    started = await run(options);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`the container started, and ended with ${started.status}: ${started.stdout} ${started.stderr}`);
}
