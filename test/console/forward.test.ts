/** The console of a container connected to standard streams that are no terminals: pipes, sockets and files. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ForwardOptions, forwardConsole, type KillReason } from '../../src/console/forward.ts';
import { readableFrom } from '../../src/streams/readable.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { isReady } from '../../syscalls/readiness.ts';
import { getTermios, openPty, rawTermios, setTermios } from '../../syscalls/tty.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  endingOf,
  eventually,
  isNonBlocking,
  openDescriptors,
  pipe,
  printedChecker,
  printing,
  runOn,
  socketPair,
  textOf,
} from './support.ts';

const MB = 1_000_000;
const ESCAPE = '\x1d';

/** A console whose forwarder has been started, with what it asked for. */
function connect(options: Partial<ForwardOptions>) {
  const { master, slave } = openPty();
  const requests: KillReason[] = [];
  const forwarder = forwardConsole({
    master: master.fd,
    mode: 'interactive',
    onKillRequest: reason => requests.push(reason),
    ...options,
  });
  return {
    forwarder,
    requests,
    master: master.fd,
    console: slave.fd,
    /** Runs a command on the console; the forwarder has finished when it resolves. */
    async run(command: string) {
      const ending = await endingOf(runOn(slave.fd, command));
      await forwarder.finish();
      return ending;
    },
    [Symbol.dispose]() {
      forwarder[Symbol.dispose]();
      slave[Symbol.dispose]();
      master[Symbol.dispose]();
    },
  };
}

test('50 MB and then the end, through a slow reader: whole, in bounded memory', async () => {
  const output = pipe();
  using container = connect({ mode: 'read-only', stdout: output.write });
  const checker = printedChecker();
  const before = process.memoryUsage.rss();
  let growth = 0;
  const reading = (async () => {
    for await (const chunk of readableFrom(output.read)) {
      checker.check(chunk);
      growth = Math.max(growth, process.memoryUsage.rss() - before);
      await setTimeout(1);
    }
  })();
  assert.is(await container.run(`stty raw; ${printing(50 * MB)}`), 0);
  closeFd(output.write);
  await reading;
  assert.is(checker.total(), 50 * MB);
  assert.ok(growth < 50 * MB, `memory grew by ${growth} bytes`);
});

test('finish() waits for a reader that has not begun yet', async () => {
  const output = pipe();
  using container = connect({ mode: 'read-only', stdout: output.write });
  // More than the pipe takes, less than pipe, forwarder and console take together: it ends with nobody reading.
  const finished = container.run(`stty raw; ${printing(132_000)}`).then(() => closeFd(output.write));
  await setTimeout(100);
  const checker = printedChecker();
  for await (const chunk of readableFrom(output.read)) checker.check(chunk);
  await finished;
  assert.is(checker.total(), 132_000);
});

test('a console that is closed and opened again goes on', async () => {
  const output = pipe();
  using container = connect({ mode: 'read-only', stdout: output.write });
  const text = textOf(readableFrom(output.read));
  for (const word of ['one', 'two', 'three']) await endingOf(runOn(container.console, `echo ${word}`));
  await container.forwarder.finish();
  closeFd(output.write);
  assert.is(await text, 'one\r\ntwo\r\nthree\r\n');
});

test('input reaches the container, and its end asks for a kill after all has been written', async () => {
  const input = pipe();
  const output = pipe();
  using container = connect({ stdin: input.read, stdout: output.write });
  const text = textOf(readableFrom(output.read));
  writeSync(input.write, 'first\nsecond\n');
  closeFd(input.write);
  await eventually('the end is noticed', () => container.requests.length > 0);
  assert.equal(container.requests, ['hangup']);
  await container.run('stty -echo; read a; read b; echo "$a then $b"');
  for (const fd of [output.write, input.read]) closeFd(fd);
  assert.match(await text, 'first then second\r\n');
});

test('read-only: no input is taken', async () => {
  const input = pipe();
  const output = pipe();
  using container = connect({ mode: 'read-only', stdin: input.read, stdout: output.write });
  writeSync(input.write, 'secret\n');
  await container.run('sleep 0.1');
  assert.is(readSync(input.read, Buffer.alloc(64)), 'secret\n'.length);
  assert.equal(container.requests, []);
  for (const fd of [input.read, input.write, output.read, output.write]) closeFd(fd);
});

