/** Connects the caller's standard input and output to the console of a container: --console=interactive and read-only. */
import { O } from '../../syscalls/constants.ts';
import { stopWaiting, untilReadable } from '../../syscalls/readiness.ts';
import { isForeground } from '../../syscalls/tty.ts';
import { nextTurn } from '../streams/next-turn.ts';
import { type End, nonBlocking, readSome, writeAll } from '../streams/transfer.ts';
import { escapeDetector } from './escape.ts';
import { LOOK_AGAIN_MS, makeRaw, type SavedTerminal } from './raw-terminal.ts';
import { standardEnd } from './standard-stream.ts';
import { followWindowSize } from './window-size.ts';

/**
 * Why the container is to be killed: the user pressed ^] three times within a second, or standard input or output came
 * to its end, as systemd-nspawn does it, or forwarding failed (`finish` then throws the error).
 */
export type KillReason = 'escape' | 'hangup' | 'failure';

export interface ForwardOptions {
  /** Master of the console's pseudo-terminal. Its slave is to be held open until forwarding has finished. */
  master: number;
  /** In read-only mode standard input is left alone, and so are the settings of the caller's terminal. */
  mode: 'interactive' | 'read-only';
  onKillRequest(reason: KillReason): void;
  /** Default: 0. */
  stdin?: number;
  /** Default: 1. */
  stdout?: number;
  /** A monotonic clock in milliseconds. */
  now?: () => number;
}

export interface Forwarder extends Disposable, AsyncDisposable {
  /** What the caller's terminals have to be given back; empty while none has been changed. */
  savedTerminals(): readonly SavedTerminal[];
  /**
   * To be called when the container has ended: forwards all output that is left, however slowly it is read, and
   * restores the terminal. Throws what made forwarding fail.
   */
  finish(): Promise<void>;
  /** Stops at once and restores the terminal. To be called before the master is closed; not needed after `finish`. */
  [Symbol.dispose](): void;
}

/** Forwarding reads and writes this much at a time. */
const BUFFER_SIZE = 65536;
/** Until so much has come at once: a large buffer's address takes longer to get than short programs run. */
const FIRST_BUFFER_SIZE = 8192;
/** Input that a container doesn't read is kept up to here, so that ^] behind it is still found. */
const MOST_QUEUED = 65536;
/** What a write fails with when nobody reads any more: EPIPE for pipes, EIO for terminals, the others for sockets. */
const HANGUPS = ['EPIPE', 'EIO', 'ECONNRESET', 'ECONNABORTED', 'ENOTCONN', 'ESHUTDOWN', 'ETIMEDOUT'];

