/** The size of the container's terminal follows that of the caller's. */
import process from 'node:process';
import { getWindowSize, setWindowSize, type WindowSize } from '../../syscalls/tty.ts';

/**
 * Gives the terminal `master` the size of the terminal `output`, now and at each SIGWINCH. Without one it gets the size
 * that $COLUMNS and $LINES tell, else 80 by 24. `copy` does it once more.
 */
export function followWindowSize(master: number, output: number): Disposable & { copy(): void } {
  const copy = () => {
    const size = getWindowSize(output);
    if (size) setWindowSize(master, size);
  };
  setWindowSize(master, getWindowSize(output) ?? sizeFromEnvironment());
  process.on('SIGWINCH', copy);
  return { copy, [Symbol.dispose]: () => process.off('SIGWINCH', copy) };
}

const sizeFromEnvironment = (): WindowSize => ({
  rows: positive(process.env['LINES']) ?? 24,
  columns: positive(process.env['COLUMNS']) ?? 80,
  width: 0,
  height: 0,
});

/** A number from 1 to the most that struct winsize can hold. */
function positive(text = ''): number | undefined {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return number > 0 && number <= 0xffff ? number : undefined;
}