test('a file and /dev/null as standard input are not read, as in systemd-nspawn', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'input');
  writeFileSync(path, 'text\n');
  for (const name of [path, '/dev/null']) {
    const input = openSync(name, 'r');
    const output = pipe();
    using container = connect({ stdin: input, stdout: output.write });
    await container.run('echo done');
    assert.equal(container.requests, []);
    closeSync(input);
    for (const fd of [output.read, output.write]) closeFd(fd);
  }
});

test('^] three times within a second asks for a kill; what it came with is not forwarded', async () => {
  const input = pipe();
  const output = pipe();
  let time = 0;
  using container = connect({ stdin: input.read, stdout: output.write, now: () => time });
  setTermios(container.console, rawTermios(getTermios(container.console)));
  const type = async (text: string) => {
    writeSync(input.write, text);
    await eventually('it arrives', () => isReady('readable', container.console));
    const typed = Buffer.alloc(64);
    return typed.toString('utf8', 0, readSync(container.console, typed));
  };
  assert.is(await type(ESCAPE), ESCAPE);
  time = 900;
  assert.is(await type(ESCAPE), ESCAPE);
  time = 1100;
  assert.is(await type(ESCAPE), ESCAPE);
  assert.equal(container.requests, []);
  time = 1200;
  assert.is(await type(ESCAPE), ESCAPE);
  writeSync(input.write, `x${ESCAPE}${ESCAPE}${ESCAPE}y`);
  await eventually('the escape is found', () => container.requests.length > 0);
  assert.equal(container.requests, ['escape']);
  writeSync(input.write, 'more');
  const left = runOn(container.console, 'stty -icanon min 0 time 2; cat');
  await endingOf(left);
  await container.forwarder.finish();
  for (const fd of [input.read, input.write, output.write]) closeFd(fd);
  assert.is(await textOf(readableFrom(output.read)), '');
});

test('^] is found behind input that the container does not read', async () => {
  const input = pipe();
  const output = pipe();
  using container = connect({ stdin: input.read, stdout: output.write });
  setTermios(container.console, rawTermios(getTermios(container.console)));
  for (let i = 0; i < 5; i++) {
    writeSync(input.write, 'x'.repeat(8192));
    await setTimeout(5);
  }
  writeSync(input.write, ESCAPE + ESCAPE + ESCAPE);
  await eventually('the escape is found', () => container.requests.length > 0);
  assert.equal(container.requests, ['escape']);
  for (const fd of Object.values({ ...input, out: output.read, to: output.write })) closeFd(fd);
});

test('a container that does not read makes whoever feeds it wait; nothing is lost', async () => {
  const input = pipe();
  const output = pipe();
  using container = connect({ stdin: input.read, stdout: output.write });
  setTermios(container.console, rawTermios(getTermios(container.console)));
  const feeder = spawn('sh', ['-c', printing(2 * MB)], { stdio: ['ignore', input.write, 'inherit'] });
  closeFd(input.write);
  await setTimeout(200); // Time enough for it to end, if it could.
  assert.is(feeder.exitCode, null);
  const text = textOf(readableFrom(output.read));
  assert.is(await container.run(`stty raw -echo; head -c ${2 * MB} | md5sum`), 0);
  for (const fd of [output.write, input.read]) closeFd(fd);
  const expected = await textOf(spawn('sh', ['-c', `${printing(2 * MB)} | md5sum`]).stdout);
  assert.is((await text).trim(), expected.trim());
});

test('nobody reads the output any more: a kill is asked for, once, and a container that goes on is not held up', async () => {
  const output = pipe();
  using container = connect({ mode: 'read-only', stdout: output.write });
  closeFd(output.read);
  assert.is(await container.run(`stty raw; ${printing(MB)}`), 0);
  assert.equal(container.requests, ['hangup']);
  closeFd(output.write);
});

test('output that cannot be written: a kill is asked for, and finish() tells why', async () => {
  const full = openSync('/dev/full', 'w');
  using container = connect({ mode: 'read-only', stdout: full });
  await endingOf(runOn(container.console, 'echo lost'));
  let message = '';
  await container.forwarder.finish().catch((error: Error) => {
    message = error.message;
  });
  assert.match(message, 'No space left on device');
  assert.equal(container.requests, ['failure']);
  closeSync(full);
});

