/** Agents that die or hang where they should answer, and when their memory may be used again. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AgentDiedError } from '../../syscalls/agent/agent.ts';
import { call } from '../../syscalls/call.ts';
import { SIG } from '../../syscalls/constants.ts';
import { owned, readableWithin } from '../../syscalls/fd.ts';
import { reapIfEnded, signalProcess } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { type Need, needs } from '../support/needs.ts';
import { childrenOf, endOf, eventually, openFds, pipe, plainAgent, statusOf, thrown } from './support.ts';

/** struct timespec: a day. */
const LONG = new Uint8Array(new BigInt64Array([86_400n, 0n]).buffer);

test('an agent that exits tells its last call and its exit status', () => {
  using agent = plainAgent();
  const error = thrown(AgentDiedError, () => agent.run([call('getpid'), call('exit_group', 3), call('getppid')]));
  assert.is(error.message, `the container's agent (process ${agent.pid}) died in exit_group(3): exit status 3`);
  assert.is(error.name, 'AgentDiedError');
  assert.is(
    thrown(AgentDiedError, () => agent.run([call('getpid')])),
    error,
    'and says so again',
  );
  assert.is(
    thrown(AgentDiedError, () => agent.sendFds([1])),
    error,
  );
});

test('an agent that exits where it should become a program has died', () => {
  using agent = plainAgent();
  const calls = [call('exit_group', 3), call('execve', '/bin/true', ['true'], [])];
  assert.match(thrown(AgentDiedError, () => agent.exec(calls)).message, /died in exit_group\(3\): exit status 3$/);
});

test('an agent that is killed while it has nothing to do is missed at the next batch', () => {
  for (const use of ['run', 'exec'] as const) {
    using agent = plainAgent();
    agent.run([call('getpid')]);
    signalProcess(agent.pidfd, SIG.KILL);
    assert.ok(readableWithin(agent.pidfd, 20));
    const error = thrown(AgentDiedError, () => agent[use]([call('execve', '/bin/true', ['true'], [])]));
    assert.match(error.message, /died before execve\("\/bin\/true", \["true"\], \[\]\): killed by signal 9$/);
  }
});

/** Kills a process as soon as there is something to read. */
const killer = (pid: number, sign: number) =>
  spawn('sh', ['-c', 'head -c 1 <&3 >&2; kill -9 "$1"', 'sh', String(pid)], {
    stdio: ['ignore', 'ignore', 'ignore', sign],
  });

test('an agent that is killed in a call that waits is missed at once', async () => {
  for (const waiting of ['read', 'nanosleep']) {
    using sign = pipe();
    using empty = pipe();
    using agent = plainAgent({ fds: [sign.write.fd, empty.read.fd] });
    const killing = killer(agent.pid, sign.read.fd);
    const ended = once(killing, 'exit');
    const error = thrown(AgentDiedError, () =>
      agent.run([
        call('write', sign.write.fd, Buffer.from('x'), 1),
        waiting === 'read' ? call('read', empty.read.fd, { out: new Uint8Array(1) }, 1) : call('nanosleep', LONG, null),
        call('getpid'),
      ]),
    );
    assert.match(error.message, new RegExp(`died in (write|${waiting})\\(.*: killed by signal 9$`));
    await ended;
  }
});

