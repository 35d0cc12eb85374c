/** How the payload is started: environment, limits, descriptors, program. */
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SpawnOptions } from '../../src/index.ts';
import { spawn } from '../../src/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { commandLine, run, shell, startError, unchanging } from './support.ts';

const check = needs([root, busybox]);
const checkCommandLine = needs([root, busybox, tool('unshare')]);
const tree = (options: SpawnOptions = {}) => ({ ...unchanging(busyboxTree()), ...options });
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

async function environment(options: SpawnOptions = {}): Promise<string[]> {
  const { stdout } = await run({ ...tree(options), command: ['/usr/bin/env'] });
  return stdout.split('\n');
}

check("the environment says where and who it is, and nothing of the caller's", async () => {
  process.env['OF_THE_CALLER'] = 'x';
  const expected = [`PATH=${PATH}`, 'container=systemd-nspawn', 'HOME=/root', 'USER=root', 'LOGNAME=root'];
  assert.equal(await environment(), expected);
});

checkCommandLine('from the command line, it also has TERM', () => {
  const words = ['-D', busyboxTree(), '--volatile=overlay', '--timezone=off'];
  const show = ['/bin/sh', '-c', 'echo $TERM'];
  assert.is(commandLine('export TERM=vt52', ...words, ...show).stdout, 'vt52');
  assert.is(commandLine('unset TERM', ...words, ...show).stdout, '');
  assert.is(commandLine('export TERM=vt52', ...words, '--setenv=TERM=dumb', ...show).stdout, 'dumb');
});

check('assignments go over all others, later ones over earlier ones', async () => {
  const uuid = 'deadbeefdeadbeefdeadbeefdeadbeef';
  const given = [
    'HOME=/x',
    'A=1',
    'A=2',
    'container=other',
    'container_uuid=mine',
    'EMPTY=',
    'EQUALS=a=b',
    'LINE=a\tb c',
  ];
  const expected = [
    `PATH=${PATH}`,
    'container=other',
    'HOME=/x',
    'USER=root',
    'LOGNAME=root',
    'container_uuid=mine',
    'A=2',
    'EMPTY=',
    'EQUALS=a=b',
    'LINE=a\tb c',
  ];
  assert.equal(await environment({ uuid, environment: given }), expected);
});

check('an id is shown as a UUID; one of all zeroes is none', async () => {
  const uuid = 'DEADBEEF-dead-beef-dead-beefdeadbeef';
  const ids = async (text: string) =>
    (await environment({ uuid: text })).filter(line => line.startsWith('container_uuid='));
  assert.equal(await ids('deadbeefdeadbeefdeadbeefdeadbeef'), ['container_uuid=deadbeef-dead-beef-dead-beefdeadbeef']);
  assert.equal(await ids(uuid), ['container_uuid=deadbeef-dead-beef-dead-beefdeadbeef']);
  assert.equal(await ids('0'.repeat(32)), []);
});

check('it starts in /, with umask 022', async () => {
  assert.is(await shell('pwd; umask'), '/\n0022');
});

checkCommandLine('its signals are as after a fresh start, whatever the caller ignores or blocks', () => {
  const status = ['/bin/grep', '-E', '^Sig(Blk|Ign|Cgt):|^ShdPnd', '/proc/self/status'];
  const words = ['-D', busyboxTree(), '--volatile=overlay', '--timezone=off'];
  const { stdout } = commandLine('trap "" HUP INT USR1 PIPE XFSZ CHLD', ...words, ...status);
  assert.equal(
    stdout.split('\n').map(line => line.split('\t')[1]),
    Array(4).fill('0000000000000000'),
  );
  assert.is(commandLine('trap "" CHLD', ...words, '/bin/sh', '-c', 'exit 7').status, 7);
});

check("its limits are the kernel's defaults", async () => {
  const limits = (await shell('cat /proc/self/limits')).split('\n').slice(1);
  const byName = new Map(
    limits.map(line => [line.slice(0, 26).trim(), line.slice(26).trim().split(/\s+/).slice(0, 2)]),
  );
  const ofInit = readFileSync('/proc/1/limits', 'utf8');
  assert.equal(byName.get('Max stack size'), ['8388608', 'unlimited']);
  assert.equal(byName.get('Max core file size'), ['0', 'unlimited']);
  assert.equal(byName.get('Max open files'), ['1024', '4096']);
  assert.equal(byName.get('Max cpu time'), ['unlimited', 'unlimited']);
  assert.equal(byName.get('Max processes'), /Max processes +(\S+) +(\S+)/.exec(ofInit)!.slice(1));
  assert.equal(byName.get('Max nice priority'), ['0', '0']);
});

check('limits that are asked for are set, or the start fails', async () => {
  const rlimits = [
    { name: 'NOFILE', soft: 100n, hard: 200n },
    { name: 'CORE', soft: 0n, hard: 'infinity' as const },
  ];
  assert.is(await shell('ulimit -Sn; ulimit -Hn', tree({ rlimits })), '100\n200');
  // None is as high as it may be, which some roots may not raise.
  const most = Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'));
  const own = Number(spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).stdout);
  const open = [{ name: 'NOFILE', soft: 'infinity' as const, hard: 'infinity' as const }];
  const [soft, hard] = (await shell('ulimit -Sn; ulimit -Hn', tree({ rlimits: open }))).split('\n').map(Number);
  assert.is(soft, hard);
  assert.ok(hard === most || hard === own, `${hard} is neither ${most} nor ${own}`);
  const impossible = [{ name: 'NOFILE', soft: 5n, hard: 1n << 40n }];
  assert.match(
    await startError({ ...tree({ rlimits: impossible }), command: ['/bin/true'] }),
    /^setting the resource limit NOFILE to 5:1099511627776: [^\n]*\(EPERM\)$/,
  );
});

check("it has its three streams, and no other descriptor of the caller's", async () => {
  const kept = openSync('/etc/passwd', 'r');
  try {
    for (const option of [{}, { asPid2: true }, { shareSystem: true }, { user: 'guest' }]) {
      const { stdout } = await run({ ...tree(option), command: ['/bin/ls', '/proc/self/fd'] });
      assert.is(stdout, '0\n1\n2\n3', `${JSON.stringify(option)}: the last one is the directory`);
    }
    assert.is(await shell('ls /proc/1/fd | wc -l', tree({ asPid2: true })), '0', 'the init has none');
  } finally {
    closeSync(kept);
  }
});

check('standard streams can be any descriptors, also swapped', async () => {
  using directory = temporaryDirectory();
  const [a, b] = ['a', 'b'].map(name => openSync(join(directory.path, name), 'w+')) as [number, number];
  const input = openSync('/etc/hostname', 'r');
  await run({
    ...tree(),
    stdio: [input, b, a],
    command: ['/bin/sh', '-c', 'echo out; echo error >&2; cat >/dev/null'],
  });
  for (const fd of [a, b, input]) closeSync(fd);
  assert.equal(
    ['a', 'b'].map(name => readFileSync(join(directory.path, name), 'utf8')),
    ['error\n', 'out\n'],
  );
});

check('a working directory is changed to inside the container, after becoming the user', async () => {
  assert.is(await shell('pwd', tree({ chdir: '/usr/bin' })), '/usr/bin');
  assert.match(
    await startError({ ...tree({ chdir: '/no' }), command: ['/bin/true'] }),
    /^changing into the directory \/no: [^\n]*\(ENOENT\)$/,
  );
  using copy = copyTree(busyboxTree());
  chmodSync(join(copy.path, 'root'), 0o700);
  const closed = { directory: copy.path, chdir: '/root', user: 'guest', command: ['/bin/true'] };
  assert.match(await startError(closed), /^changing into the directory \/root: [^\n]*\(EACCES\)$/);
});

check("a magic link for a working directory leads to nothing of the host's", async () => {
  for (const path of ['/proc/self/cwd', '/proc/1/root', '/proc/self/root']) {
    assert.match(await shell('ls', tree({ chdir: path })), /^bin\ndev\netc/, path);
  }
  for (let fd = 3; fd < 12; fd++) {
    await startError({ ...tree({ chdir: `/proc/self/fd/${fd}` }), command: ['/bin/true'] });
  }
});

const capabilities = async (options: SpawnOptions) => {
  const lines = (await shell("grep '^Cap' /proc/self/status", tree(options))).split('\n');
  const [inheritable, permitted, effective, bounding, ambient] = lines.map(line => BigInt(`0x${line.split('\t')[1]}`));
  assert.equal([inheritable, permitted, effective, ambient], [0n, bounding, bounding, 0n]);
  return bounding!;
};
/** linux/capability.h */
const [CAP_CHOWN, CAP_NET_ADMIN, CAP_SYS_TIME] = [1n << 0n, 1n << 12n, 1n << 25n];

check(
  'capabilities: the default set, those asked for, NET_ADMIN with a private network, and none that is dropped',
  async () => {
    const normal = await capabilities({});
    assert.is(normal & (CAP_CHOWN | CAP_NET_ADMIN | CAP_SYS_TIME), CAP_CHOWN);
    assert.is(await capabilities({ capabilities: ['CAP_SYS_TIME'] }), normal | CAP_SYS_TIME);
    assert.is(await capabilities({ privateNetwork: true }), normal | CAP_NET_ADMIN);
    assert.is(
      await capabilities({ privateNetwork: true, dropCapabilities: ['CAP_NET_ADMIN', 'CAP_CHOWN'] }),
      normal & ~CAP_CHOWN,
    );
    assert.is(await capabilities({ dropCapabilities: ['all'] }), 0n);
    const own = BigInt(`0x${/^CapBnd:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]}`);
    assert.is(await capabilities({ capabilities: ['all'] }), own);
  },
);

needs([root, busybox, tool('unshare'), tool('setpriv')])('none is inheritable, whatever the caller has', () => {
  const before = 'set -- setpriv --inh-caps=+net_raw,+chown "$@"';
  const words = [
    '-D',
    busyboxTree(),
    '--volatile=overlay',
    '--timezone=off',
    '/bin/grep',
    '^CapInh',
    '/proc/self/status',
  ];
  assert.is(commandLine(before, ...words).stdout, 'CapInh:\t0000000000000000');
});

check('no new privileges, when that is asked for', async () => {
  const flag = (options: SpawnOptions) => shell('grep NoNewPrivs /proc/self/status | cut -f 2', tree(options));
  assert.equal([await flag({}), await flag({ noNewPrivileges: true })], ['0', '1']);
});

check('the system call filter is loaded', async () => {
  assert.is(
    await shell('grep ^Seccomp: /proc/self/status; swapoff /etc/passwd 2>&1; :'),
    'Seccomp:\t2\nswapoff: /etc/passwd: Operation not permitted',
  );
});

check('personality', async () => {
  const machine = process.arch === 'x64' ? ['x86', 'i686'] : ['arm', 'armv8l'];
  assert.is(await shell('uname -m', tree({ personality: machine[0]! })), machine[1]);
});

check('CPUs', async () => {
  const last = availableParallelism() - 1;
  assert.is(
    await shell('grep ^Cpus_allowed_list /proc/self/status | cut -f 2', tree({ cpuAffinity: [last] })),
    String(last),
  );
  assert.match(
    await startError({ ...tree({ cpuAffinity: [8000] }), command: ['/bin/true'] }),
    /^running on the CPUs 8000: [^\n]*\(EINVAL\)$/,
  );
});

check("the OOM score adjustment is the payload's, not nspawn's", async () => {
  const before = readFileSync('/proc/self/oom_score_adj', 'utf8');
  assert.is(await shell('cat /proc/self/oom_score_adj', tree({ oomScoreAdjust: 321 })), '321');
  assert.is(await shell('cat /proc/self/oom_score_adj', tree({ oomScoreAdjust: 321, asPid2: true })), '321');
  assert.is(readFileSync('/proc/self/oom_score_adj', 'utf8'), before);
});

check("a name without a slash is searched in the payload's PATH", async () => {
  using copy = copyTree(busyboxTree());
  for (const [directory, text] of [
    ['first', 'one'],
    ['second', 'two'],
  ]) {
    mkdirSync(join(copy.path, directory!));
    writeFileSync(join(copy.path, directory!, 'which-one'), `#!/bin/sh\necho ${text} $0 $# $1\n`, { mode: 0o755 });
  }
  const where = (path: string, command = ['which-one', 'a b', '']) =>
    run({ directory: copy.path, environment: [`PATH=${path}`], command }).then(({ stdout }) => stdout);
  assert.is(await where('/first:/second'), 'one /first/which-one 2 a b');
  assert.is(await where('/nonexistent:/etc/passwd:/second:/first'), 'two /second/which-one 2 a b');
  assert.is(await where('/nonexistent', ['/first/which-one']), 'one /first/which-one 0');
  assert.is(await where('/nonexistent', ['first/which-one']), 'one first/which-one 0');
  chmodSync(join(copy.path, 'first/which-one'), 0o644);
  assert.is(await where('/first:/second'), 'two /second/which-one 2 a b', 'one that is no program is passed over');
  const error = await startError({ directory: copy.path, environment: ['PATH=/first'], command: ['which-one'] });
  assert.is(error, 'running /first/which-one in the container: Permission denied (EACCES)');
  const none = await startError({ directory: copy.path, environment: ['PATH=/a:/b'], command: ['none'] });
  assert.is(none, 'running none (looked for /a/none, /b/none) in the container: No such file or directory (ENOENT)');
});

check('a script without #! is run by a shell', async () => {
  using copy = copyTree(busyboxTree());
  writeFileSync(join(copy.path, 'script'), 'echo run by $0 with $1\n', { mode: 0o755 });
  assert.is((await run({ directory: copy.path, command: ['/script', 'x'] })).stdout, 'run by /script with x');
});

check('without a command, a login shell is run at home: bash, or else sh', async () => {
  const input = 'echo $0 $PWD';
  assert.is((await run(tree(), { input })).stdout, '-sh /root');
  assert.is((await run(tree({ user: 'guest' }), { input })).stdout, '-sh /home/guest');
  assert.is((await run(tree({ chdir: '/usr' }), { input })).stdout, '-sh /usr');
  using copy = copyTree(busyboxTree());
  writeFileSync(join(copy.path, 'usr/bin/bash'), '#!/bin/sh\nread line; eval "$line"\n', { mode: 0o755 });
  assert.is((await run({ directory: copy.path }, { input })).stdout, '/bin/bash /root');
  for (const name of ['bash', 'sh']) rmSync(join(copy.path, 'usr/bin', name));
  assert.is(
    await startError({ directory: copy.path }),
    'running a shell (looked for /bin/bash, /bin/sh) in the container: No such file or directory (ENOENT)',
  );
});

check('a shell is run although there is no home to change into', async () => {
  using copy = copyTree(busyboxTree());
  rmSync(join(copy.path, 'root'), { recursive: true });
  writeFileSync(join(copy.path, 'root'), '');
  assert.is((await run({ directory: copy.path }, { input: 'pwd' })).stdout, '/');
});

check('an init is searched in its places, and gets the arguments', async () => {
  using copy = copyTree(busyboxTree());
  const say = `#!/bin/sh\necho $0 $@ $$\n`;
  rmSync(join(copy.path, 'sbin'));
  mkdirSync(join(copy.path, 'sbin'));
  mkdirSync(join(copy.path, 'usr/lib/systemd'));
  const boot = async () => (await run({ directory: copy.path, boot: true, command: ['--x', 'y'] })).stdout;
  assert.match(
    await startError({ directory: copy.path, boot: true }),
    'running an init (looked for /usr/lib/systemd/systemd, /lib/systemd/systemd, /sbin/init)',
  );
  writeFileSync(join(copy.path, 'sbin/init'), say, { mode: 0o755 });
  assert.is(await boot(), '/sbin/init --x y 1');
  writeFileSync(join(copy.path, 'usr/lib/systemd/systemd'), say, { mode: 0o755 });
  assert.is(await boot(), '/usr/lib/systemd/systemd --x y 1');
});

/** A tree whose busybox init runs one script, and `atEnd` at the shutdown. */
function bootable(script: string) {
  const copy = copyTree(busyboxTree());
  writeFileSync(join(copy.path, 'etc/inittab'), '::sysinit:/etc/rc\n::shutdown:/bin/echo shut down\n');
  writeFileSync(join(copy.path, 'etc/rc'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return copy;
}

check('a simple init boots, powers off and reboots', async () => {
  using off = bootable('echo booted as $PPID on $(tty); poweroff');
  const ended = await run({ directory: off.path, boot: true, stdio: 'pty' });
  assert.match(ended.stdout, /booted as 1 on \/dev\/console\r\n.*shut down/s);
  assert.is(ended.status, 'power off');
  using again = bootable('reboot -f');
  assert.is((await run({ directory: again.path, boot: true, stdio: 'pty' })).status, 'restart');
});

check('a booted init is asked to shut down by its signal', async () => {
  using copy = bootable('echo up');
  // USR2 powers a busybox init off.
  await using container = await spawn({ directory: copy.path, boot: true, killSignal: 12, stdio: 'pty' });
  await new Promise(resolve => container.stdout!.once('data', resolve));
  assert.ok(container.canTerminate);
  assert.is((await container.terminate()).reboot, 'power off');
});

check('as process 2, the command has an init above it that reaps and ends as it does', async () => {
  const asPid2 = tree({ asPid2: true });
  assert.is(await shell('echo $$ $PPID; cat /proc/1/comm', asPid2), '2 1\nnspawn-init');
  const orphans = '(sleep 0.1 & echo); sleep 0.5; ps -o pid,stat | grep -c Z';
  assert.is((await run({ ...asPid2, command: ['/bin/sh', '-c', orphans] })).stdout.trim(), '0');
  assert.is((await run({ ...asPid2, command: ['/bin/sh', '-c', 'exit 42'] })).status, 42);
  assert.is(
    (await run({ ...asPid2, command: ['/bin/sh', '-c', 'trap "echo asked; exit 3" TERM; kill -TERM 1; sleep 5'] }))
      .stdout,
    'asked',
  );
});

check('a payload that ends at once has started nevertheless', async () => {
  for (let i = 0; i < 20; i++) {
    const { status } = await run({ ...tree(), command: [i % 2 ? 'true' : 'false'] });
    assert.is(status, i % 2 ? 0 : 1);
  }
});

check('statuses and signals of the payload are told', async () => {
  assert.is((await run({ ...tree(), command: ['/bin/sh', '-c', 'exit 255'] })).status, 255);
  assert.is(
    (await run({ ...tree({ shareSystem: true }), command: ['/bin/sh', '-c', 'kill -USR1 $$'] })).status,
    'signal 10',
  );
});

test.run();
