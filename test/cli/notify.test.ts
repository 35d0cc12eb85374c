/** What the service manager learns: sd_notify(3). */
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AF, SOCK } from '../../syscalls/constants.ts';
import { owned } from '../../syscalls/fd.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { readText } from '../agent/support.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { nspawn, shell, startNspawn } from './support.ts';

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