test('pipes and sockets stay blocking for all who share them', async () => {
  const input = pipe();
  const output = pipe();
  const sockets = socketPair();
  for (const [stdin, stdout, reader] of [
    [input.read, output.write, output.read],
    [sockets[0], sockets[0], sockets[1]],
  ] as const) {
    using container = connect({ stdin, stdout });
    await endingOf(runOn(container.console, 'echo hello'));
    await eventually('it arrives', () => isReady('readable', reader));
    const line = Buffer.alloc(64);
    assert.is(line.toString('utf8', 0, readSync(reader, line)), 'hello\r\n');
    assert.equal([stdin, stdout].map(isNonBlocking), [false, false]);
    await container.forwarder.finish();
    assert.equal([stdin, stdout].map(isNonBlocking), [false, false]);
  }
  for (const fd of [...Object.values(input), ...Object.values(output), ...sockets]) closeFd(fd);
});

test('a full socket holds up the output, and nothing else; it comes whole', async () => {
  const [near, far] = socketPair();
  using container = connect({ mode: 'read-only', stdout: near });
  const finished = container.run(`stty raw; ${printing(2 * MB)}`).then(() => closeFd(near));
  await setTimeout(100); // Nobody reads yet; a write that blocks would block this timer for ever.
  const checker = printedChecker();
  for await (const chunk of readableFrom(far)) checker.check(chunk);
  await finished;
  assert.is(checker.total(), 2 * MB);
});

test('a file that others have written to is continued, not overwritten', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'output');
  const file = openSync(path, 'w');
  writeSync(file, 'before\n');
  using container = connect({ mode: 'read-only', stdout: file });
  await container.run('echo during');
  writeSync(file, 'after\n');
  closeSync(file);
  assert.is(readFileSync(path, 'utf8'), 'before\nduring\r\nafter\n');
});

test('the size comes from $LINES and $COLUMNS where there is no terminal', async () => {
  const saved = { ...process.env };
  const sizes: string[] = [];
  for (const [LINES, COLUMNS] of [
    ['41', '132'],
    ['', 'many'],
    ['70000', '0'],
  ]) {
    Object.assign(process.env, { LINES, COLUMNS });
    const output = pipe();
    using container = connect({ mode: 'read-only', stdout: output.write });
    await container.run('stty size');
    closeFd(output.write);
    sizes.push(await textOf(readableFrom(output.read)));
  }
  Object.assign(process.env, { LINES: '', COLUMNS: '' }, saved);
  assert.equal(sizes, ['41 132\r\n', '24 80\r\n', '24 80\r\n']);
});

test('disposing stops at once: what is queued does not go to whoever gets the number next', async () => {
  const input = pipe();
  const output = pipe();
  const container = connect({ stdin: input.read, stdout: output.write });
  setTermios(container.console, rawTermios(getTermios(container.console)));
  for (let i = 0; i < 5; i++) {
    writeSync(input.write, 'x'.repeat(8192));
    await eventually('it is taken', () => !isReady('readable', input.read));
  }
  container[Symbol.dispose]();
  const next = openPty();
  assert.is(next.master.fd, container.master);
  setTermios(next.slave.fd, rawTermios(getTermios(next.slave.fd)));
  await setTimeout(20);
  assert.not(isReady('readable', next.slave.fd));
  next.slave[Symbol.dispose]();
  next.master[Symbol.dispose]();
  for (const fd of [...Object.values(input), ...Object.values(output)]) closeFd(fd);
});

test('nothing is left open or listening', async () => {
  const before = openDescriptors();
  const listeners = () => ['SIGWINCH', 'SIGTERM', 'SIGCONT', 'exit'].map(name => process.listenerCount(name));
  const listening = listeners();
  for (const isFinished of [true, false]) {
    const input = pipe();
    const output = pipe();
    using container = connect({ stdin: input.read, stdout: output.write });
    writeSync(container.console, 'x'.repeat(1000));
    if (isFinished) await container.forwarder.finish();
    for (const fd of [...Object.values(input), ...Object.values(output)]) closeFd(fd);
  }
  await eventually('all is closed', () => openDescriptors().length <= before.length);
  assert.equal(openDescriptors(), before);
  assert.equal(listeners(), listening);
});

test.run();
