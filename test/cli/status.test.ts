/** The exit status and what is said of a container: systemd-nspawn(1), "EXIT STATUS". */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { nspawn, onBusybox, shell } from './support.ts';

const it = needs([root, busybox]);
const SPAWNING = /^Spawning container box on \/.*\/busybox-\w+\.\n/;

for (const status of [0, 1, 7, 255]) {
  it(`a payload's exit status ${status} is nspawn's`, async () => {
    const ended = await nspawn(shell(`exit ${status}`));
    assert.is(ended.status, status);
    assert.match(ended.stderr, SPAWNING);
    const said = status ? `failed with error code ${status}` : 'exited successfully';
    assert.is(ended.stderr.replace(SPAWNING, ''), `Container box ${said}.\n`);
  });
}

it('below the init of --as-pid2 it is the same', async () => {
  const ended = await nspawn(shell('echo process $$; exit 9', '-a'));
  assert.equal([ended.status, ended.stdout], [9, 'process 2\r\n']);
});

// From outside: process 1 of a container is spared what it sends to itself.
for (const name of ['KILL', 'SEGV', 'RTMIN+7']) {
  it(`a payload killed by signal ${name} is told, and the status is 1`, async () => {
    const number = { KILL: 9, SEGV: 11, 'RTMIN+7': 41 }[name];
    const ended = await nspawn(shell(`kill -${number} $$; echo not reached`, '-q', '--share-system'));
    assert.equal(ended, { status: 1, stdout: '', stderr: `Container box terminated by signal ${name}.\n` });
  });
}

it('--quiet says nothing of a container, whatever its status', async () => {
  assert.equal(await nspawn(shell('echo out; exit 3', '--quiet')), { status: 3, stdout: 'out\r\n', stderr: '' });
});

it('a payload that cannot be run is one line and status 1', async () => {
  const ended = await nspawn([...onBusybox(), '--', 'no-such-program']);
  assert.is(ended.status, 1);
  assert.match(
    ended.stderr,
    /^running no-such-program \(looked for .*\/bin\/no-such-program.*\) in the container: .*\n$/,
  );
});

test.run();
