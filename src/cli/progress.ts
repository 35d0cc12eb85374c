/** A line on the terminal that tells how far a copy is. */
import { writeSync } from 'node:fs';
import type { Copied } from '../trees/copy.ts';

/** Shorter work shows nothing. */
const BEFORE_IT_SHOWS_MS = 300;
const BETWEEN_MS = 100;

export interface ProgressLine extends Disposable {
  show(copied: Copied): void;
}

/** Shows it on standard error, a terminal, below `title`; disposing of it takes the line away. */
export function progressLine(title: string): ProgressLine {
  let next = performance.now() + BEFORE_IT_SHOWS_MS;
  let isShown = false;
  return {
    show({ files, bytes }) {
      if (performance.now() < next) return;
      next = performance.now() + BETWEEN_MS;
      isShown = true;
      write(`\r${title}: ${files.toLocaleString('en')} files, ${(bytes / 1e6).toFixed(1)} MB\x1b[K`);
    },
    [Symbol.dispose]() {
      if (isShown) write('\r\x1b[K');
    },
  };
}

function write(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // A terminal that is gone or full shows nothing, which is no reason not to copy.
  }
}
