/** Agents that do as they are told: batches, results, errors, descriptors. */
import { mkdirSync, readFileSync, readlinkSync, rmdirSync } from 'node:fs';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AgentDiedError } from '../../syscalls/agent/agent.ts';
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, MFD, O, P, SIG } from '../../syscalls/constants.ts';
import { closeFd, owned } from '../../syscalls/fd.ts';
import { openInRoot } from '../../syscalls/file.ts';
import { noNewPrivileges } from '../../syscalls/process.ts';
import { compile, loadArchitecture } from '../../syscalls/seccomp/index.ts';
import { SyscallError, syscall, trace } from '../../syscalls/syscall.ts';
import { needs, root } from '../support/needs.ts';
import { childrenOf, endOf, openFds, pipe, plainAgent, readText, statusOf, thrown } from './support.ts';

const text = (value: string) => Buffer.from(value);
const allowing = (errors: readonly string[] | 'any', allowed: Call): Call => ({ ...allowed, allow: errors });
const NOT_OPEN = call('close', 9999);

test('calls run in the agent, in their order, and return their results', () => {
  using agent = plainAgent();
  assert.equal(agent.run([call('getpid'), call('getppid'), call('umask', 0o27), call('umask', 0o22)]), [
    agent.pid,
    process.pid,
    process.umask(),
    0o27,
  ]);
  assert.equal(agent.run([]), []);
});

test('this process can do something while the agent runs its calls', () => {
  using ends = pipe();
  using agent = plainAgent({ fds: [ends.read.fd] });
  const got = new Uint8Array(4);
  const read = call('read', ends.read.fd, { out: got }, 4);
  // The agent waits for it.
  const meanwhile = () => void syscall('write', ends.write.fd, text('word'), 4);
  assert.equal(agent.run([read], meanwhile), [4]);
  assert.is(Buffer.from(got).toString(), 'word');
});

test('calls can be sent without waiting: what is asked next comes after them', () => {
  using ends = pipe();
  using agent = plainAgent({ fds: [ends.write.fd] });
  const write = (word: string) => call('write', ends.write.fd, text(word), word.length);
  agent.send([write('one ')]);
  agent.send([write('two '), NOT_OPEN, write('never ')]);
  assert.equal(agent.run([write('three')]), [5]);
  assert.is(readText(ends.read.fd), 'one two three');
  agent.send([call('exit_group', 3)]);
  assert.match(
    thrown(AgentDiedError, () => agent.run([write('no')])).message,
    /died in exit_group\(3\): exit status 3$/,
  );
});

test('an error stops the batch, and tells the call and why it failed', () => {
  using ends = pipe();
  using agent = plainAgent({ fds: [ends.write.fd] });
  const write = (word: string) => call('write', ends.write.fd, text(word), word.length);
  const error = thrown(SyscallError, () => agent.run([write('before'), NOT_OPEN, write('after')]));
  assert.is(error.message, 'close(9999): Bad file descriptor (EBADF)');
  assert.equal([error.code, error.errno, error.text], ['EBADF', 9, 'Bad file descriptor']);
  assert.is(error.call, NOT_OPEN);
  assert.is(readText(ends.read.fd), 'before');
  assert.equal(agent.run([write('again')]), [5], 'it is ready for more');
});

test('errors that a call allows are results: one, one of several, any', () => {
  using agent = plainAgent();
  const [EBADF, ENOENT] = [-9, -2];
  const missing = call('chdir', '/does/not/exist');
  assert.equal(
    agent.run([
      allowing(['EBADF'], NOT_OPEN),
      allowing(['EIO', 'EBADF'], NOT_OPEN),
      allowing(['EBADF', 'EIO'], NOT_OPEN),
      allowing('any', missing),
      allowing(['EPERM', 'EACCES', 'ENOENT'], missing),
      call('getpid'),
    ]),
    [EBADF, EBADF, EBADF, ENOENT, ENOENT, agent.pid],
  );
  for (const others of [['ENOENT'], ['ENOENT', 'EIO'], []]) {
    assert.is(thrown(SyscallError, () => agent.run([allowing(others, NOT_OPEN)])).code, 'EBADF');
  }
});

test('a result is an argument of later calls, also across allowed errors', () => {
  using agent = plainAgent();
  const file = call('memfd_create', 'x', MFD.CLOEXEC);
  const read = new Uint8Array(8);
  const second = allowing(['EIO', 'EBADF'], NOT_OPEN);
  const results = agent.run([
    file,
    call('write', resultOf(file), text('content'), 7),
    // The agent itself knows only the first of these, and hands back: the results before it must stay known.
    second,
    call('lseek', resultOf(file), 3, 0),
    second,
    call('read', resultOf(file), { out: read }, 8),
    call('close', resultOf(file)),
  ]);
  assert.equal(results.slice(1), [7, -9, 3, -9, 4, 0]);
  assert.is(Buffer.from(read).toString(), 'tent\0\0\0\0');
});

