/** A bar on the terminal that tells how far a copy, or a change of all files' owners, is. */
import process from 'node:process';

/** Shorter work shows nothing. */
const BEFORE_IT_SHOWS_MS = 300;
const BETWEEN_MS = 100;
const BAR_WIDTH = 20;

export interface ProgressLine extends Disposable {
  /** What is done of about so many files; bytes where there are any to tell. */
  show(done: { files: number; bytes?: number }, files: number): void;
}

/** Shows it on standard error, a terminal, below `title`; disposing of it takes the line away. */
export function progressLine(title: string): ProgressLine {
  let next = performance.now() + BEFORE_IT_SHOWS_MS;
  let isShown = false;
  return {
    show({ files: done, bytes }, files) {
      if (performance.now() < next) return;
      next = performance.now() + BETWEEN_MS;
      isShown = true;
      // The tree may grow meanwhile.
      const part = Math.min(1, done / Math.max(1, files));
      const bar = '█'.repeat(Math.round(part * BAR_WIDTH)).padEnd(BAR_WIDTH, '░');
      const percent = `${Math.floor(part * 100)}`.padStart(3);
      const size = bytes === undefined ? '' : `, ${(bytes / 1e6).toFixed(1)} MB`;
      const counts = `${done.toLocaleString('en')} files${size}`;
      write(`\r${title} ${bar} ${percent} %  ${counts}\x1b[K`);
    },
    [Symbol.dispose]() {
      if (isShown) write('\r\x1b[K');
    },
  };
}

function write(text: string): void {
  try {
    process.getBuiltinModule('node:fs').writeSync(2, text);
  } catch {
    // A terminal that is gone or full shows nothing, which is no reason not to copy.
  }
}
