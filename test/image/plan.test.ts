/** From images to plans: what is mounted how. Nothing is started, and nobody needs to be root. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ContainerOptions } from '../../src/index.ts';
import { imageOf } from '../../src/plan/image.ts';
import { buildPlan } from '../../src/plan/plan.ts';
import type { FileSystem, Plan, StepAction } from '../../src/plan/steps.ts';
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import { MIB } from '../gpt/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { makeDisk, makeFileSystem, off, type PartitionMade, ROOT } from './images.ts';

const it = needs([tool('mkfs.ext4'), tool('mkfs.vfat')]);
const asRoot = needs([root, tool('mkfs.ext4'), tool('mkfs.vfat')]);
const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const path = join(directory.path, 'image');

const planOf = async (options: ContainerOptions = {}): Promise<Plan> => {
  const all = { ...off, image: path, ...options };
  return buildPlan(all, 'streams', await imageOf(all));
};

const fileSystems = ({ hostObjects }: Plan): FileSystem[] =>
  Object.values(hostObjects).filter(object => object.kind === 'file system');

/** Host objects and where they are mounted, in this order. */
const mounts = ({ steps }: Plan) =>
  steps.flatMap(({ action }) =>
    action.do === 'mount partition'
      ? [[action.object, action.path, ...(action.fallback ? [action.fallback] : [])]]
      : [],
  );

const disk = (...partitions: PartitionMade[]) =>
  makeDisk(path, [{ type: ROOT, holds: 'ext4', size: 2 }, ...partitions]);

/** `key` or `key=value`. */
const words = ({ options }: FileSystem) =>
  options.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`));

it('partitions are mounted parents first, whatever their numbers', async () => {
  disk({ type: 'tmp', holds: 'ext4' }, { type: 'srv', holds: 'ext4' }, { type: 'home', holds: 'ext4' });
  const plan = await planOf();
  assert.equal(mounts(plan), [
    ['partition 4', '/home'],
    ['partition 3', '/srv'],
    ['partition 2', '/var/tmp'],
  ]);
  const places = fileSystems(plan).map(({ offset, size }) => [offset / MIB, size / MIB]);
  assert.equal(places, [
    [1, 2],
    [35, 16],
    [19, 16],
    [3, 16],
  ]);
});

asRoot('device nodes, and on boot partitions more than that, are useless', async () => {
  disk({ type: 'home', holds: 'ext4' }, { type: 'esp', holds: 'vfat' }, { type: 'xbootldr', holds: 'vfat' });
  const plan = await planOf();
  const { NODEV, NOSUID, NOEXEC, NOSYMFOLLOW } = MOUNT_ATTR;
  const boot = NODEV | NOSUID | NOEXEC | NOSYMFOLLOW;
  assert.equal(
    fileSystems(plan).map(({ type, attributes }) => [type, attributes]),
    [
      ['ext4', NODEV],
      ['ext4', NODEV],
      ['vfat', boot],
      ['vfat', boot],
    ],
  );
  assert.equal(words(fileSystems(plan)[3]!), ['umask=0077', 'discard']);
});

asRoot('the EFI system partition can be on /boot, unless that is taken', async () => {
  disk({ type: 'esp', holds: 'vfat' });
  assert.equal(mounts(await planOf()), [['partition 2', '/efi', '/boot']]);
  disk({ type: 'esp', holds: 'vfat' }, { type: 'xbootldr', holds: 'vfat' });
  assert.equal(mounts(await planOf()), [
    ['partition 3', '/boot'],
    ['partition 2', '/efi'],
  ]);
});

it('what is marked as read-only is, and the rest is not', async () => {
  disk({ type: 'home', holds: 'ext4', attributes: ['readOnly'] }, { type: 'srv', holds: 'ext4' });
  const readOnly = (plan: Plan) => fileSystems(plan).map(each => each.readOnly);
  assert.equal(readOnly(await planOf()), [false, true, false]);
  assert.equal(readOnly(await planOf({ readOnly: true })), [true, true, true]);
  assert.is((await planOf()).lock, 'exclusive');
  assert.is((await planOf({ readOnly: true })).lock, 'shared');
  const [, home] = fileSystems(await planOf());
  assert.is(home!.attributes, MOUNT_ATTR.NODEV | MOUNT_ATTR.RDONLY);
  assert.equal(words(home!), ['noload']);
});

for (const volatile of ['yes', 'state', 'overlay'] as const) {
  it(`--volatile=${volatile}: nothing of the image is written to`, async () => {
    disk({ type: 'home', holds: 'ext4' });
    const plan = await planOf({ volatile });
    assert.ok(fileSystems(plan).every(({ readOnly }) => readOnly));
    assert.is(plan.lock, 'shared');
    assert.equal(mounts(plan), [['partition 2', '/home']]);
  });
}

it('the order is: partitions, what the tree needs, read-only, the kernel, what was asked for', async () => {
  disk({ type: 'home', holds: 'ext4' });
  const binds = [{ source: '+/home', destination: '/mnt', readOnly: false, recursive: true }];
  const overlays = [{ lower: ['+/usr'], upper: '', destination: '/o', readOnly: false }];
  const { steps } = await planOf({ readOnly: true, binds, overlays });
  const order: StepAction['do'][] = [
    'separate mounts',
    'enter root',
    'mount partition',
    'check tree',
    'make directories',
    'make links',
    'make read-only',
    'mount',
    'take',
    'make overlay',
    'bind',
  ];
  const positions = order.map(kind => steps.findIndex(({ action }) => action.do === kind && !isSelinux(action)));
  assert.equal(
    positions,
    positions.toSorted((a, b) => a - b),
  );
  assert.not(positions.includes(-1));
});

const isSelinux = (action: StepAction) => 'path' in action && action.path === '/sys/fs/selinux';

it('a file system without a table is the root, with all that is in the file', async () => {
  makeFileSystem(path, 'ext4', directory.path, 2);
  const plan = await planOf();
  assert.equal(mounts(plan), []);
  const [root] = fileSystems(plan);
  assert.equal([root!.name, root!.offset, root!.size, root!.sectorSize], [`the ext4 of ${path}`, 0, 0, 512]);
});

test.run();