test('a batch that is taken up again ends where it ends', () => {
  using ends = pipe();
  using agent = plainAgent({ fds: [ends.write.fd] });
  // Leaves calls in memory behind those of the next batch.
  const write = (word: string) => call('write', ends.write.fd, text(word), word.length);
  agent.run([call('getpid'), call('getpid'), call('getpid'), write('a'), write('b'), write('c')]);
  assert.is(readText(ends.read.fd), 'abc');
  agent.run([call('getpid'), allowing(['EIO', 'EBADF'], NOT_OPEN), call('getpid')]);
  agent.run([write('d')]);
  assert.is(readText(ends.read.fd), 'd');
});

test('the result of a call that is not before is refused', () => {
  using agent = plainAgent();
  const later = call('getpid');
  const using = call('close', resultOf(later));
  const own: Call = { name: 'close', args: [] };
  Object.assign(own, { args: [resultOf(own)] });
  for (const calls of [[using], [using, later], [own]]) {
    assert.throws(() => agent.run(calls), /getpid|close does not come before the call that uses its result/);
  }
  assert.equal(agent.run([later]), [agent.pid]);
});

test('what a call writes comes back, and what does not fit the kernel is told', () => {
  using agent = plainAgent();
  const [directory, empty] = [new Uint8Array(64), new Uint8Array(0)];
  const [length] = agent.run([call('getcwd', { out: directory }, 64), call('getrandom', { out: empty }, 0, 0)]);
  assert.is(Buffer.from(directory.subarray(0, length! - 1)).toString(), process.cwd());
  const error = thrown(SyscallError, () => agent.run([call('getcwd', { out: new Uint8Array(1) }, 1)]));
  assert.is(error.message, 'getcwd({1 bytes}, 1): Numerical result out of range (ERANGE)');
});

test('strings of any script, and empty ones, arrive whole', () => {
  using agent = plainAgent();
  for (const name of ['', 'plain', 'Größe', '容器', '🗄 x']) {
    const shown = new Uint8Array(256);
    const file = call('memfd_create', name, MFD.CLOEXEC);
    const [fd] = agent.run([file]);
    agent.run([call('readlinkat', AT.FDCWD, `/proc/self/fd/${fd}`, { out: shown }, 256)]);
    assert.match(Buffer.from(shown).toString(), `/memfd:${name} (deleted)`);
  }
});

test('a string with a NUL inside is refused before anything runs', () => {
  using agent = plainAgent();
  assert.throws(
    () => agent.run([call('exit_group', 1), call('chdir', '/tmp\0/x')]),
    /^passing "\/tmp\\u0000\/x" to the kernel: it has a NUL character in it$/,
  );
  assert.equal(agent.run([call('getpid')]), [agent.pid]);
});

test('arguments and batches that are too long are refused before anything runs', () => {
  using agent = plainAgent();
  const huge = new Uint8Array(9 << 20);
  assert.throws(
    () => agent.run([call('exit_group', 1), call('write', 1, huge, huge.length)]),
    /^handing write to an agent: too long for the memory/,
  );
  const many = Array.from({ length: 110_000 }, () => call('exit_group', 1));
  assert.throws(() => agent.run(many), /^handing 110000 calls to an agent: too long/);
  assert.equal(agent.run([call('getpid')]), [agent.pid]);
});

test('a batch of thousands of calls runs', () => {
  using agent = plainAgent();
  const results = agent.run(Array.from({ length: 20_000 }, () => call('getpid')));
  assert.is(results.length, 20_000);
  assert.ok(results.every(result => result === agent.pid));
});

test('openat2 is tried again when something was renamed meanwhile, but not for ever', async () => {
  using agent = plainAgent();
  const host = await loadArchitecture(process.arch === 'x64' ? 'x86_64' : 'arm64');
  const filter = compile({
    architectures: [host],
    defaultAction: 'allow',
    rules: [{ syscall: 'openat2', action: { errno: 11 } }],
  });
  const header = new Uint8Array(16);
  new DataView(header.buffer).setUint16(0, filter.length / 8, true);
  agent.run([noNewPrivileges, call('seccomp', 1, 0, { bytes: header, pointers: [[8, filter]] })]);
  const error = thrown(SyscallError, () => agent.run([call('getpid'), openInRoot(AT.FDCWD, '/', O.PATH)]));
  assert.is(error.code, 'EAGAIN');
});

