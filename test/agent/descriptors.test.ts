/** Descriptors that agents are born with, and those that are sent to them. */
import { readlinkSync } from 'node:fs';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { getRlimit, setRlimit } from '../../syscalls/process.ts';
import { perform, SyscallError, syscall } from '../../syscalls/syscall.ts';
import { childrenOf, openFds, pipe, plainAgent, readText, thrown } from './support.ts';

/** asm-generic/resource.h */
const RLIMIT_NOFILE = 7;
const text = (value: string) => Buffer.from(value);

test('it has the descriptors that it was given, under the same numbers, and the control socket', () => {
  using a = pipe();
  using b = pipe();
  using agent = plainAgent({ fds: [a.read.fd, b.write.fd] });
  agent.run([call('getpid')]);
  const standard = openFds('self').filter(fd => fd <= 2);
  assert.equal(
    openFds(agent.pid),
    [...standard, 3, a.read.fd, b.write.fd].sort((x, y) => x - y),
  );
});

test('hundreds of descriptors can be given', () => {
  using opened = new DisposableStack();
  const fds = Array.from(
    { length: 500 },
    () => opened.use(owned(syscall('openat', AT.FDCWD, '/', O.PATH | O.CLOEXEC, 0))).fd,
  );
  using agent = plainAgent({ fds });
  agent.run([call('getpid')]);
  assert.is(openFds(agent.pid).filter(fd => fds.includes(fd)).length, 500);
  using another = plainAgent();
  assert.equal(another.run([call('getpid')]), [another.pid]);
});

test('descriptors that it cannot be given are refused', () => {
  const before = openFds('self');
  assert.throws(() => plainAgent({ fds: [9999] }), /^fcntl\(9999, F_SETFD, 0\): Bad file descriptor \(EBADF\)$/);
  for (const fd of [3, 4]) assert.throws(() => plainAgent({ fds: [fd] }), /the descriptors 3 and 4 are its own/);
  assert.equal(openFds('self'), before);
  assert.equal(childrenOf(process.pid), []);
});

test('where there are too few descriptors left it fails with one clear line, and keeps none', () => {
  const { soft, hard } = getRlimit(0, RLIMIT_NOFILE);
  using held = new DisposableStack();
  // So many that memory for another one is not at hand.
  for (let i = 0; i < 6; i++) held.use(plainAgent());
  const before = openFds('self');
  const outcomes: string[] = [];
  perform(setRlimit(RLIMIT_NOFILE, BigInt(before.at(-1)! + 20), hard));
  const rest: OwnedFd[] = [];
  try {
    assert.throws(() => {
      for (;;) rest.push(held.use(owned(syscall('openat', AT.FDCWD, '/', O.PATH | O.CLOEXEC, 0))));
    }, /EMFILE/);
    while (outcomes.at(-1) !== 'works' && rest.length > 0) {
      outcomes.push(outcomeOfAgent());
      rest.pop()![Symbol.dispose]();
    }
  } finally {
    for (const one of rest) one[Symbol.dispose]();
    perform(setRlimit(RLIMIT_NOFILE, soft, hard));
  }
  assert.is(outcomes.pop(), 'works');
  assert.ok(outcomes.length >= 3);
  for (const outcome of outcomes) assert.match(outcome, /^\w+\(.*\): Too many open files \(EMFILE\)$/);
  const kept = openFds('self').filter(fd => !before.includes(fd));
  // The memory is kept for the next agent.
  assert.equal(
    kept.map(fd => readlinkSync(`/proc/self/fd/${fd}`)),
    ['/memfd:nspawn-arena (deleted)'],
  );
});

function outcomeOfAgent(): string {
  try {
    using agent = plainAgent();
    agent.run([call('getpid')]);
    return 'works';
  } catch (error) {
    return (error as Error).message;
  }
}

test('descriptors can be sent to a running agent', () => {
  using ends = pipe();
  using agent = plainAgent();
  assert.equal(agent.sendFds([]), []);
  const theirs = agent.sendFds([ends.read.fd, ends.write.fd]);
  const [, theirWrite] = theirs;
  agent.run([call('write', theirWrite!, text('hello'), 5), ...theirs.map(fd => call('close', fd))]);
  assert.is(readText(ends.read.fd), 'hello');
});

test('what cannot be sent is an error, and the agent is ready for more', () => {
  using ends = pipe();
  using agent = plainAgent();
  agent.run([call('getpid')]);
  const atFirst = openFds(agent.pid);
  assert.is(thrown(SyscallError, () => agent.sendFds([ends.read.fd, 9999])).code, 'EBADF');
  // SCM_MAX_FD of unix(7)
  assert.is(thrown(SyscallError, () => agent.sendFds(Array(254).fill(ends.read.fd))).code, 'EINVAL');
  const highest = agent.sendFds([ends.read.fd])[0]!;
  agent.run([setRlimit(RLIMIT_NOFILE, BigInt(highest + 2), BigInt(highest + 2))]);
  assert.throws(
    () => agent.sendFds(Array(3).fill(ends.read.fd)),
    /handing 3 descriptors to an agent: it can have only 1 more/,
  );
  assert.throws(
    () => agent.sendFds([ends.read.fd, ends.read.fd]),
    /handing 2 descriptors to an agent: it can have only 1 more/,
  );
  agent.run([call('close', highest)]);
  assert.equal(openFds(agent.pid), atFirst);
});

test('the control socket can be moved out of the way of others', () => {
  using agent = plainAgent();
  agent.moveControl(40);
  using fds = pipe();
  const [theirs] = agent.sendFds([fds.write.fd]);
  agent.run([call('dup3', theirs!, 3, 0), call('write', 3, Buffer.from('said'), 4)]);
  assert.is(readText(fds.read.fd), 'said');
  assert.equal(
    openFds(agent.pid).filter(fd => fd > 2),
    [3, theirs, 40].sort((a, b) => a! - b!),
  );
});

test.run();
