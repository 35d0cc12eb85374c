/** Logging by levels. The core writes through this interface; who shows it, and how, is its caller's choice. */

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';
export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];

export type Logger = Readonly<Record<LogLevel, (message: string) => void>>;

const ignore = () => {};
/** Logs nothing. */
export const silentLogger: Logger = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };
