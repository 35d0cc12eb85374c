/**
 * kill -9 of nspawn, at any moment, takes the container along and leaves nothing: no process, no mount, no file, no
 * network namespace (those live as long as a process or a mount does).
 */
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loopMount } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { inEmptyMachine } from './empty-machine.ts';
import type { Found } from './killing.ts';

const it = needs([root, busybox, tool('unshare')]);
const TIMES = 100;
const CHECKOUT = resolve(import.meta.dirname, '../..');

const directory = temporaryDirectory();
test.before(() => {
  execFileSync(process.execPath, [
    join(CHECKOUT, 'scripts/build.ts'),
    '',
    'src/cli/main.ts',
    join(directory.path, 'nspawn'),
  ]);
});
test.after(() => directory[Symbol.dispose]());

const VARIANTS = [
  ...[
    'plain',
    'as process 2',
    'volatile overlay',
    'limits',
    'private network',
    'users of its own',
    'booting',
    'terminal',
    'image',
    'image, volatile',
    'image, ephemeral',
  ],
  ...[
    'veth link',
    'zone',
    'interface of the host',
    'ephemeral',
    'ephemeral, with users of its own',
    'template',
    'template, on btrfs',
    'ephemeral, on btrfs',
  ],
];
for (const variant of VARIANTS) {
  const itRuns = variant.includes('btrfs') ? needs([root, busybox, tool('unshare'), loopMount('btrfs')]) : it;
  itRuns(`${TIMES} times: ${variant}`, () => {
    const seed = Number(process.env['SEED'] ?? 1);
    const found = inEmptyMachine('test/alone/killing.ts', [variant, `${seed}`, `${TIMES}`], directory.path);
    const { lost, said, ready, latest } = found as Found;
    assert.equal(lost, [], `seed ${seed}`);
    assert.is(said, '');
    if (process.env['SEED']) console.log(`${ready} of ${TIMES} payloads ran, within ${latest} ms`);
  });
}

test.run();
