/** Many containers from images at a time: they race for loop devices, and leave none. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../../src/index.ts';
import { startNspawn } from '../../cli/support.ts';
import { idle } from '../../container/support.ts';
import { runOk } from '../../gpt/support.ts';
import { needs, root, tool } from '../../support/needs.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { busybox } from '../../support/tree.ts';
import { assertReleased, busyboxDisk, loopsOf, makes, off } from '../images.ts';

const it = needs([root, busybox, ...makes('ext4'), tool('losetup')]);
const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());

const IMAGES = 6;
const images = Array.from({ length: IMAGES }, (_, i) => join(directory.path, `${i}.raw`));
/** The devices of our images, as losetup(8) sees them. */
const attached = () => images.flatMap(image => runOk(['losetup', '-j', image]).split('\n').filter(Boolean));

test.before(() => {
  if (process.geteuid?.() !== 0) return;
  busyboxDisk(images[0]!);
  for (const image of images.slice(1)) copyFileSync(images[0]!, image);
});

it('commands that start at the same moment each get devices of their own', async () => {
  for (let times = 0; times < 3; times++) {
    const words = ['-q', '-P', '--timezone=off', '--resolv-conf=off', '--', '/bin/sh', '-c'];
    const outcomes = await Promise.all(
      images.map((image, i) => startNspawn(['-i', image, ...words, `echo ${i} >>/home/n; cat /home/n`]).outcome),
    );
    for (const [i, { status, stdout, stderr }] of outcomes.entries()) {
      assert.equal([status, stderr, stdout], [0, '', `${i}\n`.repeat(times + 1)]);
    }
    assert.equal(attached(), []);
  }
  for (const image of images) await assertReleased(image);
});

it('containers of one program, and of images that are read at the same time', async () => {
  const own = await Promise.all(images.map(image => idle({ ...off, image })));
  assert.is(attached().length, 3 * IMAGES);
  for (const container of own) container.kill();
  await Promise.all(own.map(container => container.exited));
  assert.equal(attached(), []);
  const image = images[0]!;
  const shared = await Promise.all(images.map(() => idle({ ...off, image, readOnly: true })));
  assert.is(loopsOf(image).length, 3 * IMAGES);
  for (const container of shared) container.kill();
  await Promise.all(shared.map(container => container.exited));
  for (const each of images) await assertReleased(each);
});

it('a command that was killed leaves its image to the next one', async () => {
  for (let times = 0; times < 5; times++) {
    const words = ['-q', '-P', '-i', images[0]!, '--timezone=off', '--resolv-conf=off', '--', '/bin/sh', '-c'];
    const killed = startNspawn([...words, 'echo ready; exec sleep 1000']);
    await killed.until('ready');
    killed.child.kill('SIGKILL');
    await killed.outcome;
    const next = await spawn({ ...off, image: images[0]!, command: ['/bin/true'] });
    assert.equal(await next.exited, { exitStatus: 0 });
  }
  await assertReleased(images[0]!);
});

test.run();
