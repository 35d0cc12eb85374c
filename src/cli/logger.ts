/** Holds log messages back until there is time to show them. */
import { LOG_LEVELS, type Logger, type LogLevel, type Message } from '../log.ts';
import type { LogFormat } from './options/row.ts';

export interface Line {
  level: LogLevel;
  message: string;
}

export interface CommandLineLogger extends Logger {
  /** Shows what has been held back, and from now on everything as soon as can be. Resolves when it is shown. */
  release(): Promise<void>;
  /** While the terminal is raw, lines must end in carriage return and newline. */
  rawTerminal: boolean;
}

/**
 * A logger that shows messages of `level` and above on standard error. Loading what shows them costs more than
 * starting a container, so it is done when there is a line to show and `release` has been called.
 */
export function createLogger(level: LogLevel, format: LogFormat): CommandLineLogger {
  const lowest = LOG_LEVELS.indexOf(level);
  const held: Line[] = [];
  let show: ((line: Line) => void) | undefined;
  let isReleased = false;

  const showHeld = async () => {
    if (held.length === 0) return;
    show ??= (await import('./standard-error.ts')).openStandardError(level, format, logger);
    for (const line of held.splice(0)) show(line);
  };
  const log = (at: LogLevel, lazy: Message) => {
    if (LOG_LEVELS.indexOf(at) < lowest) return;
    const line = { level: at, message: typeof lazy === 'string' ? lazy : lazy() };
    if (show) {
      show(line);
      return;
    }
    held.push(line);
    if (isReleased) void showHeld();
  };
  const logger: CommandLineLogger = {
    trace: message => log('trace', message),
    debug: message => log('debug', message),
    info: message => log('info', message),
    warn: message => log('warn', message),
    error: message => log('error', message),
    release() {
      isReleased = true;
      return showHeld();
    },
    rawTerminal: false,
  };
  return logger;
}
