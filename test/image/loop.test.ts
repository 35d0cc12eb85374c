/** Loop devices by themselves: what part of a file they show, how they take it, and when they go. */
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openImageFile } from '../../src/image/image-file.ts';
import { attachLoop, type LoopDevice, type LoopOptions } from '../../syscalls/loop.ts';
import { idle, startError } from '../container/support.ts';
import { createImage, MIB, writeChunks } from '../gpt/support.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { busyboxImage, loopsOf, makes, off } from './images.ts';

const it = needs([root]);
const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const file = createImage(join(directory.path, 'file'), 8 * MIB);
writeChunks(file, [{ offset: 3 * MIB, bytes: Buffer.from('from here on') }]);

const PART: LoopOptions = { offset: 3 * MIB, size: 2 * MIB, sectorSize: 512, readOnly: true, directIo: false };

function attach(options: Partial<LoopOptions>): LoopDevice {
  using image = openImageFile(file, { write: true });
  return attachLoop(image.fd, { ...PART, ...options });
}

function canBeDirect(): boolean {
  try {
    closeSync(openSync(file, constants.O_RDWR | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  }
}

const attribute = ({ number }: LoopDevice, name: string) =>
  readFileSync(`/sys/block/loop${number}/${name}`, 'utf8').trim();

it('a device shows a part of a file', () => {
  using device = attach({});
  assert.is(attribute(device, 'size'), String((2 * MIB) / 512));
  assert.is(attribute(device, 'ro'), '1');
  assert.is(attribute(device, 'loop/autoclear'), '1');
  assert.is(attribute(device, 'loop/dio'), '0');
  assert.is(attribute(device, 'queue/logical_block_size'), '512');
  const bytes = Buffer.alloc(12);
  readSync(device.fd, bytes, 0, 12, 0);
  assert.is(bytes.toString(), 'from here on');
});

it('it can be all of the rest, be written to, and have larger sectors', () => {
  using device = attach({ size: 0, readOnly: false, sectorSize: 4096 });
  assert.is(attribute(device, 'size'), String((5 * MIB) / 512));
  assert.is(attribute(device, 'ro'), '0');
  assert.is(attribute(device, 'queue/logical_block_size'), '4096');
});

it('direct I/O is used where the file can have it, and is no error elsewhere', () => {
  using device = attach({ directIo: true, readOnly: false });
  if (canBeDirect()) assert.is(attribute(device, 'loop/dio'), '1');
  // On a disk with larger sectors it can't be.
  using misplaced = attach({ directIo: true, offset: 3 * MIB + 512 });
  assert.is(attribute(misplaced, 'ro'), '1');
});

it('what is no part of a device is refused by the kernel, and leaves nothing', () => {
  assert.throws(() => attach({ sectorSize: 513 }), /LOOP_CONFIGURE.*EINVAL/);
  assert.equal(loopsOf(file), []);
});

it('it goes with its last descriptor', async () => {
  const device = attach({});
  const copy = openSync(device.path, 'r');
  device[Symbol.dispose]();
  assert.equal(loopsOf(file), [`loop${device.number}`]);
  closeSync(copy);
  for (let tries = 0; loopsOf(file).length > 0 && tries < 1000; tries++) await setTimeout(10);
  assert.equal(loopsOf(file), []);
});

const onExt4 = needs([root, busybox, ...makes('ext4')]);

onExt4(
  'a container has ended only when nobody holds its devices any more; until then, the image is locked',
  async () => {
    const image = busyboxImage(join(directory.path, 'held.raw'));
    const container = await idle({ ...off, image });
    const [device] = loopsOf(image);
    const holder = openSync(`/dev/${device}`, 'r');
    let isOver = false;
    const exited = container.exited.then(() => {
      isOver = true;
    });
    container.kill();
    assert.match(await startError({ ...off, image }), 'another container is running on this image');
    assert.not(isOver);
    closeSync(holder);
    await exited;
    assert.equal(loopsOf(image), []);
  },
);

test.run();
