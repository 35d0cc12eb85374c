/** Code that isn't trusted, run by root and by an ordinary user: what it tries, and what comes of it. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type SandboxOptions, sandbox } from '../../src/index.ts';
import { syscallNumber } from '../../syscalls/machine.ts';
import { ordinaryUser, subordinateIds, userNamespaces } from '../rootless/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { programs32, socketMaker } from './program32.ts';
import { type Told, tellSandbox } from './run.ts';

const user = ordinaryUser();
const rich = ordinaryUser({ hasSubordinates: true });

/** Runs it as an ordinary user does, in a process of its own. */
async function asUser(options: SandboxOptions, who = user): Promise<Told> {
  const [bun, script] = ['/mnt/node_modules/.bin/bun', '/mnt/test/sandbox/run.ts'];
  const [program, ...words] = who.as(bun, script, JSON.stringify(options));
  const { stdout, stderr } = spawnSync(program!, words, { cwd: '/', encoding: 'utf8', timeout: 60_000 });
  const told = JSON.parse(stdout || '{"error": ""}') as Told & { error?: string };
  if (told.error !== undefined) throw new Error(`${told.error}${stderr}`);
  return told;
}

const sh = (script: string): string[] => ['sh', '-c', script];
const lines = (text: string): string[] => text.trim().split('\n');

/** Processes of the whole machine that have a variable. */
const processesWith = (variable: string): string[] =>
  readdirSync('/proc').filter(name => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/environ`, 'latin1').includes(variable);
    } catch {
      // It has ended.
      return false;
    }
  });

for (const [name, run, isRoot] of [
  ['root', tellSandbox, true],
  ['an ordinary user', asUser, false],
] as const) {
  const tests = suite(`sandbox() by ${name}`);
  const it = needs([root, busybox, tool('perl'), tool('setpriv'), userNamespaces], tests);

  it('runs a command with what it is given, and tells all of it', async () => {
    const told = await run({
      command: sh('pwd; cat in/a.txt; b; cat; echo "$A $HOME $USER"; uname -n; echo err >&2; exit 7'),
      files: { 'in/a.txt': 'a\n', b: { content: '#!/bin/sh\necho b\n', mode: 0o755 } },
      env: { A: 'a=b', PATH: '/sandbox:/usr/bin' },
      stdin: 'in\n',
    });
    assert.equal(told.stdout, '/sandbox\na\nb\nin\na=b /sandbox sandbox\nsandbox\n');
    assert.equal([told.stderr, told.exitStatus, told.reason], ['err\n', 7, undefined]);
    assert.equal(told.cut, { stdout: false, stderr: false });
    assert.ok(told.duration > 0);
    assert.equal(told.unenforced.includes('memory'), !isRoot);
    assert.equal(told.warnings.length, isRoot ? 0 : 1);
    assert.ok((isRoot ? told.usage!.memoryPeak : told.usage!.processPeak)! > 0);
    assert.ok(told.usage!.cpuTime! > 0);
  });

  it('a program may be one of its files', async () => {
    const { stdout } = await run({
      command: ['/sandbox/bin/tool', 'x'],
      files: { 'bin/tool': { content: '#!/bin/sh\necho "$0 $1"\n', mode: 0o755 } },
    });
    assert.is(stdout, '/sandbox/bin/tool x\n');
  });

  it('sees nothing of the machine but programs', async () => {
    const script = `
      for path in /etc/shadow /etc/hostname /root/* /home/* /var/* /run/* /boot /srv /opt /mnt /sys/class /dev/sda /dev/vda; do
        [ -e "$path" ] && echo "sees $path"; done
      cat /proc/cmdline /proc/keys && echo knows; ls /sys && echo sees sys
      ls /proc | grep -c '^[0-9]'; ls /proc/self/fd; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; cat /proc/net/dev | wc -l
      awk 'BEGIN { print "awk" }'`;
    const { stdout } = await run({ command: sh(script) });
    const [processes, ...rest] = lines(stdout);
    assert.ok(Number(processes) <= 3, processes);
    // What ls reads is the fourth.
    assert.equal(rest, ['0', '1', '2', '3', 'HOME LOGNAME PATH PWD USER container ', '3', 'awk']);
  });

  it('has no rights, and comes to none', async () => {
    const status = await run({ command: ['cat', '/proc/self/status'] });
    assert.match(status.stdout, /^CapPrm:\t0+\nCapEff:\t0+\nCapBnd:\t0+\nCapAmb:\t0+\nNoNewPrivs:\t1\nSeccomp:\t2$/m);
    const calls = ['ptrace', 'mount', 'setns', 'io_uring_setup', 'bpf', 'keyctl', 'userfaultfd', 'perf_event_open'];
    const numbers = calls.map(call => `${syscallNumber(call)}`).join(' ');
    const script = `
      for number in ${numbers}; do perl -e 'syscall($ARGV[0], 0, 0, 0, 0, 0) < 0 or print "can do $ARGV[0]\\n"' $number; done
      unshare -U true || unshare -m true || mount -t tmpfs none /tmp || echo no namespaces
      perl -e 'syscall(${syscallNumber('clone')}, 0x10000000 | 17, 0, 0, 0, 0) >= 0 and print "clones $$\\n"; print "$!\\n"'
      kill -9 ${process.pid} || kill -9 ${process.ppid} || echo nobody outside
      perl -e 'open(T, "+<", "/dev/tty") and print "a terminal"; ioctl(STDIN, 0x5412, "x") and print "typed\\n"'
      mknod /tmp/node b 7 0 || chroot / true || echo no devices
      kill -9 1; echo still there`;
    const { stdout, exitStatus } = await run({ command: sh(script) });
    assert.equal(lines(stdout), [
      'no namespaces',
      'No space left on device',
      'nobody outside',
      'no devices',
      'still there',
    ]);
    assert.is(exitStatus, 0);
  });

  it('makes only sockets that its network namespace confines', async () => {
    const [socket, socketpair] = ['socket', 'socketpair'].map(call => `${syscallNumber(call)}`);
    // AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK; then all others, which the kernel would refuse with EPERM or make. The
    // kernel drops the upper half of a family.
    const script = `
      my $pair = "\\0" x 8;
      sub try { my ($family, $type, $protocol) = @_; syscall(${socket}, $family, $type, $protocol) < 0 ? $! + 0 : "made" }
      print join(" ", try(1, 1, 0), try(2, 1, 0), try(10, 2, 0), try(16, 3, 0), try(16, 3, 9), try(1 << 32 | 1, 1, 0)), "\\n";
      print syscall(${socketpair}, 1, 1, 0, $pair) < 0 ? $! + 0 : "made", "\\n";
      for my $family (grep { $_ != 1 && $_ != 2 && $_ != 10 && $_ != 16 } 0 .. 64) {
        for my $type (1, 2, 3, 5) { $told{try($family, $type, 0)} = $told{try(1 << 32 | $family, $type, 0)} = 1 }
        $told{syscall(${socketpair}, $family, 1, 0, $pair) < 0 ? $! + 0 : "made"} = 1;
      }
      print join(" ", keys %told), "\\n"`;
    const { stdout } = await run({ command: ['perl', '-e', script] });
    assert.equal(lines(stdout), ['made made made made 97 made', 'made', '97']);
  });

  needs([root, busybox, userNamespaces, programs32], tests)('32-bit programs of x86 make no others', async () => {
    // socket(2), and socketcall(2), for AF_UNIX and AF_VSOCK.
    const files: Record<string, string> = {};
    for (const family of [1, 40]) {
      for (const [name, number] of [['socket', 359] as const, ['socketcall', 102] as const]) {
        files[`${name}-${family}`] = Buffer.from(socketMaker(number, family, 1)).toString('base64');
      }
    }
    const script = Object.keys(files).map(
      name => `base64 -d ${name} >program && chmod +x program && ./program; echo ${name} $?; rm program`,
    );
    const { stdout } = await run({ command: sh(script.join('\n')), files });
    assert.equal(lines(stdout), ['socket-1 0', 'socketcall-1 97', 'socket-40 97', 'socketcall-40 97']);
  });

  it('writes only to what goes with it, and only so much', async () => {
    const script = `
      for place in . /tmp /dev/shm /dev /run /; do head -c 5M /dev/zero > $place/big; stat -c %s $place/big; done 2>/dev/null
      i=0; while [ $i -lt 3000 ]; do true > /tmp/$i || break; i=$((i+1)); done 2>/dev/null; [ $i -lt 3000 ] && echo bounded
      touch /usr/made /etc/alternatives/made 2>/dev/null; true`;
    const { stdout } = await run({ command: sh(script), diskSize: '1M' });
    const sizes = lines(stdout);
    assert.is(sizes.pop(), 'bounded');
    assert.ok(sizes.length >= 3, stdout);
    for (const size of sizes) assert.ok(Number(size) <= 1 << 20, size);
    assert.not.ok(existsSync('/usr/made'));
  });

  it('a fork bomb ends with its time, and nothing is left', async () => {
    const mark = `MARK${crypto.randomUUID().replaceAll('-', '')}`;
    // The first process forks only once: it would end if it couldn't.
    const command = sh('b() { b | b & }; (b); while :; do :; done');
    const told = await run({ command, env: { [mark]: '' }, tasks: 32, timeout: 1500 });
    assert.equal([told.signal, told.reason], [9, 'timeout']);
    if (isRoot) assert.ok(told.usage!.tasksPeak! <= 32);
    assert.equal(processesWith(mark), []);
  });

  it('there are no more tasks than allowed', async () => {
    const command = [
      'perl',
      '-e',
      'while (defined($pid = fork)) { $pid or sleep 100; $n++ } print "$n\\n"; kill 9, -1',
    ];
    const { stdout } = await run({ command, tasks: 20 });
    assert.ok(Number(stdout) >= 17 && Number(stdout) <= 20, stdout);
  });

  it('who eats memory is stopped', async () => {
    const command = ['perl', '-e', '$x .= "x" x 1000000 while length($x) < 1000000000; print "ate it all"'];
    const told = await run({ command, memory: '64M' });
    assert.is(told.stdout, '');
    assert.is.not(told.exitStatus, 0);
    if (isRoot) assert.is(told.reason, 'out of memory');
    else assert.ok(told.unenforced.includes('memory'));
  });

  it('output without an end is cut, and costs nothing more', async () => {
    const told = await run({ command: ['yes'], outputSize: 1000 });
    assert.equal([told.stdout, told.cut], ['y\n'.repeat(500), { stdout: true, stderr: false }]);
    assert.is(told.reason, undefined);
    const error = await run({ command: sh('yes >&2'), outputSize: 10 });
    assert.equal([error.stderr.length, error.cut], [10, { stdout: false, stderr: true }]);
  });

  it('its time is over, whatever it makes of signals', async () => {
    const told = await run({
      command: sh('trap "echo asked" TERM INT; echo a; while :; do sleep 0.1; done'),
      timeout: 500,
    });
    assert.equal([told.stdout, told.signal, told.reason], ['a\n', 9, 'timeout']);
  });

  it('a tree is never written to; binds are read-only', async () => {
    const before = readdirSync(user.tree).sort();
    using shown = temporaryDirectory();
    spawnSync('chmod', ['755', shown.path]);
    mkdirSync(join(shown.path, 'data'));
    writeFileSync(join(shown.path, 'data/file'), 'shown\n');
    const script =
      'cat /sandbox/x/data/file; echo y > /sandbox/x/data/y; touch /etc/made /made; touch /tmp/made made && cat in; ls -d /usr/bin/perl';
    const { stdout } = await run({
      command: ['/bin/sh', '-c', script],
      directory: user.tree,
      readOnlyBinds: [{ source: shown.path, destination: '/sandbox/x' }],
      files: { in: 'in\n' },
    });
    assert.equal(lines(stdout), ['shown', 'in']);
    assert.equal(readdirSync(user.tree).sort(), before);
    assert.equal(readdirSync(join(shown.path, 'data')), ['file']);
  });

  it('what can’t be is refused', async () => {
    const refusal = async (options: object) => await run({ command: ['true'], ...options }).then(String, String);
    assert.match(await refusal({ command: [] }), /UsageError: command takes/);
    for (const path of ['../x', '/x', 'a//b', '']) {
      assert.match(await refusal({ files: { [path]: '' } }), /UsageError: files has ".*", which is no name/);
    }
    assert.match(await refusal({ env: { 'A=B': '' } }), /UsageError: env has "A=B", which is no name/);
    assert.match(await refusal({ outputSize: -1 }), /UsageError: outputSize takes a number of bytes, not -1/);
    assert.match(await refusal({ network: true }), /UsageError: sandbox has no option network/);
    assert.match(await refusal({ command: ['/no/such'] }), /it has no \/no\/such/);
    if (!isRoot) assert.match(await refusal({ requireLimits: true }), /LimitError: setting limits/);
  });

  if (isRoot) {
    it('an AbortSignal ends it at once', async () => {
      const told = await tellSandbox({ command: ['sleep', '100'], signal: AbortSignal.timeout(300) });
      assert.equal([told.signal, told.reason], [9, 'aborted']);
      const aborted = await sandbox({ command: ['true'], signal: AbortSignal.abort(new Error('no more')) }).catch(
        String,
      );
      assert.is(aborted, 'Error: no more');
    });

    it('the example of the README runs', () => {
      const checkout = join(import.meta.dirname, '../..');
      const [example, readme] = ['examples/sandbox.ts', 'README.md'].map(name =>
        readFileSync(join(checkout, name), 'utf8'),
      );
      assert.ok(readme!.includes(example!.slice(example!.indexOf('import '))));
      const { stdout } = spawnSync(process.execPath, ['examples/sandbox.ts'], { cwd: checkout, encoding: 'utf8' });
      assert.is(stdout, '20 + 22 = 42\nexit status 0\n');
    });

    it('many at a time have ids of their own', async () => {
      const all = await Promise.all([1, 2, 3, 4].map(() => tellSandbox({ command: ['cat', '/proc/self/uid_map'] })));
      const bases = all.map(({ stdout }) => stdout.trim().split(/\s+/)[1]);
      assert.is(new Set(bases).size, 4);
      assert.not.ok(bases.includes('0'));
      assert.is.not((await tellSandbox({ command: ['uname', '-n'] })).stdout.trim(), hostname());
    });
  } else {
    needs([root, tool('newuidmap'), userNamespaces, subordinateIds], tests)(
      'with subordinate ids it is not even root there',
      async () => {
        const { stdout } = await asUser({ command: ['id', '-u'] }, rich);
        assert.is(stdout, '1000\n');
        assert.is((await asUser({ command: ['id', '-u'] })).stdout, '0\n');
      },
    );
    tests.after(() => {
      user[Symbol.dispose]();
      rich[Symbol.dispose]();
    });
  }
  tests.run();
}
