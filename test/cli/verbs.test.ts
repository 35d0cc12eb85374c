/** The verbs for containers that run: list, exec, kill, poweroff and wait. */
import { spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Container, type ContainerRecord, containers, exec, type SpawnOptions, spawn } from '../../src/index.ts';
import { trace } from '../../syscalls/syscall.ts';
import { eventually, textOf } from '../console/support.ts';
import { shell as script } from '../library/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { atTerminal, NSPAWN, nspawn, shell, startNspawn } from './support.ts';

const it = needs([root, busybox]);

const LIST = '/run/nspawn/containers';
/** No other test's containers have these names. */
const named = (purpose: string) => `verbs-${process.pid}-${purpose}`;
const idle = (machine: string, options: SpawnOptions = {}): Promise<Container> =>
  spawn(script('', { machine, command: ['/bin/sleep', '1000'], ...options }));
const listed = (machine: string): ContainerRecord[] => containers().filter(each => each.machine === machine);

it('a container is on the list while it runs', async () => {
  const machine = named('listed');
  const before = Date.now();
  {
    await using container = await idle(machine, { privateNetwork: true, killSignal: 10 });
    const [found, ...others] = listed(machine);
    assert.equal(others, []);
    const { since, ...rest } = found!;
    const expected = { machine, root: busyboxTree(), pid: container.pid, nspawn: process.pid, killSignal: 10 };
    assert.equal(rest, expected);
    assert.ok(since >= before && since <= Date.now());
    const { status, stdout } = await nspawn(['list', '--json']);
    const shown = JSON.parse(stdout).find((each: ContainerRecord) => each.machine === machine);
    assert.equal([status, shown], [0, { ...found, addresses: [] }]);
    assert.match((await nspawn(['list'])).stdout, new RegExp(`^${machine}  +${container.pid}  +/.*  \\d{4}-`, 'm'));
  }
  assert.equal(listed(machine), []);
});

