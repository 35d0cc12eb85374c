/** The caller's terminal: raw while a console is forwarded, and given back as it was, however that ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readableFrom } from '../../src/streams/readable.ts';
import { getTermios, openPty, rawTermios, setTermios, setWindowSize } from '../../syscalls/tty.ts';
import { endingOf, eventually, isNonBlocking } from './support.ts';

/** For the shell: the fixture, which takes a mode and a command. */
const NSPAWN = `${process.execPath} ${join(import.meta.dirname, 'fixture.ts')}`;

/** A terminal with a shell on it, before which we sit. */
interface Caller {
  /** The shell's settings: what has to be there again in the end. */
  before: Uint8Array;
  settings(): Uint8Array;
  isRaw(): boolean;
  type(keys: string): void;
  /** Waits until the terminal shows a text. */
  shows(text: string): Promise<void>;
  resize(rows: number, columns: number): void;
  shell: ChildProcess;
  /** How the shell ended. */
  ending(): Promise<number | string>;
  /** The slave's number. */
  terminal: number;
}

/** Runs `script` by a shell on a terminal of 31 lines and 77 columns, and `body` with it. */
async function onTerminal(script: string, body: (caller: Caller) => Promise<void>): Promise<void> {
  const { master, slave } = openPty();
  const before = unusual(getTermios(slave.fd));
  setTermios(slave.fd, before);
  const resize = (rows: number, columns: number) => setWindowSize(master.fd, { rows, columns, width: 0, height: 0 });
  resize(31, 77);
  let screen = '';
  const output = readableFrom(master.fd).on('data', chunk => {
    screen += chunk;
  });
  const shell = spawn('setsid', ['-c', 'sh', '-c', script], { stdio: [slave.fd, slave.fd, slave.fd] });
  const settings = () => getTermios(slave.fd);
  try {
    await body({
      before,
      settings,
      isRaw: () => equal(settings(), rawTermios(before)),
      type: keys => writeSync(master.fd, keys),
      shows: text => eventually(`the terminal shows ${text}`, () => screen.includes(text)),
      resize,
      shell,
      ending: () => endingOf(shell),
      terminal: slave.fd,
    });
  } finally {
    shell.kill('SIGKILL');
    output.destroy();
    slave[Symbol.dispose]();
  }
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Settings as a user may have made them: they can't come back by chance. */
function unusual(termios: Uint8Array): Uint8Array {
  const changed = termios.slice();
  const IXANY = 0o4000;
  changed[1]! ^= IXANY >> 8;
  changed[17] = 0x02; // ^B interrupts.
  return changed;
}

/** State letter of a process, proc_pid_stat(5). */
const stateOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) (.).*/s, '$1');

const ENDINGS: readonly (readonly [how: string, signal: NodeJS.Signals | undefined, ending: number | string])[] = [
  ['normal end', undefined, 3],
  ['uncaught error', 'SIGUSR1', 1],
  ['process.exit', 'SIGUSR2', 7],
  ['SIGTERM', 'SIGTERM', 'SIGTERM'],
  ['SIGHUP', 'SIGHUP', 'SIGHUP'],
  ['SIGINT', 'SIGINT', 'SIGINT'],
  ['SIGQUIT', 'SIGQUIT', 'SIGQUIT'],
];

/** The runtimes themselves look after descriptors 0 to 2 when they exit. */
const PLACES: readonly (readonly [where: string, redirections: string])[] = [
  ['standard input and output', ''],
  ['another descriptor', '3 3<>/dev/tty </dev/null >/dev/null 2>&1'],
];

for (const [where, redirections] of PLACES) {
  for (const [how, signal, expected] of ENDINGS) {
    test(`${where}: the terminal is raw, and as before after ${how}`, async () => {
      await onTerminal(`exec ${NSPAWN} interactive 'read line; exit 3' ${redirections}`, async caller => {
        await eventually('the terminal is raw', caller.isRaw);
        if (signal) caller.shell.kill(signal);
        else caller.type('\n');
        assert.is(await caller.ending(), expected);
        assert.equal(caller.settings(), caller.before);
        assert.not(isNonBlocking(caller.terminal));
      });
    });
  }
}

