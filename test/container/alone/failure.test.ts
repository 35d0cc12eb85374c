/** Starts that are made to fail, at every step and in every kind of call: the error tells the step, nothing is left. */
import { execFileSync, spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openOwnPty } from '../../../src/container/own-pty.ts';
import { startContainer } from '../../../src/container/start.ts';
import { ended } from '../../../src/container/wait.ts';
import type { ContainerOptions } from '../../../src/index.ts';
import { silentLogger } from '../../../src/log.ts';
import { buildPlan } from '../../../src/plan/plan.ts';
import { describeStep, must, type Plan, type Step, type StepAction } from '../../../src/plan/steps.ts';
import { SIG } from '../../../syscalls/constants.ts';
import { signalProcess } from '../../../syscalls/process.ts';
import { hostState } from '../../support/host-state.ts';
import { needs, root, tool } from '../../support/needs.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../../support/tree.ts';
import { run, unchanging } from '../support.ts';
import { leftSince } from './left.ts';

const check = needs([root, busybox]);

const host = temporaryDirectory();
const copy = busybox() ? temporaryDirectory() : copyTree(busyboxTree());
for (const name of ['lower', 'upper']) mkdirSync(join(host.path, name));
execFileSync('sh', ['-c', 'echo x >"$1/file"', 'sh', host.path]);
test.after(() => {
  host[Symbol.dispose]();
  copy[Symbol.dispose]();
});

/** Options that have every kind of step done. */
const everything: ContainerOptions = {
  directory: copy.path,
  command: ['/bin/true'],
  user: 'guest',
  privateNetwork: true,
  timezone: 'copy',
  resolvConf: 'bind-host',
  oomScoreAdjust: 10,
  binds: [
    { source: host.path, destination: '/mnt/a', readOnly: false, recursive: true },
    { source: `${host.path}/file`, destination: '/mnt/b', readOnly: true, recursive: false },
    { source: '', destination: '/mnt/c', readOnly: false, recursive: true },
  ],
  tmpfs: [{ path: '/mnt/d', options: 'size=1M' }],
  overlays: [{ lower: [`${host.path}/lower`], upper: `${host.path}/upper`, destination: '/mnt/e', readOnly: false }],
  inaccessible: ['/mnt/a'],
};
const withUsers: ContainerOptions = {
  ...everything,
  privateUsers: { base: 0x3a5b0000, count: 65536 },
  usersOwnership: 'map',
};
const readOnly: ContainerOptions = {
  directory: copy.path,
  command: ['/bin/true'],
  volatile: 'state',
  timezone: 'symlink',
  resolvConf: 'delete',
};

/** Starts a plan on a pseudo terminal; resolves to the error's message. */
async function errorOf(plan: Plan): Promise<string> {
  using pty = openOwnPty(undefined);
  const streams = pty.terminal;
  const none = () => Promise.reject(new Error('none'));
  const started = await startContainer(plan, { log: silentLogger, streams, runInTree: none }).catch(
    (error: Error) => error,
  );
  if (started instanceof Error) return started.message;
  signalProcess(started.pidfd, SIG.KILL);
  await ended(started.pidfd);
  started.resources.dispose();
  return 'it has started';
}

/** What the runtime opens when it is first needed is open from now on. */
async function warmUp(): Promise<void> {
  for (const options of [everything, withUsers, readOnly]) {
    await run({ ...options, stdio: 'pty' });
    await errorOf({ ...buildPlan(options, 'pty'), steps: [impossible] });
  }
}

/** A step that fails wherever it stands. */
const impossible = must({ do: 'mount', type: 'no-such-file-system', path: '/', options: [], attributes: 0 });

check('a step that fails stops the start, whichever it is, and nothing is left', async () => {
  await warmUp();
  const before = hostState();
  for (const options of [everything, withUsers, readOnly]) {
    const plan = buildPlan(options, 'pty');
    for (let n = 0; n <= plan.steps.length; n++) {
      const message = await errorOf({ ...plan, steps: plan.steps.toSpliced(n, 1, impossible) });
      // In a user namespace nothing may be mounted before it is entered.
      assert.match(message, /^mounting no-such-file-system on \/: [^\n]*\((ENODEV|EPERM)\)$/, `step ${n}: ${message}`);
    }
  }
  assert.equal(await leftSince(before, copy.path), []);
});

const long = 'x'.repeat(300);
/** For each kind of step one that can't be done in a way of its own: other values, or a step that is done before. */
const BROKEN: { [K in StepAction['do']]?: Partial<Extract<StepAction, { do: K }>> | { before: StepAction } } = {
  'make overlay': { lower: ['custom 2'] },
  unmount: { path: `/${long}` },
  'make directories': { directories: [{ path: `/${long}`, mode: 0o755 }] },
  'make symlink': { path: '/no/such/link' },
  'fill /dev': { before: { do: 'make symlink', path: '/dev/null', target: 'x' } },
  'make read-only': { path: '/no', recursive: true },
  mount: { options: [{ key: 'no-such-option' }] },
  bind: { object: 'no such object' },
  'bind read-only': { path: '/no' },
  hide: { paths: ['/no'] },
  'set up console': { before: { do: 'make symlink', path: '/dev/console', target: 'x' } },
  'set up kernel log': { before: { do: 'make symlink', path: '/dev/kmsg', target: 'x' } },
  'set boot id': { before: { do: 'make symlink', path: '/dev/.boot-id', target: 'x' } },
  'copy file': { from: '/no' },
  remove: { path: '/etc' },
  'link time zone': { zone: 'No/Such' },
  'set host name': { name: long },
};

check('each kind of step, when it fails by itself, says what it was doing in one line', async () => {
  await warmUp();
  const before = hostState();
  const seen = new Set<string>();
  for (const options of [everything, readOnly]) {
    const plan = buildPlan(options, 'pty');
    for (const [n, { action }] of plan.steps.entries()) {
      const change = BROKEN[action.do];
      if (!change) continue;
      seen.add(action.do);
      const prior: Step[] = 'before' in change ? [must(change.before)] : [];
      const broken = must('before' in change ? action : ({ ...action, ...change } as StepAction));
      const message = await errorOf({ ...plan, steps: plan.steps.toSpliced(n, 1, ...prior, broken) });
      const description = describeStep(broken, plan.hostObjects);
      assert.ok(message.startsWith(`${description}: `), `${description}: but it says ${message}`);
      assert.not.match(message, '\n');
    }
  }
  const unseen = Object.keys(BROKEN).filter(kind => !seen.has(kind) && !['unmount', 'make symlink'].includes(kind));
  assert.equal(unseen, [], 'these kinds were in no plan');
  assert.equal(await leftSince(before, copy.path), []);
});

check('steps that may fail are told of and passed over', async () => {
  const plan = buildPlan({ ...unchanging(busyboxTree()), command: ['/bin/true'] }, 'streams');
  const warnings: string[] = [];
  const told: string[] = [];
  const failing: Step[] = [
    { action: { do: 'remove', path: '/etc' }, onFailure: 'warn' },
    { action: { do: 'hide', paths: ['/no'] }, onFailure: 'warn' },
    { action: { do: 'set host name', name: long }, onFailure: 'debug' },
  ];
  const log = {
    ...silentLogger,
    warn: (m: unknown) => warnings.push(String(m)),
    debug: (m: unknown) => told.push(String(m)),
  };
  const fd = process.stdout.fd;
  const { pidfd, resources } = await startContainer(
    { ...plan, steps: [...plan.steps, ...failing] },
    { log, streams: { fds: [0, fd, 2] }, runInTree: () => Promise.reject(new Error('none')) },
  );
  assert.equal((await ended(pidfd)).ending, { exited: 0 });
  resources.dispose();
  assert.is(
    warnings.filter(line => /^(removing \/etc|making \/no inaccessible): /.test(line)).length,
    2,
    warnings.join('; '),
  );
  assert.is(told.filter(line => line.startsWith('setting the host name to x')).length, 1);
});

