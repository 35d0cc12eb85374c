/** Terminals: pseudo-terminals, their settings and their sizes. See pty(7), ioctl_tty(2) and termios(3). */
import process from 'node:process';
import { allowing, call } from './call.ts';
import { AT, O, TC, TIOC } from './constants.ts';
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
 * close-on-exec. `devpts` is the mount that it is to be in, if not the one that is at /dev/pts. Throws SyscallError.
 */
export function openPty(devpts?: OwnedFd): Pty {
  const [at, path] = devpts ? [devpts.fd, 'ptmx'] : [AT.FDCWD, '/dev/ptmx'];
  const master = owned(syscall('openat', at, path, O.RDWR | O.NOCTTY | O.CLOEXEC | O.NONBLOCK, 0));
  try {
    return { master, slave: openSlave(master.fd) };
  } catch (error) {
    master[Symbol.dispose]();
    throw error;
  }
}

function openSlave(master: number): OwnedFd {
  const locked = new Uint8Array(4);
  syscall('ioctl', master, TIOC.SPTLCK, locked);
  const slave = owned(syscall('ioctl', master, TIOC.GPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC));
  try {
    syscall('fchmod', slave.fd, 0o600);
    if (process.geteuid?.() === 0) syscall('fchown', slave.fd, 0, 0);
    return slave;
  } catch (error) {
    slave[Symbol.dispose]();
    throw error;
  }
}

/** asm-generic/ioctls.h */
const TIOCGDEV = 0x80045432;
const TIOCGPGRP = 0x540f;

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

/** True for the master of a pseudo-terminal: only it can tell its slave's number. */
export const isMaster = (fd: number): boolean =>
  perform(allowing(call('ioctl', fd, TIOC.GPTN, { out: new Uint8Array(4) }))) >= 0;

/**
 * struct termios as TCGETS has it, asm-generic/termbits.h: four flag words (input, output, control, local), the line
 * discipline's number in a byte, and the 19 control characters. x86-64 and arm64 have the same.
 */
const TERMIOS = { input: 0, output: 4, control: 8, local: 12, characters: 17, size: 36 } as const;

/** What cfmakeraw(3) clears in each flag word; asm-generic/termbits.h and termbits-common.h */
const CLEARED = {
  /** IGNBRK, BRKINT, PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IXON */
  input: 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000,
  /** OPOST */
  output: 0o1,
  /** CSIZE, PARENB */
  control: 0o60 | 0o400,
  /** ISIG, ICANON, ECHO, ECHONL, IEXTEN */
  local: 0o1 | 0o2 | 0o10 | 0o100 | 0o100000,
} as const;
const CS8 = 0o60;
/** Indices of control characters. */
const VTIME = 5;
const VMIN = 6;

/** The settings of a terminal, to be given to `setTermios`. Throws SyscallError, ENOTTY when it is no terminal. */
export function getTermios(fd: number): Uint8Array {
  const termios = new Uint8Array(TERMIOS.size);
  syscall('ioctl', fd, TC.GETS, { out: termios });
  return termios;
}

/**
 * Changes a terminal's settings at once. Unless `isForeground` is true the kernel stops the caller first, by SIGTTOU.
 * Throws SyscallError.
 */
export function setTermios(fd: number, termios: Uint8Array): void {
  syscall('ioctl', fd, TC.SETS, termios);
}

/**
 * False if `fd` is the controlling terminal and it is another process group's turn: then the kernel would stop us for
 * reading it or changing its settings. See "job control" in credentials(7) and tcgetpgrp(3).
 */
export function isForeground(fd: number): boolean {
  const group = new Int32Array(1);
  const result = perform(allowing(call('ioctl', fd, TIOCGPGRP, { out: new Uint8Array(group.buffer) })));
  return result < 0 || group[0] === syscall('getpgid', 0);
}

/** Which half of a terminal is to be raw: what it does to its input (keys, echo, signals) or to its output. */
export type RawPart = 'both' | 'input' | 'output';

/** The settings with one half or both made raw, as cfmakeraw(3) does. */
export function rawTermios(termios: Uint8Array, part: RawPart = 'both'): Uint8Array {
  const raw = new Uint8Array(termios);
  const view = new DataView(raw.buffer);
  const clear = (word: keyof typeof CLEARED) =>
    view.setUint32(TERMIOS[word], view.getUint32(TERMIOS[word], true) & ~CLEARED[word], true);
  clear('control');
  view.setUint32(TERMIOS.control, view.getUint32(TERMIOS.control, true) | CS8, true);
  raw[TERMIOS.characters + VMIN] = 1;
  raw[TERMIOS.characters + VTIME] = 0;
  if (part !== 'output') {
    clear('input');
    clear('local');
  }
  if (part !== 'input') clear('output');
  return raw;
}

/** The size of a terminal in characters, and in pixels where that is known (else 0). */
export interface WindowSize {
  rows: number;
  columns: number;
  width: number;
  height: number;
}

/** struct winsize of asm-generic/termios.h: four 16-bit words in this order. */
const WINSIZE = { rows: 0, columns: 2, width: 4, height: 6, size: 8 } as const;

/** The size of a terminal, or undefined when `fd` is none. */
export function getWindowSize(fd: number): WindowSize | undefined {
  const view = new DataView(new ArrayBuffer(WINSIZE.size));
  const result = perform(allowing(call('ioctl', fd, TIOC.GWINSZ, { out: new Uint8Array(view.buffer) })));
  if (result < 0) return undefined;
  return {
    rows: view.getUint16(WINSIZE.rows, true),
    columns: view.getUint16(WINSIZE.columns, true),
    width: view.getUint16(WINSIZE.width, true),
    height: view.getUint16(WINSIZE.height, true),
  };
}

/** Sets the size of a terminal; its foreground processes get SIGWINCH if it changed. Throws SyscallError. */
export function setWindowSize(fd: number, { rows, columns, width, height }: WindowSize): void {
  syscall('ioctl', fd, TIOC.SWINSZ, new Uint8Array(new Uint16Array([rows, columns, width, height]).buffer));
}