/** What both directions share. */
interface Session {
  readonly console: End;
  readonly output: End;
  /** Absent in read-only mode. */
  readonly input: End | undefined;
  readonly now: () => number;
  /** True once the container has ended: what can be read now is all there will be. */
  isFinishing: boolean;
  /** True once nothing may be touched any more. */
  isOver: boolean;
  readonly requestKill: (reason: KillReason) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * Forwards standard input to a console and its output to standard output, until `finish`. Nothing is lost and nothing
 * piles up: while standard output is full the console isn't read, and the container waits. A console that is closed and
 * opened again, as a booting system does, goes on. Throws SyscallError.
 */
export function forwardConsole(options: ForwardOptions): Forwarder {
  const { master, mode, onKillRequest, stdin = 0, stdout = 1, now = () => performance.now() } = options;
  const isInteractive = mode === 'interactive';
  let failure: unknown;
  const fail = (error: unknown) => {
    if (failure !== undefined) return;
    failure = error;
    onKillRequest('failure');
  };

  const opened: Disposable[] = [];
  const open = <Opened extends Disposable>(resource: Opened): Opened => {
    opened.unshift(resource);
    return resource;
  };
  const close = () => {
    for (const resource of opened.splice(0)) resource[Symbol.dispose]();
  };

  try {
    const console = nonBlocking(master);
    const size = open(followWindowSize(master, stdout));
    const output = open(standardEnd(stdout, O.WRONLY));
    const input = isInteractive ? open(standardEnd(stdin, O.RDONLY)) : undefined;
    const raw = isInteractive ? open(makeRaw(stdin, stdout, size.copy)) : undefined;
    const session: Session = {
      console,
      output,
      input,
      now,
      isFinishing: false,
      isOver: false,
      requestKill: onKillRequest,
      fail,
    };
    // A turn later, for `finish` may be called at once: of a container that has ended only the output is left.
    const begun = Promise.resolve();
    const outputDone = begun.then(() => forwardOutput(session)).catch(fail);
    if (input) begun.then(() => forwardInput(session, input)).catch(fail);

    const dispose = () => {
      if (session.isOver) return;
      session.isOver = true;
      for (const end of [console, output, input]) if (end) stopWaiting(end.fd);
      close();
    };
    const finish = async () => {
      if (session.isOver) return;
      session.isFinishing = true;
      stopWaiting(console.fd);
      if (input) stopWaiting(input.fd);
      await outputDone;
      dispose();
      if (failure !== undefined) throw failure;
    };
    return {
      savedTerminals: () => raw?.saved() ?? [],
      finish,
      [Symbol.dispose]: dispose,
      [Symbol.asyncDispose]: finish,
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function forwardOutput(session: Session): Promise<void> {
  const { console, output } = session;
  let buffer = new Uint8Array(FIRST_BUFFER_SIZE);
  let isRead = true;
  for (let isFirst = true; ; isFirst = false) {
    // To wait before each read gives signals and the container's end their turn, however fast output comes.
    if (!session.isFinishing) await untilReadable(console.fd);
    else if (!isFirst) await nextTurn();
    if (session.isOver) return;
    const size = readSome(console, buffer);
    if (size === undefined && !session.isFinishing) continue;
    if (!size) return;
    const bytes = buffer.subarray(0, size);
    if (size === FIRST_BUFFER_SIZE) buffer = new Uint8Array(BUFFER_SIZE);
    if (!isRead) continue; // Output that nobody reads must not stop a container that goes on.
    try {
      await writeAll(output, bytes, () => session.isOver);
    } catch (error) {
      isRead = false;
      if (isHangup(error)) session.requestKill('hangup');
      else session.fail(error);
    }
  }
}

async function forwardInput(session: Session, input: End): Promise<void> {
  const { console } = session;
  const hasEscape = escapeDetector(session.now);
  const buffer = new Uint8Array(BUFFER_SIZE);
  const isOver = () => session.isOver || session.isFinishing;
  let queued = 0;
  let allWritten = Promise.resolve();
  while (!isOver()) {
    if (!(await canBeAwaited(input)) || isOver()) return;
    if (!isForeground(input.fd)) {
      // What is typed now is for whoever is in the foreground.
      await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_MS));
      continue;
    }
    const size = readSome(input, buffer);
    if (size === undefined) continue;
    if (size === 0) break;
    const bytes = buffer.slice(0, size);
    if (hasEscape(bytes)) return session.requestKill('escape');
    queued += size;
    allWritten = allWritten
      .then(() => writeAll(console, bytes, isOver))
      .catch(session.fail)
      .then(() => {
        queued -= size;
      });
    if (queued >= MOST_QUEUED) await allWritten;
  }
  await allWritten;
  if (!isOver()) session.requestKill('hangup');
}

/** Waits for input. False for a file or /dev/null, which epoll(7) can't wait for: systemd-nspawn doesn't read them. */
async function canBeAwaited({ fd }: End): Promise<boolean> {
  try {
    await untilReadable(fd);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'EPERM') return false;
    throw error;
  }
}

const isHangup = (error: unknown): boolean => HANGUPS.includes((error as { code?: string }).code ?? '');
