/** What the methods of a container take, for programs that no compiler has checked. All throw UsageError. */
import { SIGRTMAX } from './signals.ts';
import { UsageError } from './usage-error.ts';

export const checkKill = (signal: unknown): void => checkNumber('kill takes a signal', signal, SIGRTMAX);
export function checkSize(columns: unknown, rows: unknown): void {
  checkNumber('resize takes columns', columns, LARGEST_SIZE);
  checkNumber('resize takes rows', rows, LARGEST_SIZE);
}
/** struct winsize of asm-generic/termios.h has 16 bits for each. */
const LARGEST_SIZE = 65_535;

function checkNumber(taken: string, value: unknown, highest: number): void {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= highest) return;
  const given = typeof value === 'string' ? JSON.stringify(value) : String(value);
  throw new UsageError(`${taken} as a number from 0 to ${highest}, not ${given}`);
}
