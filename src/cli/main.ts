#!/usr/bin/env bun
/** The command nspawn. */
import process from 'node:process';
import type { Argument, Call, ResultOf } from '../../syscalls/call.ts';
import { type CommandLineLogger, createLogger } from './logger.ts';
import { refuseLostBytes } from './lost-bytes.ts';
import { type ParsedCommandLine, parseCommandLine } from './parse.ts';
import { findVerb } from './verbs.ts';

/** Does what the command line says. Resolves to the exit status. */
async function main(words: readonly string[]): Promise<number> {
  refuseLostBytes(words);
  const verb = findVerb(words[0]);
  if (verb) return await (await verb()).run(words.slice(1));
  const line = parseCommandLine(words, process.env);
  switch (line.action) {
    case 'help':
      (await import('./help.ts')).printHelp();
      return 0;
    case 'version':
      (await import('./help.ts')).printVersion();
      return 0;
    case 'capabilities':
      (await import('./help.ts')).printCapabilities();
      return 0;
    case 'dry-run':
      await (await import('./dry-run.ts')).printPlan(withEnvironment(line));
      return 0;
    case 'cleanup':
      return await runLogged(line, async log => (await import('./cleanup.ts')).cleanUp(line, log));
    case 'run':
      return await runLogged(line, async log => (await import('./run.ts')).run(withEnvironment(line), log));
  }
}

/** Does something as root, and shows what is logged, and the error that it ends with. */
async function runLogged(line: ParsedCommandLine, work: (log: CommandLineLogger) => Promise<number>): Promise<number> {
  const log = createLogger(line.logLevel, line.logFormat);
  if (line.logLevel === 'trace') await traceCalls(log);
  try {
    return await work(log);
  } catch (error) {
    log.error(error instanceof Error ? error.message : String(error));
    return 1;
  } finally {
    await log.release();
  }
}

async function traceCalls(log: CommandLineLogger): Promise<void> {
  log.trace('tracing system calls');
  await log.release();
  const [{ trace }, { formatResult }] = await Promise.all([
    import('../../syscalls/syscall.ts'),
    import('../../syscalls/format.ts'),
  ]);
  // An agent's calls refer to what its earlier ones have returned.
  const results = new WeakMap<Call, number>();
  trace.sink = (who, traced, result) => {
    results.set(traced, result);
    const args = traced.args.map(argument => (isResultOf(argument) ? results.get(argument.resultOf)! : argument));
    log.trace(`${who}: ${formatResult({ ...traced, args }, result)}`);
  };
}

const isResultOf = (argument: Argument): argument is ResultOf =>
  typeof argument === 'object' && argument !== null && 'resultOf' in argument;

/**
 * With what the caller's environment means for the container: the payload sees its terminal type, unless it is told another,
 * and is heard where somebody wants to know how it does.
 */
function withEnvironment(line: ParsedCommandLine): ParsedCommandLine {
  const { TERM, NOTIFY_SOCKET } = process.env;
  const { environment = [] } = line.options;
  const options = {
    ...line.options,
    ...(TERM !== undefined && { environment: [`TERM=${TERM}`, ...environment] }),
    ...(NOTIFY_SOCKET && { notifySocket: true }),
  };
  return { ...line, options };
}

/** For what is thrown in a place that nobody waits for: a line, not a stack trace. */
function fail(error: unknown): never {
  // Written last, when the terminal is no longer raw.
  process.on('exit', () => process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`));
  process.exit(1);
}

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
// What the runtime has open shall not keep a container that has ended waiting.
main(process.argv.slice(2)).then(process.exit, fail);
