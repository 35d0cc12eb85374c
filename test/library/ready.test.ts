/** The library: when a container is ready, and what it says of itself. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Notification, type SpawnOptions, spawn } from '../../src/index.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, debian, debianTree } from '../support/tree.ts';
import { shell } from './support.ts';

const it = needs([root, busybox]);
const inDebian = needs([root, debian]);

/** Says these things, after a line of input. */
const saying = (messages: string[], options: SpawnOptions = {}): SpawnOptions => {
  const send =
    'socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, $_, 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $! for @ARGV';
  const command = ['/usr/bin/perl', '-MSocket', '-e', `<STDIN>; ${send}; <STDIN>`, ...messages];
  return { directory: debianTree(), volatile: 'overlay', command, ...options };
};

inDebian('ready when its payload says so', async () => {
  await using container = await spawn(saying(['STATUS=first', 'READY=1'], { notifyReady: true }));
  let isReady = false;
  container.ready.then(() => {
    isReady = true;
  });
  container.stdin!.write('\n');
  assert.is(isReady, false);
  await container.ready;
  assert.is(container.ending, undefined);
  container.stdin!.end('\n');
  assert.equal(await container.exited, { exitStatus: 0 });
});

inDebian('all that it says, also just before its end', async () => {
  const heard: Notification[] = [];
  const messages = Array.from({ length: 50 }, (_, i) => `STATUS=${i}`);
  const container = await spawn(saying([...messages, 'READY=1'], { onNotification: said => heard.push(said) }));
  await container.ready;
  container.stdin!.end('\n\n');
  assert.equal(await container.exited, { exitStatus: 0 });
  assert.equal(heard, [...messages.map((_, i) => ({ ready: false, status: `${i}` })), { ready: true }]);
});

it('ready at once where nobody asked it to say so', async () => {
  await using container = await spawn(shell('read line'));
  await container.ready;
  assert.is(container.ending, undefined);
});

it('never ready if it ends before, which nobody has to wait for', async () => {
  const container = await spawn(shell('exit 3', { notifyReady: true }));
  assert.equal(await container.exited, { exitStatus: 3 });
  const error: Error = await container.ready.then(
    () => assert.unreachable(),
    e => e,
  );
  assert.match(error.message, /^the container \S+ has ended without having said that it is ready$/);
});

test.run();