test('as before while stopped, raw again when continued', async () => {
  await onTerminal(`exec ${NSPAWN} interactive 'read line; exit 3'`, async caller => {
    await eventually('the terminal is raw', caller.isRaw);
    for (const signal of ['SIGTSTP', 'SIGSTOP'] as const) {
      caller.shell.kill(signal);
      await eventually('it is stopped', () => stateOf(caller.shell.pid!) === 'T');
      if (signal === 'SIGTSTP') assert.equal(caller.settings(), caller.before);
      setTermios(caller.terminal, caller.before); // As a shell does.
      caller.shell.kill('SIGCONT');
      await eventually('the terminal is raw again', caller.isRaw);
    }
    caller.type('\n');
    assert.is(await caller.ending(), 3);
    assert.equal(caller.settings(), caller.before);
  });
});

test('in the background the terminal is left alone, until we come to the foreground', async () => {
  const script = `set -m; ${NSPAWN} interactive 'echo ready; read line; echo got $line; exit 3' & read line; fg; exit $?`;
  await onTerminal(script, async caller => {
    await caller.shows('ready');
    assert.equal(caller.settings(), caller.before);
    caller.type('for the shell\n');
    await eventually('the terminal is raw', caller.isRaw);
    caller.type('for the container\n');
    await caller.shows('got for the container');
    assert.is(await caller.ending(), 3);
    assert.equal(caller.settings(), caller.before);
  });
});

test('in the background it is not stopped, and ends for SIGTERM', async () => {
  const script = `set -m; ${NSPAWN} interactive 'echo ready; read line' & read line; kill %1; wait %1; echo ended $?`;
  await onTerminal(script, async caller => {
    await caller.shows('ready');
    caller.type('typed\n');
    await caller.shows('ended 143');
    assert.equal(caller.settings(), caller.before);
  });
});

test('keys that mean something to a terminal reach the container', async () => {
  await onTerminal(
    `exec ${NSPAWN} interactive 'trap "echo got INT; exit 5" INT; echo ready; read line'`,
    async caller => {
      await caller.shows('ready');
      caller.type('\x02'); // ^B interrupts here, yet not there.
      caller.type('\x03');
      await caller.shows('got INT');
      assert.is(await caller.ending(), 5);
    },
  );
});

test('^]^]^] ends the container', async () => {
  await onTerminal(`exec ${NSPAWN} interactive 'echo ready; sleep 1000'`, async caller => {
    await caller.shows('ready');
    caller.type('\x1d\x1d\x1d');
    assert.is(await caller.ending(), 137);
    assert.equal(caller.settings(), caller.before);
  });
});

test('the container’s terminal has the size of the caller’s, and follows it', async () => {
  for (const mode of ['interactive', 'read-only']) {
    const command = `trap "stty size" WINCH; echo first $(stty size); while :; do sleep 0.05; done`;
    await onTerminal(`exec ${NSPAWN} ${mode} '${command}'`, async caller => {
      await caller.shows('first 31 77');
      caller.resize(50, 120);
      await caller.shows('50 120');
    });
  }
});

test('standard output elsewhere: the terminal still shows what others print as before', async () => {
  await onTerminal(`${NSPAWN} interactive 'echo ready; read line; exit 3' | cat`, async caller => {
    await caller.shows('ready');
    assert.equal(caller.settings(), rawTermios(caller.before, 'input'));
    caller.type('\n');
    assert.is(await caller.ending(), 0);
    assert.equal(caller.settings(), caller.before);
  });
});

test('standard input elsewhere: the terminal still takes keys as before', async () => {
  const script = `{ sleep 0.5; echo; sleep 1; } | ${NSPAWN} interactive 'echo ready; read line; exit 3'`;
  await onTerminal(script, async caller => {
    await caller.shows('ready');
    assert.equal(caller.settings(), rawTermios(caller.before, 'output'));
    assert.is(await caller.ending(), 3);
    assert.equal(caller.settings(), caller.before);
  });
});

test('the same terminal by two names', async () => {
  await onTerminal(`exec ${NSPAWN} interactive 'read line; exit 3' </dev/tty`, async caller => {
    await eventually('the terminal is raw', caller.isRaw);
    caller.type('\n');
    assert.is(await caller.ending(), 3);
    assert.equal(caller.settings(), caller.before);
  });
});

test('read-only: the terminal stays as it is, and what is typed is left for the shell', async () => {
  const script = `${NSPAWN} read-only 'echo ready; sleep 0.3'; read line; echo "the shell has $line"`;
  await onTerminal(script, async caller => {
    await caller.shows('ready');
    assert.equal(caller.settings(), caller.before);
    caller.type('typed\n');
    await caller.shows('the shell has typed');
    assert.is(await caller.ending(), 0);
  });
});

test.run();
