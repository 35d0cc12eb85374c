/** Agents in whatever their process was started with: descriptors, limits, signals, kernels. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { call } from '../../syscalls/call.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { plainAgent } from './support.ts';

const programs = new URL('programs/', import.meta.url).pathname;

/** The line that a program prints when it is started by a command. */
function outcome(by: readonly string[], program: string, ...args: readonly string[]): string {
  const [command, ...rest] = [...by, process.execPath, `${programs}${program}`, ...args];
  const { stdout, stderr } = spawnSync(command!, rest, { encoding: 'utf8', timeout: 120_000, killSignal: 'SIGKILL' });
  return (stdout + stderr).trim();
}

const shell = (script: string) => ['sh', '-c', script, 'sh'];

test('descriptors 3 and 4 may be open or closed', () => {
  for (const redirections of [
    '3</dev/null 4</dev/null 5</dev/null',
    '3<&- 4<&- 5<&-',
    '3<&- 4</dev/null',
    '<&- 3<&-',
  ]) {
    assert.is(outcome(shell(`exec "$@" ${redirections}`), 'start-agents.ts', '3'), 'works', redirections);
  }
});

needs([tool('prlimit')])('a low limit on descriptors is enough; too low is one clear line', () => {
  assert.is(outcome(['prlimit', '--nofile=64:64'], 'start-agents.ts'), 'works');
  assert.match(
    outcome(['prlimit', '--nofile=64:64'], 'start-agents.ts', '64'),
    /^openat\(AT_FDCWD, "\/", .*\): Too many open files \(EMFILE\)$/,
  );
});

needs([tool('env')])('exit statuses are not lost where SIGCHLD was ignored', () => {
  assert.is(outcome(['env', '--ignore-signal=CHLD'], 'start-agents.ts'), 'works');
});

test('signals that were blocked or ignored do no harm', () => {
  assert.is(outcome(['env', '--block-signal', '--ignore-signal=TERM'], 'start-agents.ts'), 'works');
});

test('^Z at a terminal stops no agent, as that would hold this process, and this process as ever', () => {
  const blocked = (pid: number | 'self') => /^SigBlk:\s*(\w+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]!;
  const before = blocked('self');
  using agent = plainAgent();
  assert.is(blocked('self'), before);
  // From birth on: SIGTSTP, SIGTTIN and SIGTTOU.
  assert.is(Number.parseInt(blocked(agent.pid), 16) & 0x380000, 0x380000);
  process.kill(agent.pid, 'SIGTSTP');
  assert.equal(agent.run([call('getpid')]), [agent.pid]);
});

/** Since Linux 6.3, and for each process namespace: Documentation/admin-guide/sysctl/vm.rst */
const NOEXEC = '/proc/sys/vm/memfd_noexec';
const memfdNoexec: Need = () => (existsSync(NOEXEC) ? undefined : 'the kernel has no sysctl vm.memfd_noexec');

needs([root, tool('unshare'), memfdNoexec])('memory files that are not executable by default do no harm', () => {
  const by = ['unshare', '-p', '-f', '--mount-proc', ...shell(`echo 1 >${NOEXEC} && "$@"`)];
  assert.is(outcome(by, 'start-agents.ts'), 'works');
});

needs([root, tool('unshare'), memfdNoexec])('that memory files may not be executable at all is one clear line', () => {
  const by = ['unshare', '-p', '-f', '--mount-proc', ...shell(`echo 2 >${NOEXEC} && "$@"`)];
  assert.is(
    outcome(by, 'start-agents.ts'),
    'starting a container: sysctl vm.memfd_noexec=2 forbids executable memory files; set it to 0 or 1',
  );
});

test('a kernel that is too old is one clear line, with the call it lacks', () => {
  for (const name of ['clone3', 'execveat', 'openat2', 'mount_setattr', 'fsopen', 'move_mount']) {
    assert.match(
      outcome([], 'old-kernel.ts', name),
      new RegExp(
        `^${name}\\(.*\\): Function not implemented \\(ENOSYS\\); nspawn needs Linux \\d+\\.\\d+ or newer, and no .*$`,
      ),
    );
  }
});

test('where nobody may take descriptors from others, the agent sends them', () => {
  assert.is(outcome([], 'taking.ts'), 'taken, taken, sendmsg: Bad file descriptor (EBADF)');
});

test('a clone3 that does not know all flags is told as what it is, an old kernel', () => {
  // A filter can't play that kernel: the runtime starts its threads by clone3, too.
  const error = new SyscallError(call('clone3', 0), { name: 'EINVAL', number: 22, text: 'Invalid argument' });
  assert.match(error.message, /EINVAL\); nspawn needs Linux \d+\.\d+ or newer, with all kinds of namespaces$/);
});

needs([tool('strace')])('between clone and exec a child does a handful of calls and nothing else', () => {
  using directory = temporaryDirectory();
  const by = ['strace', '-ff', '-e', 'signal=none', '-o', join(directory.path, 'trace')];
  assert.is(outcome(by, 'start-agents.ts', '3'), 'works');
  const traces = readdirSync(directory.path)
    .map(name => readFileSync(join(directory.path, name), 'utf8'))
    // Others are threads of the runtime.
    .filter(trace => trace.startsWith('prctl(PR_SET_PDEATHSIG, SIGKILL'))
    .map(trace => [...trace.matchAll(/^(\w+)\(/gm)].map(([, name]) => name!))
    .map(calls => calls.slice(0, calls.indexOf('execve')));
  const given = (fds: number) => [
    'prctl',
    ...Array<string>(fds).fill('fcntl'),
    'dup3',
    'dup3',
    'execveat',
    // The agent, in memory of its own.
    ...['mmap', 'close', 'fcntl', 'read', 'getpid', 'sendto', 'read'],
  ];
  assert.equal(
    traces.sort((a, b) => a.length - b.length),
    [given(0), given(0), given(3)],
  );
});

test.run();
