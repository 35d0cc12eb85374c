/** Containers with a filter of their own: --system-call-filter= and --suppress-sync=. */
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { run, startError, unchanging } from '../container/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree, debian, debianTree } from '../support/tree.ts';
import { main, ours, same, theirs } from './support.ts';

const check = needs([root, busybox]);
const beside = needs([root, debian, tool('systemd-nspawn')]);

const LISTS: [words: string[], script: string][] = [
  [['--system-call-filter='], 'swapon /no; ls / | head -n 2'],
  [['--system-call-filter=~mkdir mkdirat', '--system-call-filter=mkdir'], 'mkdir /x; echo $?'],
  [['--system-call-filter=~@chown', '--no-new-privileges=yes'], 'chown 1 /proc/self/status; id -u'],
  [['--system-call-filter=~sethostname', '--as-pid2'], 'hostname x; echo $?; echo $$'],
  [['--system-call-filter=@keyring nosuch'], 'echo'],
  [
    ['--suppress-sync=yes'],
    'dd if=/dev/zero of=/x count=1 conv=fsync 2>/dev/null; echo $?; sync; echo $?; sync /x; echo $?',
  ],
  [
    ['--suppress-sync=yes'],
    'dd if=/dev/zero of=/x count=1 oflag=sync 2>&1; dd if=/dev/zero of=/x count=1 oflag=dsync 2>&1',
  ],
  [['--suppress-sync=yes', '--system-call-filter=~@sync'], 'sync; echo $?'],
  [['--suppress-sync=no'], 'dd if=/dev/zero of=/x count=1 oflag=sync 2>/dev/null; echo $?'],
];
for (const [words, script] of LISTS) {
  beside(`a payload sees the same with ${words.join(' ')}`, () => {
    assert.ok(same(words, `export LC_ALL=C; exec 2>&1; ${script}`).length > 0);
  });
}

check('names that nobody knows are a warning', async () => {
  const lists = { allow: ['@clok', 'read'], deny: ['swpoff'] };
  const { log, status } = await run({
    ...unchanging(busyboxTree()),
    systemCallFilter: lists,
    command: ['/bin/true'],
  });
  assert.is(status, 0);
  const lines = log.filter(line => line.includes('system-call-filter'));
  assert.equal(lines, [
    'warn: ignoring @clok in --system-call-filter=: there is no such group',
    'warn: ignoring swpoff in --system-call-filter=: there is no such system call',
  ]);
});

check('what nspawn itself needs is refused before anything is touched', async () => {
  const command = ['/bin/true'];
  const options = { directory: '/', command, volatile: 'overlay' as const, systemCallFilter: { deny: ['@setuid'] } };
  const line = '--system-call-filter= forbids setgroups, without which no payload can be started';
  assert.is(await startError(options), line);
  const { stderr, status } = ours('-D', '/', '--volatile=overlay', '--system-call-filter=~setresgid', '--dry-run');
  assert.is(status, 1);
  assert.match(stderr, /forbids setresgid/);
});

check('init and payload of --as-pid2 have the filter', async () => {
  const command = ['/bin/sh', '-c', 'grep ^Seccomp: /proc/1/status /proc/self/status; mkdir /x'];
  const { stdout, stderr } = await run({
    ...unchanging(busyboxTree()),
    asPid2: true,
    systemCallFilter: { deny: ['mkdir', 'mkdirat'] },
    command,
  });
  assert.is(stdout, '/proc/1/status:Seccomp:\t2\n/proc/self/status:Seccomp:\t2');
  assert.match(stderr, /Operation not permitted/);
});

needs([root, busybox, tool('strace')])('other containers load nothing of it, nor of credentials', () => {
  using directory = temporaryDirectory();
  const trace = join(directory.path, 'trace');
  const strace = ['--follow-forks', '--trace=openat', `--output=${trace}`, process.execPath, main];
  execFileSync('strace', [...strace, '-q', '-P', '-D', busyboxTree(), '--volatile=overlay', '--', '/bin/true']);
  const loaded = readFileSync(trace, 'utf8').match(/"[^"]+\.ts"/g)!;
  assert.ok(loaded.some(path => path.endsWith('/seccomp/nspawn-program.ts"')));
  const others = loaded.filter(path => path.includes('/seccomp/') && !path.endsWith('/nspawn-program.ts"'));
  const unwanted = /(plan\/system-call-filter|container\/credentials|options\/types|syscall-groups|i386|x32)\.ts"$/;
  assert.equal([...others, ...loaded.filter(path => unwanted.test(path))], []);
});

beside('an OS boots with the list of calls as it does with systemd-nspawn, and without sync', () => {
  using tree = copyTree(debianTree());
  const unit = [
    '[Unit]',
    'After=multi-user.target',
    'SuccessAction=poweroff-force',
    'FailureAction=poweroff-force',
    '[Service]',
    'Type=oneshot',
    'StandardOutput=file:/out',
    `ExecStart=/bin/sh -c 'systemctl --failed --plain --no-legend; systemctl is-active multi-user.target; grep ^Seccomp: /proc/1/status'`,
  ];
  writeFileSync(join(tree.path, 'etc/systemd/system/probe.service'), `${unit.join('\n')}\n`);
  const words = [
    '-D',
    tree.path,
    '-b',
    '--system-call-filter=',
    '--suppress-sync=yes',
    '--',
    'systemd.wants=probe.service',
  ];
  for (const boot of [ours, theirs]) {
    boot(...words, 'systemd.unit=multi-user.target');
    const out = readFileSync(join(tree.path, 'out'), 'utf8');
    rmSync(join(tree.path, 'out'));
    assert.is(out, 'active\nSeccomp:\t2\n');
  }
});

test.run();
