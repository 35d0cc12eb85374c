/** Agents that fork other agents. */
import { readFileSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Channel, makeChannel } from '../../syscalls/agent/agent.ts';
import { BECOME_INIT_CALL } from '../../syscalls/agent/arena.ts';
import { call } from '../../syscalls/call.ts';
import { CLONE, PR } from '../../syscalls/constants.ts';
import { ALL_SIGNALS, setSignalMask } from '../../syscalls/process.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import { needs, root } from '../support/needs.ts';
import { childrenOf, endOf, eventually, openFds, pipe, plainAgent, statusOf, thrown } from './support.ts';

/** linux/prctl.h */
const PR_GET_NAME = 16;

const asRoot = needs([root]);

/** What an agent needs for having one forked that is talked to by this. */
const endsOf = ({ theirs, arena }: Channel) => [theirs, arena.fd];

asRoot('a forked agent is a child of this process, in its own namespaces and in those of the other one', () => {
  using channel = makeChannel();
  using first = plainAgent({ namespaces: CLONE.NEWNS, fds: endsOf(channel) });
  using second = first.fork(CLONE.NEWUSER | CLONE.NEWPID, channel);
  assert.is(statusOf(second.pid)?.parent, process.pid);
  assert.equal(second.run([call('getpid'), call('getuid')]), [1, 65534]);
  const namespace = (pid: number, name: string) => readlinkSync(`/proc/${pid}/ns/${name}`);
  assert.is(namespace(second.pid, 'mnt'), namespace(first.pid, 'mnt'));
  assert.is.not(namespace(second.pid, 'user'), namespace(first.pid, 'user'));
  // All rights in its namespace, as no exec has come in between.
  assert.match(readFileSync(`/proc/${second.pid}/status`, 'utf8'), /^CapEff:\t0*1f*$/m);
});

asRoot('both work on, each by itself', () => {
  using channel = makeChannel();
  using another = makeChannel();
  using first = plainAgent({ fds: [...endsOf(channel), ...endsOf(another)] });
  using second = first.fork(0n, channel);
  using third = second.fork(0n, another);
  const agents = [first, second, third];
  for (let i = 0; i < 3; i++)
    assert.equal(
      agents.map(agent => agent.run([call('getpid')])[0]),
      agents.map(agent => agent.pid),
    );
  first[Symbol.dispose]();
  assert.equal(third.run([call('getpid')]), [third.pid]);
});

asRoot('what the forking one runs before and after that is run by it, and an error in it is told', () => {
  using channel = makeChannel();
  using first = plainAgent({ fds: endsOf(channel) });
  const [name, umask] = [new Uint8Array(16), call('umask', 0o027)];
  const setName = call('prctl', PR.SET_NAME, 'before', 0, 0, 0);
  using second = first.fork(0n, channel, [umask], [setName]);
  // A name is inherited, and so would the mask be.
  second.run([call('prctl', PR_GET_NAME, { out: name }, 0, 0, 0)]);
  assert.is(Buffer.from(name).toString().replaceAll('\0', ''), 'before');
  assert.equal(
    [first, second].map(agent => agent.run([umask])[0]),
    [0o027, process.umask()],
  );
  using another = makeChannel();
  using third = plainAgent({ fds: endsOf(another) });
  const error = thrown(SyscallError, () => third.fork(0n, another, [], [call('chdir', '/no/such')]));
  assert.equal([error.call.name, error.code], ['chdir', 'ENOENT']);
});

asRoot('it has the same descriptors, and no more', () => {
  using ends = pipe();
  using channel = makeChannel();
  using first = plainAgent({ fds: [ends.write.fd, ...endsOf(channel)] });
  using second = first.fork(0n, channel);
  // Once it is ready: it puts its own where they belong by itself.
  second.run([call('getpid')]);
  assert.equal(openFds(second.pid), openFds(first.pid));
  assert.ok(openFds(second.pid).includes(ends.write.fd));
});

asRoot('its exec is noticed, although the other one still lives', () => {
  using channel = makeChannel();
  using first = plainAgent({ fds: endsOf(channel) });
  const second = first.fork(0n, channel);
  assert.is(second.exec([call('execve', '/bin/true', ['true'], [])]), undefined);
  second.detach();
  assert.equal(endOf(second.pidfd), { exited: 0 });
});

asRoot('it can become an init', () => {
  using channel = makeChannel();
  using first = plainAgent({ fds: endsOf(channel) });
  const second = first.fork(CLONE.NEWPID, channel);
  second.run([setSignalMask(ALL_SIGNALS), BECOME_INIT_CALL]);
  assert.is(second.exec([call('execve', '/bin/sh', ['sh', '-c', 'exit 7'], [])]), undefined);
  second.detach();
  assert.equal(endOf(second.pidfd), { exited: 7 });
});

asRoot('what the kernel refuses is said, and leaves nothing', () => {
  using channel = makeChannel();
  using first = plainAgent({ fds: endsOf(channel) });
  // Until it has answered it may still have what it lets go of at first.
  first.run([call('getpid')]);
  const before = [openFds('self'), openFds(first.pid)];
  // A signal on exit can't be asked for here: any flag of the lowest byte is one.
  const error = thrown(SyscallError, () => first.fork(1n, channel));
  assert.match(error.message, /^fork_agent\(.*: Invalid argument \(EINVAL\)$/);
  assert.equal(openFds('self'), before[0]);
  assert.equal(
    openFds(first.pid),
    before[1]!.filter(fd => !endsOf(channel).includes(fd)),
  );
});

asRoot('it ends when this process lets go of it', async () => {
  using channel = makeChannel();
  using first = plainAgent({ fds: endsOf(channel) });
  const { pid, pidfd, detach } = first.fork(0n, channel);
  detach();
  await eventually('it ends', () => statusOf(pid)?.state === 'Z');
  assert.equal(endOf(pidfd), { exited: 1 });
});

asRoot('one that nobody gets to know is reaped', () => {
  const before = childrenOf(process.pid);
  for (const after of [call('exit_group', 3), call('chdir', '/no/such')]) {
    using channel = makeChannel();
    using first = plainAgent({ fds: endsOf(channel) });
    assert.throws(() => first.fork(0n, channel, [after]), /exit_group|chdir/);
  }
  assert.equal(childrenOf(process.pid), before);
});

test.run();
