/** Many containers of one program, at a time and one after another. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../src/index.ts';
import { textOf } from '../console/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { shell } from './support.ts';

const it = needs([root, busybox]);
const FIFTY = Array.from({ length: 50 }, (_, i) => i);

it('fifty at a time, each with its own name, streams and status', async () => {
  const containers = await Promise.all(
    FIFTY.map(i => spawn(shell('read line; echo "$(hostname) got $line"; exit $line', { machine: `box${i}` }))),
  );
  assert.is(new Set(containers.map(({ pid }) => pid)).size, 50);
  // In another order than they were started in.
  for (const i of FIFTY) containers[(i * 7) % 50]!.stdin!.end(`${(i * 7) % 50}\n`);
  const results = await Promise.all(
    containers.map(async ({ stdout, exited }) => [await textOf(stdout!), (await exited).exitStatus]),
  );
  assert.equal(
    results,
    FIFTY.map(i => [`box${i} got ${i}\n`, i]),
  );
});

it('fifty at a time on terminals', async () => {
  const containers = await Promise.all(FIFTY.map(i => spawn(shell(`tty; exit ${i}`, { stdio: 'pty' }))));
  const results = await Promise.all(
    containers.map(async ({ stdout, exited }) => [await textOf(stdout!), (await exited).exitStatus]),
  );
  assert.equal(
    results,
    FIFTY.map(i => ['/dev/console\r\n', i]),
  );
});

it('while some run others are started, end, or fail to start', async () => {
  const waiting = await Promise.all(FIFTY.slice(0, 20).map(() => spawn(shell('read line; exit $line'))));
  const inBetween = FIFTY.map(async i => {
    if (i % 5 === 0) {
      const failed = await spawn(shell('', { command: ['no-such-program'] })).catch((error: Error) => error.message);
      assert.match(String(failed), 'no-such-program');
      return i;
    }
    await using container = await spawn(shell(`echo ${i}; exit ${i}`));
    assert.is(await textOf(container.stdout!), `${i}\n`);
    return (await container.exited).exitStatus;
  });
  assert.equal(await Promise.all(inBetween), FIFTY);
  for (const [i, container] of waiting.entries()) container.stdin!.end(`${i}\n`);
  const statuses = await Promise.all(waiting.map(async ({ exited }) => (await exited).exitStatus));
  assert.equal(statuses, FIFTY.slice(0, 20));
});

it('fifty that are killed at once', async () => {
  const containers = await Promise.all(FIFTY.map(() => spawn(shell('sleep 1000 & sleep 1000'))));
  for (const container of containers) container.kill();
  for (const { exited } of containers) assert.equal(await exited, { signal: 9 });
});

test.run();
