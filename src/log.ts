/** Logging by levels. The core writes through this interface; who shows it, and how, is its caller's choice. */

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';
export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];

/** A message, or what makes it: called only where the level is shown. */
export type Message = string | (() => string);
export type Logger = Readonly<Record<LogLevel, (message: Message) => void>>;

const ignore = () => {};
/** Logs nothing. */
export const silentLogger: Logger = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };
