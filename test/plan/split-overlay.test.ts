/** A volatile root of an ordinary user, where something is mounted in the tree. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { splitOverlay } from '../../src/plan/split-overlay.ts';
import { temporaryDirectory } from '../support/temporary.ts';

test('directories are overlays down to mount points, files are bound, links are made, and what is mounted is left out', () => {
  using directory = temporaryDirectory();
  const tree = directory.path;
  for (const path of ['etc', 'mnt/point/below', 'mnt/beside', 'run/something', 'tmp']) {
    mkdirSync(join(tree, path), { recursive: true });
  }
  chmodSync(join(tree, 'tmp'), 0o1777);
  writeFileSync(join(tree, 'file'), '');
  symlinkSync('usr/bin', join(tree, 'bin'));
  const { hostObjects, before, steps } = splitOverlay(tree, [`${tree}/mnt/point`], false);
  assert.equal(
    steps.map(({ action }) => action),
    [
      { do: 'make symlink', path: '/bin', target: 'usr/bin' },
      { do: 'attach', object: `overlay of ${tree}/etc`, path: '/etc' },
      { do: 'attach', object: `${tree}/file`, path: '/file', isFile: true },
      { do: 'make directories', directories: [{ path: '/mnt', mode: 0o755 }] },
      { do: 'attach', object: `overlay of ${tree}/mnt/beside`, path: '/mnt/beside' },
      { do: 'make directories', directories: [{ path: '/mnt/point', mode: 0o755 }] },
      { do: 'make directories', directories: [{ path: '/run', mode: 0o755 }] },
      { do: 'attach', object: `overlay of ${tree}/tmp`, path: '/tmp' },
    ],
  );
  const overlays = before.flatMap(({ action }) => (action.do === 'make overlay' ? [action] : []));
  assert.equal(
    overlays.map(({ overlay, upper }) => [overlay, upper!.mode]),
    [
      [`overlay of ${tree}/etc`, 0o755],
      [`overlay of ${tree}/mnt/beside`, 0o755],
      [`overlay of ${tree}/tmp`, 0o1777],
    ],
  );
  const shared = { kind: 'tree', inRoot: false, recursive: false };
  assert.equal(hostObjects[`lower ${tree}/etc`], { ...shared, path: `${tree}/etc`, readOnly: false });
  assert.equal(hostObjects[`${tree}/file`], { ...shared, path: `${tree}/file`, readOnly: true });
});

test('of an ephemeral root, each has a layer by its path in the container, and a working directory of its own', () => {
  using directory = temporaryDirectory();
  const tree = directory.path;
  for (const path of ['etc', 'mnt/point', 'mnt/beside']) mkdirSync(join(tree, path), { recursive: true });
  const plans = [1, 2].map(() => splitOverlay(tree, [`${tree}/mnt/point`], true));
  const [first, second] = plans.map(({ hostObjects }) =>
    Object.values(hostObjects).filter(({ kind }) => kind !== 'tree'),
  );
  assert.equal(first, [
    { kind: 'layer', name: 'root', path: tree },
    { kind: 'layer', name: 'parts/etc', path: `${tree}/etc` },
    { kind: 'layer', name: 'parts/mnt/beside', path: `${tree}/mnt/beside` },
  ]);
  assert.equal(second, first);
  const works = plans.flatMap(({ before }) =>
    before.flatMap(({ action }) => (action.do === 'make overlay' ? [action.upper!.work] : [])),
  );
  assert.is(new Set(works).size, 4);
});

test.run();