it('one of a killed nspawn is not', async () => {
  const machine = named('killed');
  const child = spawnProcess(NSPAWN[0]!, [NSPAWN[1]!, ...shell('echo ready; sleep 1000', '-q', '-P', '-M', machine)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  await eventually('it is listed', () => listed(machine).length === 1);
  const [{ pid }] = listed(machine) as [ContainerRecord];
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(listed(machine), []);
  await eventually('its file is removed', () => !existsSync(`${LIST}/${pid}`));
});

it('a file that nobody has locked is removed', () => {
  mkdirSync(LIST, { recursive: true });
  const [record] = [{ machine: named('left'), root: '/', pid: 4_000_000, nspawn: 1, since: 0 }];
  writeFileSync(`${LIST}/${record.pid}`, JSON.stringify(record));
  assert.equal(listed(record.machine), []);
  assert.not.ok(existsSync(`${LIST}/${record.pid}`));
});

const NAMESPACES = ['mnt', 'uts', 'ipc', 'net', 'cgroup'];

it('a command runs in all that the container has, with no more rights', async () => {
  const machine = named('joined');
  await using container = await idle(machine, {
    privateNetwork: true,
    dropCapabilities: ['CAP_CHOWN', 'CAP_SYS_ADMIN'],
    noNewPrivileges: true,
  });
  const inquiry = `for n in ${NAMESPACES.join(' ')} pid; do readlink /proc/self/ns/$n; done; readlink /proc/1/ns/pid; grep -E "^(Cap|NoNew|Seccomp)" /proc/self/status; ls -l /proc/self/fd | grep -c /; cat /proc/self/cgroup`;
  const { stdout, exited } = await exec(machine, { command: ['/bin/sh', '-c', inquiry], user: '0' });
  const lines = (await textOf(stdout!)).trimEnd().split('\n');
  assert.is(await exited, 0);
  const { pid } = container;
  assert.equal(
    lines.slice(0, 5),
    NAMESPACES.map(name => readlinkSync(`/proc/${pid}/ns/${name}`)),
  );
  // Its own is that of the container's first process.
  assert.equal(lines.slice(5, 7), [lines[6], readlinkSync(`/proc/${pid}/ns/pid_for_children`)]);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^(Cap|NoNew|Seccomp).*$/gm)!;
  assert.equal(lines.slice(7, 7 + status.length), status);
});

it('what the container could look into has lost its rights and descriptors before', async () => {
  const machine = named('traced');
  await using _ = await idle(machine);
  const calls: string[] = [];
  trace.sink = (who, { name }) => void (who.startsWith('agent') && calls.push(name));
  try {
    await (await exec(machine, { command: ['/bin/true'], stdio: 'pipe' })).exited;
  } finally {
    delete trace.sink;
  }
  const order = ['setns', 'close_range', 'seccomp', 'setresuid', 'capset', 'become_init', 'execve'];
  const positions = order.map(name => calls.lastIndexOf(name));
  assert.equal(
    positions,
    positions.toSorted((a, b) => a - b),
  );
  assert.not.ok(positions.includes(-1));
});

it('standard streams, exit status, user, directory and environment', async () => {
  const machine = named('exec');
  await using _ = await idle(machine);
  const words = ['-u', 'guest', '--chdir=/tmp', '-E', 'A=b', machine, '--', 'sh', '-c'];
  const inquiry = 'read line; echo "$line $(id -un) $(pwd) $A $HOME $container"; echo error >&2; exit 7';
  const outcome = await nspawn(['exec', ...words, inquiry], { input: 'typed\n' });
  const stdout = 'typed guest /tmp b /home/guest systemd-nspawn\n';
  assert.equal(outcome, { status: 7, stdout, stderr: 'error\n' });
});

it('at a terminal the command has one of its own', async () => {
  const machine = named('terminal');
  await using _ = await idle(machine);
  const script =
    'stty size; read line; trap "echo interrupted; exit 3" INT; echo "<$line>"; while :; do sleep 0.1; done';
  await using session = atTerminal([...NSPAWN, 'exec', machine, 'sh', '-c', script]);
  await session.until('30 100\r\n');
  session.type('words\r');
  await session.until('<words>\r\n');
  // The interrupt key reaches it: the terminal is its controlling one.
  session.type('\x03');
  await session.until('interrupted\r\n');
  assert.is(await session.ended, 3);
});

it('a command ends with its nspawn, and with its container', async () => {
  const machine = named('ending');
  const container = await idle(machine);
  const start = async (marker: string) => {
    const command = [...NSPAWN.slice(1), 'exec', machine, 'sh', '-c', `echo ready; exec sleep ${marker}`];
    const child = spawnProcess(NSPAWN[0]!, command, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout!, 'data');
    return child;
  };
  const runs = async (marker: string) => {
    const { stdout, exited } = await exec(machine, { command: ['/bin/ps', '-o', 'args'] });
    const text = await textOf(stdout!);
    await exited;
    return text.includes(`sleep ${marker}`);
  };
  const killed = await start('1001');
  assert.ok(await runs('1001'));
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  for (let tries = 0; (await runs('1001')) && tries < 100; tries++);
  assert.not.ok(await runs('1001'));

  const left = await start('1002');
  const leaving = once(left, 'exit');
  await container[Symbol.asyncDispose]();
  const [status] = await leaving;
  assert.is(status, 255);
});

/** fdinfo has the line `Pid:` for pidfds alone: proc_pid_fdinfo(5). */
function holdsPidfd(pid: number): boolean {
  // Until its exec it has copies of this process's.
  if (readFileSync(`/proc/${pid}/cmdline`).equals(readFileSync('/proc/self/cmdline'))) return false;
  const directory = `/proc/${pid}/fdinfo`;
  return readdirSync(directory).some(fd => {
    try {
      return /^Pid:/m.test(readFileSync(`${directory}/${fd}`, 'utf8'));
    } catch {
      // It has been closed.
      return false;
    }
  });
}

it('kill, poweroff and wait', async () => {
  const machine = named('signals');
  const init = 'trap "exit 5" USR1; trap "exit 6" TERM; echo ready; while :; do sleep 0.1; done';
  const start = async (options: SpawnOptions = {}) => {
    const container = await spawn(script(init, { machine, ...options }));
    await once(container.stdout!, 'data');
    return container;
  };
  const asked = await start({ killSignal: 10 });
  const waiting = spawnProcess(NSPAWN[0]!, [...NSPAWN.slice(1), 'wait', machine], { stdio: 'inherit' });
  const waited = once(waiting, 'exit');
  // Had it not found the container before that is gone, it would rightly complain.
  await eventually('it waits for the container', () => holdsPidfd(waiting.pid!));
  assert.equal(await nspawn(['poweroff', machine]), { status: 0, stdout: '', stderr: '' });
  assert.equal([await asked.exited, await waited], [{ exitStatus: 5 }, [0, null]]);

  const signalled = await start();
  const refusal = `shutting down ${machine}: it runs no init that could be asked; see nspawn kill\n`;
  assert.equal(await nspawn(['poweroff', machine]), { status: 1, stdout: '', stderr: refusal });
  await nspawn(['kill', '--signal=TERM', machine]);
  assert.equal(await signalled.exited, { exitStatus: 6 });

  const killed = await start();
  await nspawn(['kill', machine]);
  assert.equal(await killed.exited, { signal: 9 });
});

it('wait waits until all of the container can be used again', async () => {
  const machine = named('released');
  using tree = copyTree(busyboxTree());
  const words = ['-D', tree.path, '-q', '-M', machine, '--timezone=off', '--resolv-conf=off', '-P', '--', 'sh', '-c'];
  const running = startNspawn([...words, 'echo ready; exec sleep 1000']);
  await eventually('it is listed', () => listed(machine).length === 1);
  const [{ pid }] = listed(machine) as [ContainerRecord];
  const waiting = startNspawn(['wait', machine]);
  await eventually('it waits for the container', () => holdsPidfd(waiting.child.pid!));
  // An nspawn that is slow to notice the end.
  running.child.kill('SIGSTOP');
  process.kill(pid, 'SIGKILL');
  // Who waits for a lock has an arrow in front: proc_locks(5).
  const isHeldUp = () => new RegExp(`-> FLOCK .* ${waiting.child.pid} `).test(readFileSync('/proc/locks', 'utf8'));
  await eventually('it waits for nspawn', isHeldUp);
  running.child.kill('SIGCONT');
  assert.equal(await waiting.outcome, { status: 0, stdout: '', stderr: '' });
  assert.equal(await nspawn([...words, 'echo again']), { status: 0, stdout: 'again\n', stderr: '' });
  await running.outcome;
});

it('errors say what is wrong', async () => {
  const machine = named('twice');
  await using first = await idle(machine);
  await using second = await idle(machine);
  const errors: [string[], RegExp][] = [
    [['exec', named('none'), 'true'], /^looking for the container [^ ]*: none of this name runs; see nspawn list\n$/],
    [['kill', machine], new RegExp(`there is more than one of this name \\(processes ${first.pid}, ${second.pid}\\)`)],
    [['exec'], /^exec needs the name of a container; see nspawn exec --help\n$/],
    [['wait', 'a', 'b'], /^wait takes the name of one container, not 2 words; see nspawn wait --help\n$/],
    [['list', 'x'], /^list takes no words/],
    [['kill', '--signal=NONE', 'x'], /^--signal= takes a signal/],
    [['exec', '--no-such', 'x'], /^unknown option --no-such/],
  ];
  for (const [words, expected] of errors) {
    const { status, stderr } = await nspawn(words);
    assert.is(status, 1);
    assert.match(stderr, expected);
  }
  await first[Symbol.asyncDispose]();
  const exits: [string[], RegExp][] = [
    [['exec', machine, 'nothing'], /^running nothing \(looked for \/usr.*: No such file or directory \(ENOENT\)\n$/],
    [['exec', '-u', 'nobody-here', machine, 'true'], /^looking up the user "nobody-here": the container's passwd file/],
    [['exec', '--chdir=/none', machine, 'true'], /^changing into the directory \/none: .*\(ENOENT\)\n$/],
  ];
  for (const [words, expected] of exits) assert.match((await nspawn(words)).stderr, expected);
});

it('help', async () => {
  for (const verb of ['list', 'exec', 'kill', 'poweroff', 'wait']) {
    const { status, stdout } = await nspawn([verb, '--help']);
    assert.is(status, 0);
    assert.ok(stdout.startsWith(`nspawn ${verb} `));
  }
});

test.run();
