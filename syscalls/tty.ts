/** Terminals: pseudo-terminals, their settings and their sizes. See pty(7), ioctl_tty(2) and termios(3). */
import process from 'node:process';
import { allowing, call } from './call.ts';
import { AT, O, SIG_SETMASK, TC, TIOC } from './constants.ts';
import { type OwnedFd, owned } from './fd.ts';
import { perform, syscall } from './syscall.ts';

/** Both ends of a pseudo-terminal. */
export interface Pty {
  /** Non-blocking. It hangs up whenever the last slave is closed: hold `slave` for as long as it is in use. */
  readonly master: OwnedFd;
  readonly slave: OwnedFd;
}

/**
 * A new pseudo-terminal. The slave is its user's alone: mode 0600, and root's when root makes it. It is opened through
 * the master, since a path such as /dev/pts/0 may be another terminal in another mount of devpts. Both ends are
 * close-on-exec. Throws SyscallError.
 */
export function openPty(): Pty {
  const master = owned(syscall('openat', AT.FDCWD, '/dev/ptmx', O.RDWR | O.NOCTTY | O.CLOEXEC | O.NONBLOCK, 0));
  try {
    const locked = new Uint8Array(4);
    syscall('ioctl', master.fd, TIOC.SPTLCK, locked);
    const slave = owned(syscall('ioctl', master.fd, TIOC.GPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC));
    try {
      syscall('fchmod', slave.fd, 0o600);
      if (process.geteuid?.() === 0) syscall('fchown', slave.fd, 0, 0);
      return { master, slave };
    } catch (error) {
      slave[Symbol.dispose]();
      throw error;
    }
  } catch (error) {
    master[Symbol.dispose]();
    throw error;
  }
}

/** asm-generic/ioctls.h */
const TIOCGDEV = 0x80045432;

/**
 * The device number of the terminal behind `fd`, or undefined when it is no terminal. Other than the inode it is the
 * same for /dev/tty and /dev/pts/0; a master has its slave's.
 */
export function terminalDevice(fd: number): number | undefined {
  const device = new Uint32Array(1);
  const result = perform(allowing(call('ioctl', fd, TIOCGDEV, { out: new Uint8Array(device.buffer) })));
  return result < 0 ? undefined : device[0];
}

export const isTerminal = (fd: number): boolean => terminalDevice(fd) !== undefined;

/**
 * struct termios as TCGETS has it, asm-generic/termbits.h: four flag words (input, output, control, local), the line
 * discipline's number in a byte, and the 19 control characters. x86-64 and arm64 have the same.
 */
const TERMIOS = { input: 0, output: 4, control: 8, local: 12, characters: 17, size: 36 } as const;

/** asm-generic/termbits.h and termbits-common.h, by the word they are in. */
const INPUT = {
  IGNBRK: 0o1,
  BRKINT: 0o2,
  PARMRK: 0o10,
  ISTRIP: 0o40,
  INLCR: 0o100,
  IGNCR: 0o200,
  ICRNL: 0o400,
  IXON: 0o2000,
} as const;
const OUTPUT = { OPOST: 0o1 } as const;
const CONTROL = { CSIZE: 0o60, CS8: 0o60, PARENB: 0o400 } as const;
const LOCAL = { ISIG: 0o1, ICANON: 0o2, ECHO: 0o10, ECHONL: 0o100, IEXTEN: 0o100000 } as const;
/** Indices of control characters. */
const VTIME = 5;
const VMIN = 6;

const allOf = (flags: Readonly<Record<string, number>>): number => Object.values(flags).reduce((a, b) => a | b, 0);

/** The settings of a terminal, to be given to `setTermios`. Throws SyscallError, ENOTTY when it is no terminal. */
export function getTermios(fd: number): Uint8Array {
  const termios = new Uint8Array(TERMIOS.size);
  syscall('ioctl', fd, TC.GETS, { out: termios });
  return termios;
}

/**
 * Changes a terminal's settings at once. In a background process group the kernel stops the caller first, with
 * SIGTTOU, until it is put in the foreground. Throws SyscallError.
 */
export function setTermios(fd: number, termios: Uint8Array): void {
  syscall('ioctl', fd, TC.SETS, termios);
}

/** asm-generic/signal-defs.h and signal.h */
const SIG_BLOCK = 0;
const SIGTTOU = 22;
const SIGSET_SIZE = 8;

/** `setTermios`, in the background, too: for putting back what was found. Throws SyscallError. */
export function forceTermios(fd: number, termios: Uint8Array): void {
  const ttou = new Uint8Array(new BigUint64Array([1n << BigInt(SIGTTOU - 1)]).buffer);
  const before = new Uint8Array(SIGSET_SIZE);
  syscall('rt_sigprocmask', SIG_BLOCK, ttou, { out: before }, SIGSET_SIZE);
  try {
    setTermios(fd, termios);
  } finally {
    syscall('rt_sigprocmask', SIG_SETMASK, before, null, SIGSET_SIZE);
  }
}

/** Which half of a terminal is to be raw: what it does to its input (keys, echo, signals) or to its output. */
export type RawPart = 'both' | 'input' | 'output';

/** The settings with one half or both made raw, as cfmakeraw(3) does. */
export function rawTermios(termios: Uint8Array, part: RawPart = 'both'): Uint8Array {
  const raw = termios.slice();
  const view = new DataView(raw.buffer);
  const change = (word: number, clear: number, set = 0) =>
    view.setUint32(word, (view.getUint32(word, true) & ~clear) | set, true);
  change(TERMIOS.control, CONTROL.CSIZE | CONTROL.PARENB, CONTROL.CS8);
  raw[TERMIOS.characters + VMIN] = 1;
  raw[TERMIOS.characters + VTIME] = 0;
  if (part !== 'output') {
    change(TERMIOS.input, allOf(INPUT));
    change(TERMIOS.local, allOf(LOCAL));
  }
  if (part !== 'input') change(TERMIOS.output, allOf(OUTPUT));
  return raw;
}

/** The size of a terminal in characters, and in pixels where that is known (else 0). */
export interface WindowSize {
  rows: number;
  columns: number;
  width: number;
  height: number;
}

/** The size of a terminal, or undefined when `fd` is none. struct winsize of asm-generic/termios.h. */
export function getWindowSize(fd: number): WindowSize | undefined {
  const size = new Uint16Array(4);
  const result = perform(allowing(call('ioctl', fd, TIOC.GWINSZ, { out: new Uint8Array(size.buffer) })));
  if (result < 0) return undefined;
  const [rows = 0, columns = 0, width = 0, height = 0] = size;
  return { rows, columns, width, height };
}

/** Sets the size of a terminal; its foreground processes get SIGWINCH if it changed. Throws SyscallError. */
export function setWindowSize(fd: number, { rows, columns, width, height }: WindowSize): void {
  syscall('ioctl', fd, TIOC.SWINSZ, new Uint8Array(new Uint16Array([rows, columns, width, height]).buffer));
}
