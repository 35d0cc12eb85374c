/** What a payload must not inherit from the runtime that nspawn is written for, or from nspawn's caller. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { F, O } from '../../syscalls/constants.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { openPty } from '../../syscalls/tty.ts';
import { eventually, pipe, socketPair, textOf } from '../console/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { endOf, NSPAWN, nspawn, onBusybox, shell } from './support.ts';

const it = needs([root, busybox]);

for (const mode of ['--console=read-only', '--console=pipe', '-aP']) {
  it(`no signal is ignored or blocked, also if it was for nspawn (${mode})`, async () => {
    // Of all signals a caller can leave ignored, CHLD is the one that would cost us the exit status.
    const command = ['sh', '-c', `trap '' HUP INT QUIT CHLD TERM; exec "$@"`, 'sh', ...NSPAWN];
    const show = [...onBusybox(), '-q', mode, '--', '/bin/grep', '-E', '^Sig(Blk|Ign|Cgt)|^Shd', '/proc/self/status'];
    for (const ended of [await nspawn(show), await nspawn(show, { command })]) {
      const lines = ended.stdout.trim().split(/\r?\n/);
      assert.equal(
        lines,
        ['ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt'].map(name => `${name}:\t0000000000000000`),
      );
      assert.is(ended.status, 0);
    }
  });
}

it('the exit status is known also to a caller that ignores SIGCHLD', async () => {
  const command = ['sh', '-c', `trap '' CHLD; exec "$@"`, 'sh', ...NSPAWN];
  for (let i = 0; i < 5; i++) {
    assert.equal(await nspawn(shell('exit 7', '-qP'), { command }), { status: 7, stdout: '', stderr: '' });
  }
});

it('the limit of open files is 1024, not what the runtime raises it to', async () => {
  assert.is((await nspawn(shell('ulimit -Sn', '-qP'))).stdout, '1024\n');
});

it('the payload has its three standard streams, and no other descriptor', async () => {
  for (const mode of ['-P', '--console=read-only']) {
    // The fourth is of the directory that ls reads.
    assert.is(
      (await nspawn(shell('exec ls -1 /proc/self/fd', '-q', mode))).stdout.replaceAll('\r', ''),
      '0\n1\n2\n3\n',
    );
  }
});

const isNonBlocking = (fd: number) => (syscall('fcntl', fd, F.GETFL) & O.NONBLOCK) !== 0;

const KINDS: Record<string, () => { theirs: number; close(): void }> = {
  pipe() {
    const { read, write } = pipe();
    return { theirs: write, close: () => [read, write].forEach(closeFd) };
  },
  socket() {
    const [ours, theirs] = socketPair();
    return { theirs, close: () => [ours, theirs].forEach(closeFd) };
  },
  terminal() {
    const { master, slave } = openPty();
    return { theirs: slave.fd, close: () => [master.fd, slave.fd].forEach(closeFd) };
  },
};

for (const [kind, open] of Object.entries(KINDS)) {
  for (const mode of ['pipe', 'read-only', 'interactive']) {
    it(`a ${kind} that the caller shares stays blocking, before, during and after (--console=${mode})`, async () => {
      const stream = open();
      const input = pipe();
      const run = [...NSPAWN, ...shell('read line', '-q', `--console=${mode}`)];
      const child = spawn(run[0]!, run.slice(1), { stdio: [input.read, stream.theirs, stream.theirs] });
      try {
        let looks = 0;
        await eventually('it was looked at for a while', () => {
          for (const fd of [input.read, stream.theirs]) assert.not(isNonBlocking(fd), `look ${looks}`);
          return ++looks === 30;
        });
        assert.is(endOf(child), 'running');
        child.kill('SIGTERM');
        await once(child, 'exit');
        for (const fd of [input.read, stream.theirs]) assert.not(isNonBlocking(fd), 'at the end');
      } finally {
        stream.close();
        closeFd(input.read);
        closeFd(input.write);
      }
    });
  }
}

it('a payload gets blocking pipes also from a caller with non-blocking ones, who keeps his', async () => {
  const { read, write } = pipe();
  const run = [...NSPAWN, ...shell('cat /proc/self/fdinfo/0; cat', '-qP')];
  const child = spawn(run[0]!, run.slice(1), { stdio: [read, 'pipe', 'inherit'] });
  // Now, for spawn makes it blocking.
  syscall('fcntl', read, F.SETFL, O.NONBLOCK);
  const output = textOf(child.stdout!);
  syscall('write', write, Buffer.from('words\n'), 6);
  closeFd(write);
  const text = await output;
  const flags = Number.parseInt(/^flags:\t(\d+)$/m.exec(text)![1]!, 8);
  assert.is(flags & O.NONBLOCK, 0);
  assert.match(text, /\nwords\n$/);
  assert.ok(isNonBlocking(read));
  closeFd(read);
});

test.run();
