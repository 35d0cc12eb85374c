/** The caller's terminal in raw mode, so that every key goes to the container, and as it was before when we are gone. */
import process from 'node:process';
import { forceTermios, getTermios, type RawPart, rawTermios, setTermios, terminalDevice } from '../../syscalls/tty.ts';

/** A terminal's settings as they were found. */
export interface SavedTerminal {
  readonly fd: number;
  /** Opaque: struct termios of the kernel, for the ioctl TCSETS. */
  readonly termios: Uint8Array;
}

/** Terminals in raw mode, until they are disposed of. */
export interface RawTerminals extends Disposable {
  readonly saved: readonly SavedTerminal[];
}

/** What ends a process that doesn't care; whoever does care has a listener of its own. */
const FATAL: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'];

/**
 * Makes the terminal of `input` raw in what it does to keys, and that of `output` in what it does to output. What is no
 * terminal is left out. They are restored when disposed of; at exit, also for an uncaught error; before a signal that
 * nobody else listens to ends this process; and for as long as it is stopped. Nothing helps against SIGKILL: give
 * `saved` to someone who stays. `onResume` is called after a stop. Throws SyscallError.
 */
export function makeRaw(input: number, output: number, onResume: () => void): RawTerminals {
  const terminals = halves(input, output).map(half => ({ ...half, termios: getTermios(half.fd) }));

  /** Each half starts from what is set now: both may be the same terminal by different names. */
  const enter = () => {
    for (const { fd, part } of terminals) setTermios(fd, rawTermios(getTermios(fd), part));
  };
  const restore = () => {
    for (const { fd, termios } of terminals) {
      try {
        forceTermios(fd, termios);
      } catch {
        // The terminal is gone, and its settings with it.
      }
    }
  };
  const die = (signal: NodeJS.Signals) => {
    if (process.listenerCount(signal) > 1) return;
    dispose();
    process.kill(process.pid, signal);
  };
  const stop = () => {
    restore();
    process.kill(process.pid, 'SIGSTOP');
  };
  const resume = () => {
    try {
      enter();
    } catch {
      // The terminal went away while we were stopped; reading it will tell.
    }
    onResume();
  };
  const listeners: [string, (signal: NodeJS.Signals) => void][] = [
    ...FATAL.map((signal): [string, typeof die] => [signal, die]),
    ['exit', restore],
    ['SIGTSTP', stop],
    ['SIGCONT', resume],
  ];
  let isDisposed = false;
  const dispose = () => {
    if (isDisposed) return;
    isDisposed = true;
    for (const [event, listener] of listeners) process.off(event, listener);
    restore();
  };

  if (terminals.length === 0) return { saved: [], [Symbol.dispose]() {} };
  for (const [event, listener] of listeners) process.on(event, listener);
  try {
    enter();
  } catch (error) {
    dispose();
    throw error;
  }
  return { saved: terminals, [Symbol.dispose]: dispose };
}

function halves(input: number, output: number): { fd: number; part: RawPart }[] {
  const inputDevice = terminalDevice(input);
  const outputDevice = terminalDevice(output);
  if (inputDevice !== undefined && inputDevice === outputDevice) return [{ fd: input, part: 'both' }];
  const found: { fd: number; part: RawPart }[] = [];
  if (inputDevice !== undefined) found.push({ fd: input, part: 'input' });
  if (outputDevice !== undefined) found.push({ fd: output, part: 'output' });
  return found;
}
