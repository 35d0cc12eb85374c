/** Shows log messages on standard error, through pino, as lines for people or as JSON for programs. */
import { writeSync } from 'node:fs';
import { pino } from 'pino';
import type { LogLevel } from '../log.ts';
import type { Line } from './logger.ts';
import type { LogFormat } from './options/row.ts';

/** What shows a line; `state` says whether the terminal is raw, when it is shown. */
export function openStandardError(
  level: LogLevel,
  format: LogFormat,
  state: { rawTerminal: boolean },
): (line: Line) => void {
  const write = (text: string) => writeAll(state.rawTerminal ? text.replaceAll('\n', '\r\n') : text);
  const shown = pino(
    { level, base: null, formatters: { level: label => ({ level: label }) } },
    { write: line => write(format === 'json' ? line : `${(JSON.parse(line) as { msg: string }).msg}\n`) },
  );
  return line => shown[line.level](line.message);
}

/** Waits for room: whoever shares standard error with us, such as the payload, may have made it non-blocking. */
function writeAll(text: string): void {
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