test('errors are written as a person would write the calls', () => {
  using agent = plainAgent();
  const messages: [Call, string][] = [
    [
      call('openat', AT.FDCWD, '/no', O.WRONLY | O.CREAT | O.CLOEXEC | O.DIRECTORY, 0o644),
      'openat(AT_FDCWD, "/no", O_WRONLY|O_CREAT|O_DIRECTORY|O_CLOEXEC, 0644): Invalid argument (EINVAL)',
    ],
    [
      call('unlinkat', AT.FDCWD, '', AT.REMOVEDIR),
      'unlinkat(AT_FDCWD, "", AT_REMOVEDIR): No such file or directory (ENOENT)',
    ],
    [call('fcntl', 9999, 2, 1), 'fcntl(9999, F_SETFD, 1): Bad file descriptor (EBADF)'],
    [call('mount', null, '/no', null, 4096, null), 'mount(NULL, "/no", NULL, MS_BIND, NULL): '],
    [call('prctl', 4, 99, 0, 0, 0), 'prctl(PR_SET_DUMPABLE, 99, 0, 0, 0): Invalid argument (EINVAL)'],
    [
      call('execve', '/no', ['a', 'b "c"'], ['X=1']),
      'execve("/no", ["a", "b \\"c\\""], ["X=1"]): No such file or directory (ENOENT)',
    ],
    [call('write', 9999, text('xyz'), 3), 'write(9999, "xyz", 3): Bad file descriptor (EBADF)'],
    [
      call('waitid', P.PIDFD, 9999, null, 4, null),
      'waitid(P_PIDFD, 9999, NULL, WEXITED, NULL): Bad file descriptor (EBADF)',
    ],
  ];
  for (const [failing, message] of messages) {
    const error = thrown(SyscallError, () => agent.run([failing]));
    assert.is(error.message.slice(0, message.length), message);
  }
});

test('the trace sees each call that ran, with its result', () => {
  using agent = plainAgent();
  const seen: string[] = [];
  trace.sink = (who, { name }, result) => void (who === 'nspawn' || seen.push(`${who} ${name} ${result}`));
  try {
    assert.throws(() => agent.run([call('getpid'), allowing(['EIO', 'EBADF'], NOT_OPEN), NOT_OPEN, call('getppid')]));
  } finally {
    delete trace.sink;
  }
  assert.equal(seen, [
    `agent ${agent.pid} getpid ${agent.pid}`,
    `agent ${agent.pid} close -9`,
    `agent ${agent.pid} close -9`,
  ]);
});

const shell = (script: string): Call => call('execve', '/bin/sh', ['sh', '-c', script], ['X=from outside']);

test('a successful execve makes it the program', () => {
  using ends = pipe();
  const agent = plainAgent({ fds: [ends.write.fd] });
  assert.is(agent.exec([shell(`echo "$X" >&${ends.write.fd}; exit 7`)]), undefined);
  agent.detach();
  using pidfd = owned(agent.pidfd);
  assert.equal(endOf(pidfd.fd), { exited: 7 });
  assert.is(readText(ends.read.fd), 'from outside\n');
});

test('of several execves the first that succeeds counts', () => {
  const missing = allowing(['ENOENT'], call('execve', '/does/not/exist', ['x'], []));
  const failing = allowing(['ENOENT'], shell('exit 9'));
  for (const calls of [
    [missing, shell('exit 3'), failing],
    [call('getpid'), missing, missing, shell('exit 3')],
  ]) {
    const agent = plainAgent();
    assert.is(agent.exec(calls), undefined);
    agent.detach();
    using pidfd = owned(agent.pidfd);
    assert.equal(endOf(pidfd.fd), { exited: 3 });
  }
});

test('an execve that fails is an error or, if allowed, a result, and the agent is there for another try', () => {
  using agent = plainAgent();
  const fails = (...calls: Call[]) => thrown(SyscallError, () => agent.exec(calls)).code;
  // One string may have 128 KiB: execve(2).
  assert.is(fails(call('execve', '/bin/true', ['true', 'x'.repeat(200_000)], [])), 'E2BIG');
  assert.is(fails(call('execve', '/bin/true', ['true', ...Array(70).fill('y'.repeat(100_000))], [])), 'E2BIG');
  assert.is(fails(call('execve', '/does/not/exist', ['x'], []), call('getpid')), 'ENOENT');
  const file = call('memfd_create', 'x', MFD.CLOEXEC);
  const empty = call('execveat', resultOf(file), '', ['x'], [], AT.EMPTY_PATH);
  assert.is(fails(file, call('fchmod', resultOf(file), 0o755), empty), 'ENOEXEC');
  // The agent itself goes on after the first error that is allowed.
  const places = ['/does/not/exist', '/dev/null', '/etc'].map(path =>
    allowing(['ENOENT', 'EACCES'], call('execve', path, ['x'], [])),
  );
  assert.equal(agent.exec([...places, call('getpid')]), [-2, -13, -13, agent.pid]);
  assert.equal(agent.run([call('getpid')]), [agent.pid]);
});

