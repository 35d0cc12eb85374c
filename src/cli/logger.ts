/** Shows log messages on standard error, through pino, as lines for people or as JSON for programs. */
import { LOG_LEVELS, type Logger, type LogLevel, type Message } from '../log.ts';
import type { LogFormat } from './options.ts';

export interface CommandLineLogger extends Logger {
  /** Shows what has been held back, and from now on everything at once. */
  release(): void;
  /** While the terminal is raw, lines must end in carriage return and newline. */
  rawTerminal: boolean;
}

/**
 * A logger that shows messages of `level` and above. Loading pino costs more than starting a container: it is done
 * when the first line is shown, and until `release` lines below warnings are held back.
 */
export function createLogger(level: LogLevel, format: LogFormat): CommandLineLogger {
  const lowest = LOG_LEVELS.indexOf(level);
  let held: { level: LogLevel; message: string }[] | undefined = [];
  let show: ((level: LogLevel, message: string) => void) | undefined;

  const release = () => {
    const lines = held ?? [];
    held = undefined;
    for (const line of lines) log(line.level, line.message);
  };
  const log = (at: LogLevel, lazy: Message) => {
    if (LOG_LEVELS.indexOf(at) < lowest) return;
    const message = typeof lazy === 'string' ? lazy : lazy();
    if (held) {
      held.push({ level: at, message });
      if (at === 'warn' || at === 'error' || level === 'trace') release();
      return;
    }
    show ??= openPino(level, format, logger);
    show(at, message);
  };
  const logger: CommandLineLogger = {
    trace: message => log('trace', message),
    debug: message => log('debug', message),
    info: message => log('info', message),
    warn: message => log('warn', message),
    error: message => log('error', message),
    release,
    rawTerminal: false,
  };
  return logger;
}

function openPino(level: LogLevel, format: LogFormat, state: { rawTerminal: boolean }) {
  const { pino } = require('pino') as typeof import('pino');
  const write = (text: string) => writeToStandardError(state.rawTerminal ? text.replaceAll('\n', '\r\n') : text);
  const shown = pino(
    { level, base: null, formatters: { level: label => ({ level: label }) } },
    { write: line => write(format === 'json' ? line : `${(JSON.parse(line) as { msg: string }).msg}\n`) },
  );
  return (at: LogLevel, message: string) => shown[at](message);
}

/** Waits for room: whoever shares standard error with us, such as the payload, may have made it non-blocking. */
function writeToStandardError(text: string): void {
  const { writeSync } = require('node:fs') as typeof import('node:fs');
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let rest = Buffer.from(text); rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch (error) {
      // Nobody reads it any more: that's no reason to end the container.
      if ((error as { code?: string }).code !== 'EAGAIN') return;
      Atomics.wait(pause, 0, 0, 10);
    }
  }
}
