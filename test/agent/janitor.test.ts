/** What the janitor does when its process dies, and what it costs until then. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Entrusted, entrust } from '../../syscalls/agent/janitor.ts';
import { WILL } from '../../syscalls/agent/layout.ts';
import { call } from '../../syscalls/call.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { childrenOf, eventually, openFds, pipe, readText, statusOf, thrown } from './support.ts';

const PROGRAM = new URL('programs/entrusting.ts', import.meta.url).pathname;

const janitorOf = (pid: number): number | undefined =>
  childrenOf(pid).find(child => statusOf(child)?.name === 'nspawn-janitor' && statusOf(child)?.state !== 'Z');

/** Another process that entrusts what it is told. */
interface Teller extends AsyncDisposable {
  child: ChildProcess;
  tell(...orders: string[]): Promise<void>;
  janitor(): number;
  /** What its janitors have written, once all of them have ended. */
  written(): string;
}

function startTeller(): Teller {
  const ends = pipe();
  const child = spawn(process.execPath, [PROGRAM], {
    stdio: ['pipe', 'pipe', 'inherit', 'ignore', 'ignore', ends.write.fd],
  });
  ends.write[Symbol.dispose]();
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
  return {
    child,
    async tell(...orders) {
      for (const order of orders) {
        child.stdin!.write(`${order}\n`);
        if (order === 'exit') await once(child, 'exit');
        else assert.is((await lines.next()).value, 'done', order);
      }
    },
    janitor: () => janitorOf(child.pid!)!,
    written() {
      let all = '';
      for (let text = readText(ends.read.fd); text; text = readText(ends.read.fd)) all += text;
      return all;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      ends[Symbol.dispose]();
    },
  };
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

test('when its process is killed, it does what was entrusted, each once, and nothing that was taken back', async () => {
  await using teller = startTeller();
  await teller.tell('+one', '+two', '+three', '-two', '+four', '-one', '-four', '+five');
  await kill(teller.child);
  assert.is(teller.written(), 'five three ');
});

test('at last it becomes a program, with nothing open and no signal blocked, if it was told so and not otherwise', async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'said');
  const OPEN = '0\n1\n2\nSigBlk:\t0000000000000000';
  for (const [orders, expected] of [
    [['+one', `=${path}`, '+two'], OPEN],
    [[`=${path}-`, `=${path}`], OPEN],
    [[`=${path}`, '='], undefined],
  ] as const) {
    await using teller = startTeller();
    await teller.tell(...orders);
    const janitor = teller.janitor();
    await kill(teller.child);
    assert.is(teller.written(), orders.length === 3 && orders[0] === '+one' ? 'one two ' : '');
    await eventually('it has ended', () => [undefined, 'Z'].includes(statusOf(janitor)?.state));
    assert.is(existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined, expected, orders.join(' '));
    rmSync(path, { force: true });
  }
  await using teller = startTeller();
  await teller.tell(`=${path}`);
  process.kill(teller.janitor(), 'SIGKILL');
  await eventually('the janitor is dead', () => teller.janitor() === undefined);
  await teller.tell('+three');
  await kill(teller.child);
  await eventually('a new janitor knows of it', () => existsSync(path));
});

test('taking back twice does no harm', async () => {
  await using teller = startTeller();
  await teller.tell('+one', '-one', '-one', '+two', '-one', '+three', '-one');
  await kill(teller.child);
  assert.is(teller.written(), 'two three ');
});

test('it does so, too, when its process ends in an orderly way, and ends itself', async () => {
  await using teller = startTeller();
  await teller.tell('+one', '+two', '-one', 'exit');
  // That everything is read means that nobody has the pipe any more.
  assert.is(teller.written(), 'two ');
});

test('it kills a process by its pidfd', async () => {
  const sleeper = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const ended = once(sleeper, 'exit');
  await using teller = startTeller();
  await teller.tell(`!${sleeper.pid}`);
  await kill(teller.child);
  assert.equal(await ended, [null, 'SIGKILL']);
});

test('signals do not end it', async () => {
  await using teller = startTeller();
  await teller.tell('+one');
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGPIPE', 'SIGTSTP'] as const) {
    process.kill(teller.janitor(), signal);
  }
  await teller.tell('+two');
  await kill(teller.child);
  assert.is(teller.written(), 'one two ');
});

async function killJanitor(teller: Teller): Promise<void> {
  const janitor = teller.janitor();
  process.kill(janitor, 'SIGKILL');
  await eventually('the janitor is dead', () => statusOf(janitor)?.state === 'Z');
}

