/** Runs commands in containers and hands back what came of it. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { type Container, type SpawnOptions, spawn } from '../../src/index.ts';
import type { LogLevel, Message } from '../../src/log.ts';
import { busyboxTree } from '../support/tree.ts';

export interface Outcome {
  /** Without the newline at its end, as stderr. */
  stdout: string;
  stderr: string;
  /** Exit status; 'restart' or 'power off' after a reboot(2); or 'signal N'. */
  status: number | string;
  /** What was logged: `level: message`. */
  log: string[];
}

/** Runs a container to its end. One that hangs is killed after `seconds`. */
export async function run(options: SpawnOptions, { input = '', seconds = 30 } = {}): Promise<Outcome> {
  const log: string[] = [];
  const keep = (level: LogLevel) => (message: Message) => {
    log.push(`${level}: ${typeof message === 'string' ? message : message()}`);
  };
  const logger = {
    trace: keep('trace'),
    debug: keep('debug'),
    info: keep('info'),
    warn: keep('warn'),
    error: keep('error'),
  };
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
  return { stdout, stderr, status, log };
}

async function textOf(stream: Readable | null): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString().replace(/\n$/, '');
}

/** Options for a container on a tree of which nothing changes. */
export const unchanging = (directory: string): SpawnOptions => ({ directory, volatile: 'overlay' });

/** What a shell script prints in a container, by default on the busybox tree. Throws when it fails. */
export async function shell(script: string, options: SpawnOptions = unchanging(busyboxTree())): Promise<string> {
  const { status, stdout, stderr } = await run({ ...options, command: ['/bin/sh', '-c', script] });
  if (status === 0) return stdout;
  throw new Error(`running ${JSON.stringify(script)} in a container: ended with ${status}: ${stderr} ${stdout}`);
}

/** The message of the error that a container's start ends with. Throws when it starts. */
export async function startError(options: SpawnOptions): Promise<string> {
  let started: Outcome;
  try {
    started = await run(options);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`the container started, and ended with ${started.status}: ${started.stdout} ${started.stderr}`);
}

/** Starts a container that does nothing; resolves once its shell runs. It goes with `await using`. */
export async function idle(options: SpawnOptions = unchanging(busyboxTree())): Promise<Container> {
  const container = await spawn({ ...options, command: ['/bin/sh', '-c', 'echo ready; exec sleep 1000'] });
  await once(container.stdout!, 'data');
  return container;
}

/**
 * Runs the command line in a mount namespace of its own, where the shell commands `before` have been done, such as
 * mounts on a tree or on files of the host. Logs warnings and errors on stderr.
 */
export function commandLine(before: string, ...words: string[]): Omit<Outcome, 'log'> {
  const main = join(import.meta.dirname, '../../src/cli/main.ts');
  const { status, signal, stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', 'sh', '-c', `${before}\nexec "$@"`, 'sh', process.execPath, main, '-q', '-P', ...words],
    { encoding: 'utf8', timeout: 30_000 },
  );
  return { status: status ?? `${signal}`, stdout: stdout.replace(/\n$/, ''), stderr: stderr.replace(/\n$/, '') };
}
