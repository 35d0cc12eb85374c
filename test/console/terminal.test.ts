/** The caller's terminal: raw while a console is forwarded, and always given back as it was. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FdReadable, readableFrom } from '../../src/streams/readable.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { getTermios, openPty, rawTermios, setTermios, setWindowSize, type WindowSize } from '../../syscalls/tty.ts';
import { endingOf, eventually, isNonBlocking, pipe, textOf } from './support.ts';

const FIXTURE = join(import.meta.dirname, 'fixture.ts');
const SMALL: WindowSize = { rows: 31, columns: 77, width: 0, height: 0 };

/** A terminal on which a command has been started with us as the one who sits before it. */
interface Caller {
  program: ChildProcess;
  /** What the terminal shows so far. */
  screen(): string;
  type(keys: string): void;
  resize(size: WindowSize): void;
  settings(): Uint8Array;
  slave: number;
  /** The program's ending, once all it wrote is on the screen. */
  ending(): Promise<number | string>;
}

/** Settings that a shell could have left: not the default, so that they can't come back by chance. */
function unusual(termios: Uint8Array): Uint8Array {
  const changed = termios.slice();
  new DataView(changed.buffer).setUint32(0, new DataView(changed.buffer).getUint32(0, true) ^ 0o4000, true); // IXANY
  changed[17] = 0x02; // ^B interrupts.
  return changed;
}

/** Runs `body` with the fixture on a terminal, `stdio` being what it has instead for one of its streams. */
async function onTerminal(
  [mode, command]: readonly [mode: string, command: string],
  body: (caller: Caller, before: Uint8Array) => Promise<void>,
  { stdin, stdout }: { stdin?: number; stdout?: number } = {},
): Promise<void> {
  const { master, slave } = openPty();
  setTermios(slave.fd, unusual(getTermios(slave.fd)));
  setWindowSize(master.fd, SMALL);
  const before = getTermios(slave.fd);
  let screen = '';
  const output: FdReadable = readableFrom(master.fd);
  output.on('data', chunk => {
    screen += chunk;
  });
  const closed = new Promise(resolve => output.on('close', resolve));
  const program = spawn('setsid', ['-c', process.execPath, FIXTURE, mode, command], {
    stdio: [slave.fd, stdout ?? slave.fd, slave.fd],
  });
  if (stdin !== undefined) throw new Error('not yet');
  try {
    await body(
      {
        program,
        screen: () => screen,
        type: keys => writeSync(master.fd, keys),
        resize: size => setWindowSize(master.fd, size),
        settings: () => getTermios(slave.fd),
        slave: slave.fd,
        async ending() {
          const ending = await endingOf(program);
          output.finish();
          await closed;
          return ending;
        },
      },
      before,
    );
  } finally {
    program.kill('SIGKILL');
    output.destroy();
    slave[Symbol.dispose]();
  }
}
