/** Pseudo-terminals, their settings and their sizes. */
import { spawnSync } from 'node:child_process';
import { fstatSync, readSync, writeSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { closeFd } from '../../syscalls/fd.ts';
import {
  getTermios,
  getWindowSize,
  isMaster,
  isTerminal,
  openPty,
  type Pty,
  rawTermios,
  setTermios,
  setWindowSize,
  terminalDevice,
} from '../../syscalls/tty.ts';
import { needs, root } from '../support/needs.ts';
import { isNonBlocking, openDescriptors, pipe } from './support.ts';

/** Runs `body` with a new pseudo-terminal. */
function withPty(body: (pty: Pty) => void): void {
  const pty = openPty();
  try {
    body(pty);
  } finally {
    pty.slave[Symbol.dispose]();
    pty.master[Symbol.dispose]();
  }
}

const stty = (fd: number, ...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync('stty', args, { stdio: [fd, 'pipe', 'pipe'], encoding: 'utf8' });
  assert.is(status, 0, stderr);
  return stdout;
};

test('what is written to one end is read from the other', () => {
  withPty(({ master, slave }) => {
    setTermios(slave.fd, rawTermios(getTermios(slave.fd)));
    const buffer = Buffer.alloc(16);
    writeSync(slave.fd, 'out');
    assert.is(buffer.toString('utf8', 0, readSync(master.fd, buffer)), 'out');
    writeSync(master.fd, 'in');
    assert.is(buffer.toString('utf8', 0, readSync(slave.fd, buffer)), 'in');
  });
});

test('the slave is its owner’s alone; the master does not block', () => {
  withPty(({ master, slave }) => {
    assert.is(fstatSync(slave.fd).mode & 0o777, 0o600);
    assert.ok(isNonBlocking(master.fd));
    assert.not(isNonBlocking(slave.fd));
  });
});

needs([root])('the slave of a pseudo-terminal made by root is root’s', () => {
  withPty(({ slave }) => {
    const { uid, gid } = fstatSync(slave.fd);
    assert.equal([uid, gid], [0, 0]);
  });
});

test('both ends are closed, once', () => {
  const before = openDescriptors();
  withPty(() => assert.is(openDescriptors().length, before.length + 2));
  assert.equal(openDescriptors(), before);
});

/** The terminal's settings as stty names them, such as `echo` and `-opost`. */
const settings = (fd: number): string[] => stty(fd, '-a').split(/[\s;]+/);

test('raw settings are those of `stty raw -echo`, and can be taken back', () => {
  withPty(({ slave }) => {
    const before = getTermios(slave.fd);
    const shown = stty(slave.fd, '-a');
    setTermios(slave.fd, rawTermios(before));
    const raw = settings(slave.fd);
    for (const setting of ['-icanon', '-isig', '-iexten', '-echo', '-icrnl', '-ixon', '-opost', 'cs8', '-parenb'])
      assert.ok(raw.includes(setting), setting);
    assert.match(stty(slave.fd, '-a'), 'min = 1; time = 0');
    setTermios(slave.fd, before);
    assert.is(stty(slave.fd, '-a'), shown);
  });
});

test('one half made raw leaves the other as it was', () => {
  withPty(({ slave }) => {
    const before = getTermios(slave.fd);
    setTermios(slave.fd, rawTermios(before, 'input'));
    for (const setting of ['opost', '-icanon', '-echo']) assert.ok(settings(slave.fd).includes(setting), setting);
    setTermios(slave.fd, rawTermios(before, 'output'));
    for (const setting of ['-opost', 'icanon', 'echo']) assert.ok(settings(slave.fd).includes(setting), setting);
  });
});

test('window size', () => {
  withPty(({ master, slave }) => {
    setWindowSize(master.fd, { rows: 41, columns: 132, width: 800, height: 600 });
    assert.equal(getWindowSize(slave.fd), { rows: 41, columns: 132, width: 800, height: 600 });
    assert.is(stty(slave.fd, 'size'), '41 132\n');
  });
});

test('pipes are no terminals', () => {
  const { read, write } = pipe();
  assert.not(isTerminal(read));
  assert.is(getWindowSize(read), undefined);
  assert.throws(() => getTermios(read), /ENOTTY/);
  closeFd(read);
  closeFd(write);
});

test('two terminals have two device numbers, the ends of one have one', () => {
  withPty(first =>
    withPty(second => {
      assert.is(terminalDevice(first.master.fd), terminalDevice(first.slave.fd));
      assert.is.not(terminalDevice(first.slave.fd), terminalDevice(second.slave.fd));
      assert.equal([first.master.fd, first.slave.fd].map(isMaster), [true, false]);
    }),
  );
});

test.run();
