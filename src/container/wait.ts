/** Waits for the ends of child processes without holding up the event loop. */
import process from 'node:process';
import { readableWithin } from '../../syscalls/fd.ts';
import { type Reaped, reapIfEnded } from '../../syscalls/process.ts';

interface Waiting {
  pidfd: number;
  ended: (end: Reaped) => void;
  failed: (error: unknown) => void;
}

const waiting = new Set<Waiting>();
/** Keeps the event loop going, and looks again in case a signal was lost. */
let timer: NodeJS.Timeout | undefined;
const LOOK_AGAIN_MS = 500;

/**
 * Waits this many milliseconds for a child's end, with nothing else going on in this thread, and reaps it; undefined if
 * it still runs. Throws an Error if somebody else has reaped it.
 */
export const endedWithin = (pidfd: number, milliseconds: number): Reaped | undefined =>
  milliseconds > 0 && readableWithin(pidfd, milliseconds / 1000) ? reapIfEnded(pidfd) : undefined;

/** Resolves once a child has ended, and reaps it. */
export function ended(pidfd: number): Promise<Reaped> {
  return new Promise((resolve, reject) => {
    if (waiting.size === 0) {
      process.on('SIGCHLD', look);
      timer = setInterval(look, LOOK_AGAIN_MS);
    }
    waiting.add({ pidfd, ended: resolve, failed: reject });
    // It may have ended before anyone listened.
    look();
  });
}

function look(): void {
  for (const waiter of waiting) {
    try {
      const reaped = reapIfEnded(waiter.pidfd);
      if (!reaped) continue;
      waiting.delete(waiter);
      waiter.ended(reaped);
    } catch (error) {
      waiting.delete(waiter);
      waiter.failed(error);
    }
  }
  if (waiting.size > 0) return;
  process.off('SIGCHLD', look);
  clearInterval(timer);
}