test('one that was killed is replaced, and told everything again', async () => {
  await using teller = startTeller();
  await teller.tell('.nothing', '+one', '+two', '+three', '-nothing', '-one');
  await killJanitor(teller);
  await teller.tell('+four');
  assert.is(childrenOf(teller.child.pid!).length, 1, 'the dead one is reaped');
  await killJanitor(teller);
  await teller.tell('-three', '+five');
  await kill(teller.child);
  assert.is(teller.written(), 'four five two ');
});

test('a new one does nothing of what was taken back before it was there', async () => {
  await using teller = startTeller();
  // The memory that the dead one had still has its will, and the numbers in it are descriptors of the new one as well.
  await teller.tell('.nothing', '+one', '+two', '+kept');
  await killJanitor(teller);
  await teller.tell('-one', '-two', '+three');
  await kill(teller.child);
  assert.is(teller.written(), 'three kept ');
});

test('one that was killed does nothing, and what it had can be taken back', async () => {
  await using teller = startTeller();
  await teller.tell('+one', '+two');
  await killJanitor(teller);
  await teller.tell('-one', '-two');
  await teller.tell('+three');
  await kill(teller.child);
  assert.is(teller.written(), 'three ');
});

// From here on the janitor is this process's own.

const own = (): number => janitorOf(process.pid)!;
const getpid = call('getpid');

test('it has a session, a directory and descriptors of its own', () => {
  using ends = pipe();
  using _kept = entrust([ends.read.fd], () => [getpid]);
  const janitor = own();
  assert.is(readFileSync(`/proc/${janitor}/stat`, 'utf8').split(' ')[5], String(janitor));
  assert.is(readlinkSync(`/proc/${janitor}/cwd`), '/');
  assert.equal(openFds(janitor), [0, 3]);
  assert.is(readlinkSync(`/proc/${janitor}/fd/0`), readlinkSync(`/proc/self/fd/${ends.read.fd}`));
});

test('thousands of things can be entrusted and taken back: neither side keeps anything of them', async () => {
  using ends = pipe();
  entrust([], () => [getpid])[Symbol.dispose]();
  const janitor = own();
  const before = [openFds('self'), openFds(janitor)];
  for (let i = 0; i < 2 * WILL.slots; i++) {
    using _one = entrust([ends.write.fd], ([fd]) => [call('write', fd!, Buffer.from('x'), 1)]);
    using _two = entrust([], () => [getpid]);
  }
  // The last one is closed without this process waiting for it.
  await eventually('the janitor has closed all', () => openFds(janitor).length === before[1]!.length);
  assert.equal([openFds('self'), openFds(janitor)], before);
  assert.is(own(), janitor);
});

test('more than it has room for is refused, until something is taken back', () => {
  const all: Entrusted[] = [];
  try {
    for (let i = 0; i < WILL.slots - 1; i++) all.push(entrust([], () => [getpid]));
    assert.throws(() => entrust([], () => [getpid]), /^watching over a container: more than 1024 at a time$/);
    all.pop()![Symbol.dispose]();
    all.push(entrust([], () => [getpid]));
  } finally {
    for (const one of all) one[Symbol.dispose]();
  }
});

test('what can’t be written down is refused, and nothing is kept of it', async () => {
  using ends = pipe();
  using _kept = entrust([], () => [getpid]);
  const janitor = own();
  const before = openFds(janitor);
  const fds = [ends.write.fd];
  const many = Array.from({ length: WILL.opsPerSlot + 1 }, () => getpid);
  for (let i = 0; i < WILL.slots + 10; i++) {
    assert.throws(() => entrust(fds, () => many), /^writing a will: \d+ calls are too many$/);
    assert.throws(
      () => entrust(fds, () => [getpid, call('chdir', 'x'.repeat(3000))]),
      /^handing chdir to an agent: too long/,
    );
    assert.throws(
      () =>
        entrust(fds, () => {
          throw new Error('changed my mind');
        }),
      /changed my mind/,
    );
  }
  assert.is(thrown(SyscallError, () => entrust([9999], () => [getpid])).code, 'EBADF');
  await eventually('the janitor has closed all', () => openFds(janitor).length === before.length);
  assert.equal(openFds(janitor), before);
});

test('its calls may use the results of others', async () => {
  // By way of another process, as this one must not die.
  using ends = pipe();
  const script = `
    import { entrust } from ${JSON.stringify(new URL('../../syscalls/agent/janitor.ts', import.meta.url).pathname)};
    import { call, resultOf } from ${JSON.stringify(new URL('../../syscalls/call.ts', import.meta.url).pathname)};
    entrust([5], ([fd]) => {
      const copy = call('dup', fd);
      return [call('close', 9999), copy, call('write', resultOf(copy), 'word', 4)];
    });`;
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ignore', 'ignore', ends.write.fd],
  });
  ends.write[Symbol.dispose]();
  await once(child, 'exit');
  assert.is(readText(ends.read.fd), 'word');
});

test.run();
