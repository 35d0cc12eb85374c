/** What the service manager learns of nspawn, and of what the container says: sd_notify(3). */
import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseNotification } from '../../src/container/notifications.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { AF, MSG, SOCK } from '../../syscalls/constants.ts';
import { owned } from '../../syscalls/fd.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { readText } from '../agent/support.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, debian, debianTree } from '../support/tree.ts';
import { nspawn, onBusybox, shell, startNspawn } from './support.ts';

const it = needs([root, busybox]);

/** A socket such as the service manager has. */
function listenAt(name: string) {
  const socket = owned(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
  const address = Buffer.concat([Buffer.from([AF.UNIX, 0]), Buffer.from(name.replace(/^@/, '\0'))]);
  syscall('bind', socket.fd, address, address.length);
  return socket;
}

it('that the container runs, and that it ends', async () => {
  using directory = temporaryDirectory();
  for (const name of [join(directory.path, 'notify'), `@nspawn-test-${process.pid}`]) {
    using socket = listenAt(name);
    const running = startNspawn(shell('read line', '-q', '-P'), { env: { NOTIFY_SOCKET: name } });
    assert.match(readText(socket.fd), /^READY=1\nSTATUS=Container running\.\nX_NSPAWN_LEADER_PID=\d+$/);
    running.child.stdin!.end('\n');
    assert.equal(await running.outcome, { status: 0, stdout: '', stderr: '' });
    assert.is(readText(socket.fd), 'STOPPING=1\nSTATUS=Terminating...');
  }
});

/** All that has arrived. */
function heardAt(socket: number): string[] {
  const bytes = new Uint8Array(65536);
  const receive = allowing(call('recvfrom', socket, { out: bytes }, bytes.length, MSG.DONTWAIT, null, null), 'EAGAIN');
  const heard: string[] = [];
  for (let length = perform(receive); length >= 0; length = perform(receive)) {
    heard.push(
      Buffer.from(bytes.subarray(0, length))
        .toString()
        .replace(/PID=\d+$/, 'PID=…'),
    );
  }
  return heard;
}

/** Runs nspawn to its end; `heard` is what its service manager was told. */
async function notified(args: readonly string[]) {
  using directory = temporaryDirectory();
  const name = join(directory.path, 'notify');
  using socket = listenAt(name);
  const outcome = await nspawn(args, { env: { NOTIFY_SOCKET: name } });
  return { ...outcome, heard: heardAt(socket.fd) };
}

/** The words for a shell script in which `say MESSAGE` tells something from another process, and `exec say` its own. */
function saying(script: string, ...options: string[]) {
  const send =
    'socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, $_, 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $! for @ARGV';
  return [
    ...['-D', debianTree(), '--volatile=overlay', '--machine=said', '-q', '-P', ...options],
    ...['--', '/bin/sh', '-c', `say="perl -MSocket -e"; send='${send}'; ${script}`],
  ];
}

const RUNNING = 'STATUS=Container running.\nX_NSPAWN_LEADER_PID=…';
const READY = `READY=1\n${RUNNING}`;
const END = 'STOPPING=1\nSTATUS=Terminating...';
const inDebian = needs([root, debian]);

for (const options of [[], ['--as-pid2'], ['--share-system'], ['--user=nobody']]) {
  inDebian(`that a payload is ready when it says so, and how it does (${options.join(' ') || 'plain'})`, async () => {
    const script = "exec $say \"$send\" FOO=1 READY=1 'STATUS=half\nSTATUS=whole' 'ERRNO=2\nEXIT_STATUS=3\nMAINPID=1'";
    const { status, stderr, heard } = await notified(saying(script, '--notify-ready=yes', ...options));
    assert.equal([status, stderr], [0, '']);
    assert.equal(heard, [RUNNING, 'READY=1', 'STATUS=Container running: half', END]);
  });
}

inDebian('that it is ready at once, without --notify-ready; and what a payload says all the same', async () => {
  const { heard } = await notified(saying('exec $say "$send" STATUS=busy', '--notify-ready=no'));
  assert.equal(heard, [READY, 'STATUS=Container running: busy', END]);
});

for (const mode of ['--as-pid2', '--notify-ready=yes']) {
  inDebian(`not what other processes in the container say (${mode})`, async () => {
    const script = '$say "$send" READY=1 STATUS=lie; echo $?; exec $say "$send" STATUS=truth';
    const { stdout, heard } = await notified(saying(script, '--notify-ready=yes', mode));
    assert.is(stdout, '0\n');
    assert.equal(heard, [RUNNING, 'STATUS=Container running: truth', END]);
  });
}

inDebian('no message of more than 4096 bytes', async () => {
  const script = `exec $say "$send" STATUS=$(printf %04089d 0) STATUS=$(printf %04090d 0)`;
  const { stderr, heard } = await notified(saying(script));
  assert.equal(heard, [READY, `STATUS=Container running: ${'0'.repeat(4089)}`, END]);
  assert.is(stderr, 'ignoring a notification of the payload: it has more than 4096 bytes\n');
});

it('the socket is where systemd-nspawn has it, for everyone, and only where somebody listens', async () => {
  const look = shell('echo "$NOTIFY_SOCKET"; stat -c %A "$NOTIFY_SOCKET" /run/host', '-q', '-P');
  assert.is((await notified(look)).stdout, '/run/host/notify\nsrwxrwxrwx\ndrwxr-xr-x\n');
  assert.is((await nspawn(shell('env | grep NOTIFY; ls /run', '-q', '-P'))).stdout, '');
  const ready = await nspawn(shell('echo "$NOTIFY_SOCKET"', '-q', '-P', '--notify-ready=yes'));
  assert.is(ready.stdout, '/run/host/notify\n');
});

it('a symlink in the place of the socket leads nowhere', async () => {
  using run = temporaryDirectory();
  using elsewhere = temporaryDirectory();
  symlinkSync(elsewhere.path, join(run.path, 'host'));
  const bound = [...onBusybox(), '-q', '-P', `--bind=${run.path}:/run`, '--', '/bin/true'];
  const { status, stderr } = await notified(bound);
  assert.is(status, 0);
  assert.match(stderr, /^making the socket \/run\/host\/notify: .*No such file or directory/);
  rmSync(join(run.path, 'host'));
  assert.match((await nspawn(['--notify-ready=yes', ...bound])).stderr, /^$/);
  writeFileSync(join(run.path, 'note'), '');
  rmSync(join(run.path, 'host'), { recursive: true });
  symlinkSync('/proc/self/cwd', join(run.path, 'host'));
  const refused = await nspawn(['--notify-ready=yes', ...bound]);
  assert.is(refused.status, 1);
  assert.match(refused.stderr, /^making the socket \/run\/host\/notify: .*\(ELOOP\)/);
});

it('a restart inside is no end; one of the unit is told as such', async () => {
  using state = temporaryDirectory();
  const script = 'test -e /home/twice && exit 4; test -e /home/once && touch /home/twice; touch /home/once; reboot -f';
  const args = shell(script, '-q', '-P', `--bind=${state.path}:/home`);
  const { status, heard } = await notified(args);
  assert.equal([status, heard], [4, [READY, READY, READY, END]]);
  rmSync(join(state.path, 'twice'));
  const unit = await notified(['--register=no', '--keep-unit', ...args]);
  assert.equal([unit.status, unit.heard], [133, [READY, 'STOPPING=1\nSTATUS=Restarting...']]);
});

inDebian('that a system has booted', async () => {
  using directory = temporaryDirectory();
  const name = join(directory.path, 'notify');
  using socket = listenAt(name);
  const args = ['-q', '-b', '-D', debianTree(), '--volatile=overlay', '--machine=said', '--notify-ready=yes'];
  const running = startNspawn(args, { env: { NOTIFY_SOCKET: name } });
  assert.match(readText(socket.fd), /^STATUS=Container running\.\nX_NSPAWN_LEADER_PID=\d+$/);
  assert.is(readText(socket.fd), 'READY=1');
  await running.until('multi-user.target');
  running.child.kill('SIGTERM');
  assert.is((await running.outcome).status, 0);
  assert.is(heardAt(socket.fd).at(-1), END);
});

test('what is passed on of a message', () => {
  assert.equal(parseNotification('READY=1'), { ready: true });
  assert.equal(parseNotification('A=1\rREADY=1\nSTATUS='), { ready: true, status: '' });
  assert.equal(parseNotification('STATUS=a\tb\x1b[31m\x9b'), { ready: false, status: 'a b [31m ' });
  for (const nothing of ['', 'READY=0', 'READY=1 ', ' READY=1', 'XSTATUS=1', 'STOPPING=1', 'MAINPID=1']) {
    assert.is(parseNotification(nothing), undefined, nothing);
  }
});

it('a manager that does not listen is a warning', async () => {
  for (const [name, why] of [
    ['/no/such/socket', 'No such file or directory'],
    ['relative', 'it is neither a path nor an abstract name'],
  ] as const) {
    const { status, stderr } = await nspawn(shell('exit 3', '-q', '-P'), { env: { NOTIFY_SOCKET: name } });
    assert.is(status, 3);
    assert.match(stderr, new RegExp(`^(notifying the service manager at "${name}": .*${why}.*\n)+$`));
  }
});

test.run();