test('its parent death signal is set when it is asked for', () => {
  for (const dieWithParent of [true, false]) {
    using agent = plainAgent({ dieWithParent });
    const signal = new Uint8Array(4);
    agent.run([call('prctl', 2, { out: signal }, 0, 0, 0)]); // PR_GET_PDEATHSIG of linux/prctl.h
    assert.is(signal[0], dieWithParent ? SIG.KILL : 0);
  }
});

needs([root])('it has the namespaces of its own that were asked for, and shares the others', () => {
  const KINDS = { mnt: CLONE.NEWNS, uts: CLONE.NEWUTS, ipc: CLONE.NEWIPC, pid: CLONE.NEWPID, net: CLONE.NEWNET };
  const namespacesOf = (pid: number | 'self') =>
    Object.keys(KINDS).map(kind => readlinkSync(`/proc/${pid}/ns/${kind}`));
  const ours = namespacesOf('self');
  for (const own of [[], ['mnt', 'pid'], ['uts', 'net'], Object.keys(KINDS)] as (keyof typeof KINDS)[][]) {
    using agent = plainAgent({ namespaces: own.reduce((flags, kind) => flags | KINDS[kind], 0n) });
    assert.equal(agent.run([call('getpid')]), [own.includes('pid') ? 1 : agent.pid]);
    const theirs = namespacesOf(agent.pid);
    const differing = Object.keys(KINDS).filter((_, i) => theirs[i] !== ours[i]);
    assert.equal(
      differing,
      Object.keys(KINDS).filter(kind => own.includes(kind as keyof typeof KINDS)),
    );
  }
});

/** Where cgroups v2 are mounted; proc_pid_mountinfo(5). */
const cgroups = readFileSync('/proc/self/mountinfo', 'utf8')
  .split('\n')
  .find(line => line.includes(' - cgroup2 '))
  ?.split(' ')[4];

needs([root, () => (cgroups ? undefined : 'no cgroups v2')])('it is born in a cgroup', () => {
  const name = `nspawn-test-${process.pid}`;
  mkdirSync(`${cgroups}/${name}`);
  try {
    using directory = owned(syscall('openat', AT.FDCWD, `${cgroups}/${name}`, O.RDONLY | O.CLOEXEC, 0));
    using agent = plainAgent({ cgroup: directory.fd });
    assert.match(readFileSync(`/proc/${agent.pid}/cgroup`, 'utf8'), `0::/${name}\n`);
  } finally {
    rmdirSync(`${cgroups}/${name}`);
  }
});

test('agents of several asynchronous flows do not get in each other’s way', async () => {
  const flow = async (number: number) => {
    for (let round = 0; round < 3; round++) {
      using agent = plainAgent();
      await setTimeout((number * 7) % 5);
      const umask = 0o100 + number;
      assert.equal(agent.run([call('umask', umask), call('getpid')]).at(-1), agent.pid);
      await setTimeout((number * 3) % 4);
      assert.equal(agent.run([call('umask', 0o22)]), [umask]);
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, number) => flow(number)));
});

test('hundreds of agents leave nothing behind', () => {
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      const agent = plainAgent();
      if (i % 2) {
        agent.run([call('getpid')]);
        agent[Symbol.dispose]();
        agent[Symbol.dispose]();
      } else {
        agent.exec([call('execve', '/bin/true', ['true'], [])]);
        agent.detach();
        agent.detach();
        endOf(agent.pidfd);
        closeFd(agent.pidfd);
      }
    }
  };
  const maps = () => readFileSync('/proc/self/maps', 'utf8').split('nspawn-').length;
  rounds(10);
  const before = { fds: openFds('self'), maps: maps() };
  rounds(500);
  assert.equal({ fds: openFds('self'), maps: maps() }, before);
  assert.equal(childrenOf(process.pid), []);
});

test('a disposed agent is dead and reaped', () => {
  const agent = plainAgent();
  agent[Symbol.dispose]();
  assert.is(statusOf(agent.pid), undefined);
  for (const use of [() => agent.run([call('getpid')]), () => agent.exec([call('getpid')]), () => agent.sendFds([1])]) {
    assert.match(thrown(AgentDiedError, use).message, /was let go/);
  }
});

test.run();
