/** Containers whose time is limited. */
import { once } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../src/index.ts';
import { nspawn, shell as words } from '../cli/support.ts';
import { textOf } from '../console/support.ts';
import { shell } from '../library/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';

const it = needs([root, busybox]);

it('a payload that does not notice SIGTERM is killed at once', async () => {
  await using container = await spawn(shell('exec sleep 1000', { timeout: 100 }));
  assert.equal(await container.exited, { signal: 9, reason: 'timeout' });
});

it('one that does may tidy up', async () => {
  await using container = await spawn(
    shell('trap "echo bye; exit 3" TERM; while :; do sleep 0.1; done', { timeout: 300 }),
  );
  const [output, ended] = await Promise.all([textOf(container.stdout!), container.exited]);
  assert.equal([output, ended], ['bye\n', { exitStatus: 3, reason: 'timeout' }]);
});

it('below the init of --as-pid2 it is ended by SIGTERM', async () => {
  const { status, stderr } = await nspawn(words('exec sleep 1000', '-qa', '--timeout=200ms'));
  assert.equal([status, stderr], [124, 'Container box was stopped: its time was over.\n']);
});

it('below the init of --as-pid2 it may tidy up as well', async () => {
  const script = 'trap "echo bye; exit 3" TERM; while :; do sleep 0.1; done';
  await using container = await spawn(shell(script, { timeout: 300, asPid2: true }));
  const [output, ended] = await Promise.all([textOf(container.stdout!), container.exited]);
  assert.equal([output, ended], ['bye\n', { exitStatus: 3, reason: 'timeout' }]);
});

it('one that notices, and goes on, is killed ten seconds later', async () => {
  await using container = await spawn(shell('trap "echo no" TERM; while :; do sleep 0.1; done', { timeout: 300 }));
  const [output, ended] = await Promise.all([textOf(container.stdout!), container.exited]);
  assert.equal([output, ended], ['no\n', { signal: 9, reason: 'timeout' }]);
});

it('one that ends in time is not disturbed, and nothing waits for the time', async () => {
  assert.equal(await nspawn(words('echo done; exit 5', '-q', '--timeout=1h')), {
    status: 5,
    stdout: 'done\r\n',
    stderr: '',
  });
  await using container = await spawn(shell('exit 0', { timeout: 2 ** 33 }));
  assert.equal(await container.exited, { exitStatus: 0 });
});

it('the exit status of the command is 124, whatever the payload makes of it', async () => {
  const { status } = await nspawn(words('trap "exit 0" TERM; while :; do sleep 0.1; done', '-q', '--timeout=300ms'));
  assert.is(status, 124);
});

it('a restarted container has what is left of the time', async () => {
  // reboot(2) as busybox's init does it.
  const { status } = await nspawn(words('sleep 0.3; reboot -f', '-q', '--timeout=1s'));
  assert.is(status, 124);
});

it('an AbortSignal ends it as well', async () => {
  const controller = new AbortController();
  await using container = await spawn(shell('echo ready; exec sleep 1000', { signal: controller.signal }));
  await once(container.stdout!, 'data');
  controller.abort();
  assert.equal(await container.exited, { signal: 9, reason: 'aborted' });
});

it('a signal that was aborted before starts nothing', async () => {
  const reason = new Error('enough');
  try {
    await spawn(shell('echo started', { signal: AbortSignal.abort(reason) }));
    assert.unreachable();
  } catch (error) {
    assert.is(error, reason);
  }
});

test.run();
