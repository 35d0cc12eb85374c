/** The caller's terminal in raw mode, so that every key goes to the container, and as it was before when we are gone. */
import process from 'node:process';
import { getTermios, isForeground, type RawPart, rawTermios, setTermios, terminalDevice } from '../../syscalls/tty.ts';

/** A terminal's settings as they were found. */
export interface SavedTerminal {
  readonly fd: number;
  /** Opaque: struct termios of the kernel, for the ioctl TCSETS. */
  readonly termios: Uint8Array;
}

/** Terminals in raw mode, until they are disposed of. */
export interface RawTerminals extends Disposable {
  /** What they have to be given back. Empty while nothing has been changed. */
  saved(): readonly SavedTerminal[];
}

/** What ends a process that doesn't care; whoever does care has a listener of its own. */
const FATAL: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'];

/** How often it is looked whether we have come to the foreground: shells send SIGCONT only if we were stopped. */
export const LOOK_AGAIN_MS = 500;

/**
 * Makes the terminal of `input` raw in what it does to keys, and that of `output` in what it does to output. What is no
 * terminal is left out. In the background the terminal is another's: it is left alone until we are in the foreground.
 *
 * The settings are restored when disposed of; at exit, also for an uncaught error; before a signal that nobody else
 * listens to ends this process; and for as long as SIGTSTP stops it. Nothing helps against SIGKILL: give `saved` to
 * someone who stays. `onResume` is called after a stop. Throws SyscallError.
 */
export function makeRaw(input: number, output: number, onResume: () => void): RawTerminals {
  const terminals = halves(input, output);
  if (terminals.length === 0) return { saved: () => [], [Symbol.dispose]() {} };

  let saved: (SavedTerminal & { part: RawPart })[] = [];
  let isRaw = false;
  let lookAgain: ReturnType<typeof setTimeout> | undefined;
  const isOurs = () => terminals.every(({ fd }) => isForeground(fd));

  const enter = () => {
    clearTimeout(lookAgain);
    isRaw = isOurs();
    if (!isRaw) {
      lookAgain = setTimeout(enterIfThere, LOOK_AGAIN_MS);
      lookAgain.unref();
      return;
    }
    if (saved.length === 0) saved = terminals.map(({ fd, part }) => ({ fd, part, termios: getTermios(fd) }));
    for (const { fd, part, termios } of saved) setTermios(fd, rawTermios(termios, part));
  };
  const enterIfThere = () => {
    try {
      enter();
    } catch {
      // The terminal is gone meanwhile; reading it will tell.
    }
  };
  const restore = () => {
    clearTimeout(lookAgain);
    if (!isRaw) return;
    isRaw = false;
    try {
      if (isOurs()) for (const { fd, termios } of saved) setTermios(fd, termios);
    } catch {
      // The terminal is gone, and its settings with it.
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
    enterIfThere();
    onResume();
  };
  const listeners: [event: string, listener: (signal: NodeJS.Signals) => void][] = [
    ...FATAL.map((signal): [string, typeof die] => [signal, die]),
    ['SIGTSTP', stop],
    ['SIGCONT', resume],
    ['exit', restore],
  ];
  const dispose = () => {
    for (const [event, listener] of listeners) process.off(event, listener);
    restore();
  };

  try {
    enter();
  } catch (error) {
    restore();
    throw error;
  }
  for (const [event, listener] of listeners) process.on(event, listener);
  return { saved: () => saved, [Symbol.dispose]: dispose };
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