test('an agent that dies while descriptors are sent is missed', () => {
  using agent = plainAgent();
  signalProcess(agent.pidfd, SIG.KILL);
  assert.match(
    thrown(AgentDiedError, () => agent.sendFds([1])).message,
    /died (before|in) recvmsg\(3, .*killed by signal 9$/,
  );
});

test('an agent that takes too long is given up, and late answers are not taken for others', () => {
  using late = pipe();
  using agent = plainAgent({ longestBatch: 0.02, fds: [late.read.fd] });
  const error = thrown(AgentDiedError, () => agent.run([call('read', late.read.fd, { out: new Uint8Array(1) }, 1)]));
  assert.is(
    error.message,
    `the container's agent (process ${agent.pid}) is stuck since 0.02 s in read(${late.read.fd}, {1 bytes}, 1)`,
  );
  syscall('write', late.write.fd, Buffer.from('x'), 1);
  assert.is(
    thrown(AgentDiedError, () => agent.run([call('getpid')])),
    error,
  );
});

test('signals that come all the time do not put that off', () => {
  /** struct itimerval of setitimer(2): interval and first time, each in seconds and microseconds. */
  const every = (microseconds: bigint) =>
    new Uint8Array(new BigInt64Array([0n, microseconds, 0n, microseconds]).buffer);
  const ITIMER_REAL = 0;
  const ignore = () => {};
  process.on('SIGALRM', ignore);
  try {
    using agent = plainAgent({ longestBatch: 0.1 });
    syscall('setitimer', ITIMER_REAL, every(5000n), null);
    assert.throws(() => agent.run([call('nanosleep', LONG, null)]), /stuck/);
  } finally {
    syscall('setitimer', ITIMER_REAL, every(0n), null);
    process.off('SIGALRM', ignore);
  }
});

test('a stuck agent goes when it is disposed of', () => {
  const agent = plainAgent({ longestBatch: 0.02 });
  assert.throws(() => agent.run([call('nanosleep', LONG, null)]), /stuck/);
  agent[Symbol.dispose]();
  assert.is(statusOf(agent.pid), undefined);
});

test('an agent that somebody else has reaped can be disposed of', () => {
  const before = openFds('self');
  {
    using agent = plainAgent();
    signalProcess(agent.pidfd, SIG.KILL);
    syscall('wait4', agent.pid, null, 0, null);
    assert.match(thrown(AgentDiedError, () => agent.run([call('getpid')])).message, /died before getpid\(\)$/);
  }
  assert.equal(openFds('self'), before);
});

test('an exit status that somebody else has taken is said to be lost', () => {
  const agent = plainAgent();
  agent.exec([call('execve', '/bin/true', ['true'], [])]);
  agent.detach();
  using pidfd = owned(agent.pidfd);
  syscall('wait4', agent.pid, null, 0, null);
  assert.throws(() => reapIfEnded(pidfd.fd), /^waiting for a child process: its exit status is lost/);
});

/** Processes that have this memory mapped, or a descriptor of it. */
const holders = (what: string): number[] =>
  readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => {
      try {
        return readFileSync(`/proc/${pid}/maps`, 'utf8').includes(what);
      } catch {
        return false; // It has ended, or is not ours to look at.
      }
    });

test('memory is used again once the agent is gone, or has become a program', () => {
  const { arena } = (() => {
    using agent = plainAgent();
    return agent;
  })();
  {
    const agent = plainAgent();
    assert.is(agent.arena, arena);
    agent.exec([call('execve', '/bin/sleep', ['sleep', '1000'], [])]);
    agent.detach();
    using pidfd = owned(agent.pidfd);
    assert.not(holders('nspawn-arena').includes(agent.pid));
    using next = plainAgent();
    assert.is(next.arena, arena);
    signalProcess(pidfd.fd, SIG.KILL);
    endOf(pidfd.fd);
  }
});

test('memory is not used again while an agent may still write to it', () => {
  using busy = pipe();
  // It is let go in the middle of a call, and would go on with its batch.
  const agent = plainAgent({ longestBatch: 0.02, fds: [busy.read.fd] });
  assert.throws(() => agent.run([call('read', busy.read.fd, { out: new Uint8Array(1) }, 1)]), /stuck/);
  agent.detach();
  using pidfd = owned(agent.pidfd);
  for (let i = 0; i < 8; i++) {
    using next = plainAgent();
    assert.is.not(next.arena, agent.arena);
  }
  // And it ends by itself, as nobody can talk to it any more.
  syscall('write', busy.write.fd, Buffer.from('x'), 1);
  assert.equal(endOf(pidfd.fd), { exited: 1 });
});

test('what an agent has become dies with this process when that was asked for', async () => {
  const program = new URL('programs/start-sleeper.ts', import.meta.url).pathname;
  const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const sleeper = Number(line);
  assert.is(statusOf(sleeper)?.name, 'sleep');
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  await eventually('the program is dead', () => (statusOf(sleeper)?.state ?? 'Z') === 'Z');
});

const FREEZER = '/sys/fs/cgroup/freezer';
const freezer: Need = () =>
  existsSync(`${FREEZER}/tasks`) && process.getuid!() === 0 ? undefined : 'no cgroup v1 freezer, or not root';

needs([freezer])('an agent that even SIGKILL does not end is left to itself, with its memory', async () => {
  const cgroup = `${FREEZER}/nspawn-test-${process.pid}`;
  const before = openFds('self');
  mkdirSync(cgroup);
  const agent = plainAgent({ longestBatch: 0.02 });
  try {
    writeFileSync(`${cgroup}/tasks`, String(agent.pid));
    writeFileSync(`${cgroup}/freezer.state`, 'FROZEN');
    await eventually('frozen', () => readFileSync(`${cgroup}/freezer.state`, 'utf8') === 'FROZEN\n');
    assert.throws(() => agent.run([call('getpid')]), /stuck/);
    agent[Symbol.dispose]();
    const isOld = (fd: number) => before.includes(fd);
    assert.ok(openFds('self').every(isOld));
    using next = plainAgent();
    assert.is.not(next.arena, agent.arena);
  } finally {
    writeFileSync(`${cgroup}/freezer.state`, 'THAWED');
    syscall('wait4', agent.pid, null, 0, null);
    rmdirSync(cgroup);
  }
});

test('nothing is left of all of them', () => {
  assert.equal(childrenOf(process.pid), []);
});

test.run();
