/** The library: descriptors that a payload gets. */
import { chmodSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ListenFd, type SpawnOptions, spawn, UsageError } from '../../src/index.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { MSG } from '../../syscalls/constants.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { perform } from '../../syscalls/syscall.ts';
import { openDescriptors, pipe, socketPair, textOf } from '../console/support.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { shell } from './support.ts';

const it = needs([root, busybox]);

/** Pipes with a line in each: `pipe 0`, `pipe 1`, …; they go with `using`. */
function linesIn(count: number): { fds: ListenFd[] } & Disposable {
  const pipes = Array.from({ length: count }, pipe);
  for (const [i, { write }] of pipes.entries()) writeSync(write, `pipe ${i}\n`);
  return {
    fds: pipes.map(({ read }) => ({ fd: read })),
    [Symbol.dispose]: () => pipes.flatMap(Object.values).forEach(closeFd),
  };
}

const openPipes = () => openDescriptors().filter(each => each.includes('pipe:'));

async function output(options: SpawnOptions): Promise<string> {
  await using container = await spawn(options);
  const text = await textOf(container.stdout!);
  assert.equal(await container.exited, { exitStatus: 0 });
  return text.replaceAll('\r', '');
}

const NAMES = 'echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES';
const LOOK = `${NAMES}; for i in 0 1 2; do eval "head -n1 <&$((i + 3))"; done; ls -1 /proc/self/fd`;
const OPEN = [...Array(7).keys()].join('\n');

for (const [how, options, pid] of [
  ['with pipes', {}, 1],
  ['with a terminal', { stdio: 'pty' }, 1],
  ['as process 2', { asPid2: true }, 2],
] as [string, SpawnOptions, number][]) {
  it(`in their order, and no others (${how})`, async () => {
    using given = linesIn(3);
    const before = openPipes();
    // The last one first, so that numbers overlap.
    const listenFds = [...given.fds].reverse();
    const found = await output(shell(`exec 2>&1; ${LOOK}`, { ...options, listenFds }));
    assert.is(found, `3 ${pid}\npipe 2\npipe 1\npipe 0\n${OPEN}\n`);
    assert.equal(openPipes(), before);
  });
}

it('with names', async () => {
  using given = linesIn(3);
  const [a, b, c] = given.fds as [ListenFd, ListenFd, ListenFd];
  const listenFds = [{ ...a, name: 'web' }, b, { ...c, name: '' }];
  assert.match(await output(shell(NAMES, { listenFds })), /^3 1 web:unknown:\n/);
  assert.match(await output(shell(NAMES, { listenFds, environment: ['LISTEN_FDNAMES=mine'] })), /^3 1 mine\n/);
  for (const name of ['a:b', 'a\n', 'x'.repeat(256)]) {
    const error = await spawn(shell('true', { listenFds: [{ ...a, name }] })).catch(e => e);
    assert.instance(error, UsageError);
  }
});

it('the pid of a process of the host with shareSystem', async () => {
  using given = linesIn(1);
  const found = await output(
    shell('test $LISTEN_PID = $$ && head -n1 <&3', { listenFds: given.fds, shareSystem: true }),
  );
  assert.is(found, 'pipe 0\n');
});

it('the same one 200 times', async () => {
  using given = linesIn(1);
  const listenFds = Array.from({ length: 200 }, () => given.fds[0]!);
  assert.is(await output(shell('ls /proc/self/fd | wc -l; head -n1 <&202', { listenFds })), '204\npipe 0\n');
});

it('nothing is written to them when there is nothing to run', async () => {
  const [ours, theirs] = socketPair();
  try {
    const listenFds = [{ fd: theirs }, { fd: theirs }];
    const error = await spawn(shell('', { listenFds, command: ['nowhere'] })).catch(e => e);
    assert.match(error.message, /^running nowhere \(looked for .* No such file or directory/);
    const bytes = new Uint8Array(16);
    const receive = call('recvfrom', ours, { out: bytes }, bytes.length, MSG.DONTWAIT, null, null);
    assert.ok(perform(allowing(receive)) < 0);
  } finally {
    closeFd(ours);
    closeFd(theirs);
  }
});

it('a script without a first line for the kernel has them, too', async () => {
  using given = linesIn(1);
  using directory = temporaryDirectory();
  const script = join(directory.path, 'script');
  writeFileSync(script, 'head -n1 <&3');
  chmodSync(script, 0o755);
  const binds = [{ source: directory.path, destination: '/home', readOnly: true, recursive: false }];
  assert.is(await output(shell('', { listenFds: given.fds, binds, command: ['/home/script'] })), 'pipe 0\n');
});

it('one that is not open is an error, and nothing starts', async () => {
  const error = await spawn(shell('true', { listenFds: [{ fd: 987 }] })).catch(e => e);
  assert.match(error.message, /^taking the descriptors for the payload: .*\(EBADF\)$/);
});

test.run();