const FAILING: Record<string, [ContainerOptions, RegExp]> = {
  'a working directory': [{ chdir: '/no' }, /^changing into the directory \/no: /],
  'a limit': [{ rlimits: [{ name: 'NOFILE', soft: 1n, hard: 1n << 60n }] }, /^setting the resource limit NOFILE to /],
  'a CPU': [{ cpuAffinity: [8000] }, /^running on the CPUs 8000: /],
  'a user': [{ user: 'nobody' }, /^looking up the user "nobody": /],
  'a program': [{ command: ['/etc/passwd'] }, /^running \/etc\/passwd in the container: /],
  'a source': [
    { binds: [{ source: '/no', destination: '/mnt', readOnly: false, recursive: true }] },
    /^opening \/no: /,
  ],
};
for (const [name, [options, error]] of Object.entries(FAILING)) {
  check(`${name} that fails the start leaves nothing`, async () => {
    const all = { ...everything, ...options };
    await run({ ...all, ...options }).catch(() => {});
    const before = hostState();
    for (let i = 0; i < 3; i++) {
      const message = await run(all).then(
        () => 'it has started',
        (caught: Error) => caught.message,
      );
      assert.match(message, error);
    }
    assert.equal(await leftSince(before, copy.path), []);
  });
}

/** What a start calls, apart from what the runtime calls for itself. */
const CALLS = [
  ...[
    'mount',
    'move_mount',
    'pivot_root',
    'umount2',
    'fchdir',
    'mkdirat',
    'openat2',
    'open_tree',
    'fsopen',
    'fsconfig',
  ],
  ...['fsmount', 'mount_setattr', 'mknodat', 'symlinkat', 'sethostname', 'unlinkat', 'setsid', 'seccomp', 'capset'],
  ...[
    'setgroups',
    'setresgid',
    'setresuid',
    'pidfd_getfd',
    'flock',
    'socketpair',

    'statx',
    'umask',
    'personality',
  ],
];

needs([root, busybox, tool('strace')])('whichever call fails, the error is one line, and nothing is left', async () => {
  const main = join(import.meta.dirname, '../../../src/cli/main.ts');
  const options = [
    ...['-q', '-P', '-D', copy.path, '--timezone=copy', '--private-network', '--user=guest', '--personality=x86-64'],
    ...[
      `--bind=${host.path}:/mnt/a`,
      `--overlay=${host.path}/lower:${host.path}/upper:/mnt/e`,
      '--inaccessible=/mnt/a',
      '--tmpfs=/mnt/d',
    ],
  ];
  const strace = async (words: string[]) => {
    const command = [...words, process.execPath, main, ...options, '/bin/true'];
    const child = spawnProcess('strace', ['-f', '-qq', ...command], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr!.on('data', text => (stderr += text));
    const [status] = await once(child, 'close');
    return { status: status as number, stderr: stderr.trimEnd() };
  };

  // How often each process makes each call.
  const log = join(host.path, 'log');
  await strace(['-o', log, '-e', `trace=${CALLS.join(',')}`]);
  const counts = new Map<string, number>();
  for (const [, pid, name] of readFileSync(log, 'utf8').matchAll(/^(\d+) +(\w+)\(/gm))
    counts.set(`${pid} ${name}`, (counts.get(`${pid} ${name}`) ?? 0) + 1);
  const most = (name: string) =>
    Math.max(0, ...[...counts].filter(([key]) => key.endsWith(` ${name}`)).map(([, count]) => count));
  assert.equal(
    CALLS.filter(name => most(name) === 0),
    [],
    'these calls are not made at all',
  );

  const injections = CALLS.flatMap(name => [1, 4, 12].filter(when => when <= most(name)).map(when => ({ name, when })));
  const before = hostState();
  const work = async () => {
    for (let next = injections.pop(); next; next = injections.pop()) {
      const { name, when } = next;
      const { status, stderr } = await strace([
        '-o',
        '/dev/null',
        '-e',
        `trace=${name}`,
        '-e',
        `inject=${name}:error=EXFULL:when=${when}`,
      ]);
      const what = `${name}, call ${when}`;
      // Some may fail: such a start goes on, and says so at most. Both the agent and nspawn itself make some calls.
      assert.match(stderr, /^([a-z][^\n]*Exchange full \(EXFULL\)\n?)*$/, what);
      if (status !== 0) assert.is.not(stderr, '', what);
      const workDirectories = readdirSync(host.path).filter(left => left.startsWith('.#'));
      if (name !== 'unlinkat') assert.equal(workDirectories, [], what);
      for (const left of workDirectories) rmSync(join(host.path, left), { recursive: true });
    }
  };
  // One at a time: the tree has one writer.
  await work();
  assert.equal(await leftSince(before, copy.path), []);
});

test.run();
