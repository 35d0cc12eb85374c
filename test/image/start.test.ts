/** What goes together with an image: names, locks, mounts in it, users, devices; and what is said where something can't be. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../src/index.ts';
import { imageOf } from '../../src/plan/image.ts';
import { buildPlan } from '../../src/plan/plan.ts';
import { mountFileSystem } from '../../syscalls/file-system.ts';
import { NSPAWN, nspawn } from '../cli/support.ts';
import { commandLine, idle, run, startError } from '../container/support.ts';
import { createImage, MIB, runOk } from '../gpt/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import {
  assertReleased,
  busyboxDisk,
  busyboxImage,
  loopsOf,
  makeDisk,
  makeFileSystem,
  makes,
  off,
  ROOT,
  shell,
} from './images.ts';

const it = needs([root, busybox, ...makes('ext4')]);
const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const at = (name: string) => join(directory.path, name);

it('one image has one container that writes, and many that read', async () => {
  const image = busyboxDisk(at('locked.raw'));
  {
    await using _ = await idle({ ...off, image });
    const busy = `starting a container on ${image}: another container is running on this image`;
    assert.is(await startError({ ...off, image }), busy);
    assert.is(await startError({ ...off, image, readOnly: true }), busy);
  }
  await using first = await idle({ ...off, image, readOnly: true });
  await using second = await idle({ ...off, image, volatile: 'overlay' });
  assert.not.equal(first.pid, second.pid);
  assert.match(await startError({ ...off, image }), 'another container is running on this image');
});

it('the image is free when the container has ended, so that the next one can have it', async () => {
  const image = busyboxDisk(at('again.raw'));
  for (let times = 0; times < 5; times++) {
    await shell(image, 'echo x >>/home/written');
    assert.equal(loopsOf(image), []);
  }
  assert.is(await shell(image, 'wc -l </home/written'), '5');
});

it('a damaged partition table is a warning, as long as there is the backup', async () => {
  const image = busyboxDisk(at('damaged.raw'));
  const file = openSync(image, 'r+');
  writeSync(file, Uint8Array.of(9), 0, 1, 512 + 8);
  closeSync(file);
  const { status, stdout, log } = await run({ ...off, image, command: ['/bin/ls', '/home'] });
  assert.equal([status, stdout], [0, 'home\nlost+found']);
  const fault = 'the backup copy of its partition table was read: primary copy: the checksum of the header is ';
  const warnings = log.filter(line => line.startsWith('warn'));
  assert.is(warnings.length, 1);
  assert.ok(warnings[0]!.startsWith(`warn: the image ${image}: ${fault}`), warnings[0]);
  await assertReleased(image);
});

it('a start that fails lets go of the image, too', async () => {
  const image = busyboxDisk(at('failing.raw'));
  await startError({ ...off, image, command: ['/no/such'] });
  assert.equal(loopsOf(image), []);
  await startError({
    ...off,
    image,
    binds: [{ source: '/no/such', destination: '/mnt', readOnly: true, recursive: true }],
  });
  assert.equal(loopsOf(image), []);
  await assertReleased(image);
});

it('a container that reboots has its image again', async () => {
  using tree = copyTree(busyboxTree());
  const init = join(tree.path, 'sbin/init');
  rmSync(init);
  writeFileSync(init, '#!/bin/sh\necho boot; test -e /once && poweroff -f; touch /once; reboot -f\n');
  chmodSync(init, 0o755);
  const image = makeFileSystem(at('rebooting.raw'), 'ext4', tree.path);
  const { status, stdout } = await nspawn(['-q', '-i', image, '-P', '-b', '--timezone=off', '--resolv-conf=off']);
  assert.equal([status, stdout], [0, 'boot\nboot\n']);
  await assertReleased(image);
});

it('an image that is no OS is not booted, and nothing is made in it', async () => {
  using tree = temporaryDirectory();
  writeFileSync(join(tree.path, 'file'), '');
  const image = makeFileSystem(at('data.raw'), 'ext4', tree.path);
  assert.match(await startError({ ...off, image, boot: true }), `booting ${image}: it is no OS tree`);
  assert.match(await startError({ ...off, image }), `starting a container on ${image}: it has no /usr/bin`);
  assert.is(runOk(['debugfs', '-R', 'ls -p /', image]).includes('/usr/'), false);
});

it('the machine has the name of the file without .raw or .img', async () => {
  const image = busyboxImage(at('web-1.raw'));
  copyFileSync(image, at('web-2.img'));
  symlinkSync(image, at('link'));
  for (const [path, name] of [
    ['web-1.raw', 'web-1'],
    ['web-2.img', 'web-2'],
    ['link', 'web-1'],
  ]) {
    const container = await spawn({ ...off, image: at(path!), readOnly: true, command: ['/bin/true'] });
    assert.is(container.machine, name);
    assert.is(container.directory, path === 'link' ? image : at(path!));
    await container.exited;
  }
  assert.is(await shell(image, 'hostname', { machine: 'other' }), 'other');
});

it('--machine= alone looks for NAME.raw where there is no directory of that name', async () => {
  const name = `nspawn-test-${process.pid}`;
  const path = `/var/lib/machines/${name}`;
  mkdirSync('/var/lib/machines', { recursive: true });
  try {
    busyboxImage(`${path}.raw`);
    const { stdout } = await run({
      ...off,
      machine: name,
      command: ['/bin/sh', '-c', 'hostname; grep -c loop /proc/mounts'],
    });
    assert.is(stdout, `${name}\n1`);
    mkdirSync(path);
    assert.match(await startError({ ...off, machine: name }), `starting a container on ${path}: it has no /usr/bin`);
  } finally {
    rmSync(`${path}.raw`, { force: true });
    rmSync(path, { recursive: true, force: true });
  }
});

it('binds, overlays and other mounts are made in an image, and taken from it', async () => {
  const image = busyboxDisk(at('mounts.raw'));
  using host = temporaryDirectory();
  writeFileSync(join(host.path, 'from-host'), '');
  const options = {
    binds: [
      { source: host.path, destination: '/data', readOnly: false, recursive: true },
      { source: '+/home', destination: '/home-again', readOnly: true, recursive: true },
    ],
    tmpfs: [{ path: '/scratch', options: '' }],
    overlays: [{ lower: ['+/srv', host.path], upper: '', destination: '/merged', readOnly: false }],
    inaccessible: ['/etc/passwd'],
  };
  const script =
    'ls /data /home-again /merged; touch /merged/x; touch /home-again/x 2>&1; touch /scratch/x; cat /etc/passwd; touch /data/x';
  const expected = [
    '/data:\nfrom-host\n\n/home-again:\nhome\nlost+found\n\n/merged:\nfrom-host\nlost+found\nsrv',
    'touch: /home-again/x: Read-only file system',
  ];
  assert.is(await shell(image, script, options), expected.join('\n'));
  await assertReleased(image);
  assert.is(execFileSync('ls', [host.path], { encoding: 'utf8' }), 'from-host\nx\n');
  assert.is(await shell(image, 'ls /merged /srv'), '/merged:\n\n/srv:\nlost+found\nsrv');
});

it('an upper layer in an image is refused', async () => {
  const image = busyboxImage(at('upper.raw'));
  const overlays = [{ lower: ['/usr'], upper: '+/home', destination: '/mnt', readOnly: false }];
  assert.match(await startError({ ...off, image, overlays }), "its upper layer /home can't be in a disk image");
});

it('users are those of the image, also those that only its getent knows', async () => {
  using tree = copyTree(busyboxTree());
  const getent = join(tree.path, 'usr/bin/getent');
  rmSync(getent, { force: true });
  writeFileSync(
    getent,
    '#!/bin/sh\ntest $1 = passwd && echo "remote:x:4711:4711::/home/remote:/bin/sh" || echo "remote 4711"\n',
  );
  chmodSync(getent, 0o755);
  const image = makeFileSystem(at('users.raw'), 'ext4', tree.path);
  assert.is(await shell(image, 'id -u; echo ~', { user: 'guest' }), '1000\n/home/guest');
  assert.is(await shell(image, 'id -u; touch ~/x; echo ~', { user: 'remote' }), '4711\n/home/remote');
  await assertReleased(image);
  for (const options of [{ readOnly: true, chdir: '/' }, { volatile: 'overlay' }] as const) {
    assert.is(await shell(image, 'id -u', { ...options, user: 'remote' }), '4711');
  }
  assert.equal(loopsOf(image), []);
});

needs([root, busybox, ...makes('ext4'), tool('losetup')])(
  'a block device is an image, whole or with a table',
  async () => {
    for (const image of [busyboxImage(at('bare-device.raw')), busyboxDisk(at('device.raw'))]) {
      const device = runOk(['losetup', '--find', '--show', image]).trim();
      try {
        assert.is(await shell(device, 'echo x >/written; cat /written'), 'x');
        // What is good for a disk, its owner knows.
        assert.is(await shell(device, 'grep discard /proc/mounts || true'), '');
        assert.equal(loopsOf(device), []);
      } finally {
        runOk(['losetup', '--detach', device]);
      }
      await assertReleased(image);
      const readOnly = runOk(['losetup', '--find', '--show', '--read-only', image]).trim();
      try {
        assert.is(await shell(readOnly, 'cat /written; touch /x 2>&1 || true'), 'x\ntouch: /x: Read-only file system');
      } finally {
        runOk(['losetup', '--detach', readOnly]);
      }
    }
  },
);

needs([root, busybox, ...makes('ext4'), tool('losetup'), tool('mount')])(
  'a block device that is mounted is refused',
  async () => {
    using mountPoint = temporaryDirectory();
    const device = runOk(['losetup', '--find', '--show', busyboxImage(at('mounted.raw'))]).trim();
    try {
      runOk(['mount', device, mountPoint.path]);
      assert.is(
        await startError({ ...off, image: device }),
        `opening the image ${device}: it is in use, mounted or otherwise`,
      );
      runOk(['umount', mountPoint.path]);
      await shell(device, 'true');
    } finally {
      runOk(['losetup', '--detach', device]);
    }
  },
);

it('a file that nobody can write to is read', async () => {
  const image = busyboxDisk(at('immutable.raw'));
  await shell(image, 'true');
  if (spawnSync('chattr', ['+i', image]).status !== 0) return;
  try {
    assert.is(
      await shell(image, 'touch /x /home/x 2>&1 || true'),
      'touch: /x: Read-only file system\ntouch: /home/x: Read-only file system',
    );
  } finally {
    runOk(['chattr', '-i', image]);
  }
});

it('the root of a secondary architecture sets the personality, unless another is asked for', async () => {
  const [native, secondary] = process.arch === 'x64' ? ['x86-64', 'x86'] : ['arm64', 'arm'];
  const image = makeDisk(at('secondary.raw'), [{ type: `root-${secondary}`, holds: 'ext4', tree: busyboxTree() }]);
  const planOf = async (options = {}) => buildPlan({ ...off, image, ...options }, 'streams', await imageOf({ image }));
  assert.is((await planOf()).payload.personality, secondary);
  assert.is((await planOf({ personality: native })).payload.personality, native);
  const machine = await shell(image, 'uname -m', { personality: native! });
  assert.not.equal(await shell(image, 'uname -m'), machine);
});

it('a system in /usr alone has an empty root', async () => {
  const partitions = [
    { type: `usr-${process.arch === 'x64' ? 'x86-64' : 'arm64'}`, holds: 'ext4', tree: join(busyboxTree(), 'usr') },
  ];
  const image = makeDisk(at('usr.raw'), partitions);
  assert.is(
    await shell(image, 'grep " / " /proc/mounts | cut -d" " -f1; test -L /bin && touch /etc/x /usr/x'),
    'tmpfs',
  );
  assert.is(
    await shell(image, 'ls /etc /usr/x; touch /usr/y 2>&1; true', { volatile: 'yes' }),
    '/usr/x\n\n/etc:\ntouch: /usr/y: Read-only file system',
  );
  await assertReleased(image);
});

it('mount points that the image lacks are made, or named where that is not possible', async () => {
  using tree = copyTree(busyboxTree());
  rmSync(join(tree.path, 'home'), { recursive: true });
  const partitions = [
    { type: ROOT, holds: 'ext4', tree: tree.path, attributes: ['readOnly'] as const },
    { type: 'home', holds: 'ext4' },
  ];
  const closed = makeDisk(at('closed.raw'), partitions);
  const missing = `mounting partition 2 (home, ext4) of ${closed} on /home: there is no /home in the image, and it can't be made as it would be read-only`;
  assert.is(await startError({ ...off, image: closed }), missing);
  assert.equal(loopsOf(closed), []);
  assert.is(
    await shell(closed, 'ls /home; touch /home/x 2>&1 | sed s/.*:.//', { volatile: 'overlay' }),
    'home\nlost+found\nRead-only file system',
  );
  const open = makeDisk(at('open.raw'), [{ ...partitions[0]!, attributes: [] }, partitions[1]!]);
  assert.is(
    await startError({ ...off, image: open, readOnly: true }),
    missing.replaceAll('closed', 'open').replace('ext4) of', 'ext4) of').replace('.raw on', '.raw, read-only on'),
  );
  assert.is(await shell(open, 'ls /home; touch /home/x'), 'home\nlost+found');
  assert.is(await shell(open, 'ls /home', { readOnly: true }), 'home\nlost+found\nx');
});

const REFUSED: [string, (path: string) => void, RegExp][] = [
  ['nothing', path => rmSync(path, { force: true }), /^reading the image \S+: no such file$/],
  ['a directory', path => mkdirSync(path), /: it is a directory, and an image is a regular file or a block device$/],
  ['a fifo', path => void execFileSync('mkfifo', [path]), /: it is a fifo, and an image is/],
  ['zeros', path => void createImage(path, MIB), /: there is no partition table, and it holds no known file system$/],
  [
    'swap',
    path => {
      createImage(path, MIB);
      runOk(['mkswap', path]);
    },
    /it holds swap, which is no file system$/,
  ],
  ['no root', path => void makeDisk(path, [{ type: 'home', holds: 'ext4' }]), /there is no root partition/],
  [
    'an unknown root',
    path => void makeDisk(path, [{ type: ROOT, size: 1 }]),
    /: partition 1 \(root-[\w-]+\): it holds no known file system$/,
  ],
];

for (const [what, make, message] of REFUSED) {
  it(`refused: ${what}`, async () => {
    const path = at(`refused-${what.replaceAll(' ', '-')}`);
    make(path);
    assert.match(await startError({ ...off, image: path }), message);
    assert.equal(loopsOf(path), []);
  });
}

needs([root, busybox, ...makes('ext4'), tool('cryptsetup')])(
  'refused: LUKS, by the number of the partition',
  async () => {
    const path = makeDisk(at('luks.raw'), [{ type: ROOT, size: 32 }]);
    const inner = createImage(at('luks'), 32 * MIB);
    runOk(
      ['cryptsetup', 'luksFormat', '-q', '--type=luks2', '--pbkdf=pbkdf2', '--pbkdf-force-iterations=1000', inner, '-'],
      'secret',
    );
    runOk(['dd', `if=${inner}`, `of=${path}`, 'bs=1M', 'seek=1', 'conv=notrunc']);
    assert.match(
      await startError({ ...off, image: path }),
      /partition 1 \(root-[\w-]+\): it is encrypted \(LUKS2\), which is not supported$/,
    );
  },
);

it('a file system that the kernel refuses is named, with the reason', async () => {
  const image = busyboxImage(at('broken.raw'));
  // An incompatible feature that there is not: offset 96 of the superblock. Without checksums, so that it counts.
  runOk(['tune2fs', '-O', '^metadata_csum', image]);
  const file = openSync(image, 'r+');
  writeSync(file, Uint8Array.of(0, 0, 0, 0x40), 0, 4, 1024 + 96);
  closeSync(file);
  assert.match(await startError({ ...off, image }), `opening the ext4 of ${image}: `);
  assert.equal(loopsOf(image), []);
});

needs([root, busybox, ...makes('ext4'), tool('setpriv')])('--dry-run needs no privileges, only to read', () => {
  const image = busyboxDisk(at('dry.raw'));
  const main = join(import.meta.dirname, '../../src/cli/main.ts');
  const unprivileged = ['setpriv', '--bounding-set=-all', '--no-new-privs', process.execPath, main];
  const lines = runOk([...unprivileged, '--dry-run', '-i', image, '-P', 'true']).split('\n');
  for (const line of [
    `container dry on ${image}`,
    `locking ${image} (exclusive)`,
    `opening partition 1 (root, ext4) of ${image}`,
    `mounting partition 2 (home, ext4) of ${image} on /home`,
    `mounting partition 3 (srv, ext4) of ${image} on /srv`,
  ]) {
    assert.ok(lines.includes(line), `${line} in ${lines.join('\n')}`);
  }
  assert.match(runOk([...unprivileged, '--dry-run', '-i', image, '--read-only', 'true']), 'root, ext4) of');
  assert.equal(loopsOf(image), []);
});

needs([root, busybox, ...makes('ext4'), tool('unshare')])('loop devices that have no nodes', async () => {
  const image = busyboxDisk(at('no-nodes.raw'));
  const empty = ['mount -t tmpfs none /dev', 'mknod /dev/null c 1 3', 'mknod /dev/urandom c 1 9'];
  for (const before of [empty, [...empty, 'mknod /dev/loop-control c 10 237']]) {
    const words = ['-i', image, '--timezone=off', '--resolv-conf=off', '--', '/bin/sh', '-c', 'echo x >>/home/x'];
    const { status, stderr } = commandLine(before.join(' && '), ...words);
    assert.equal([status, stderr], [0, '']);
    await assertReleased(image);
  }
  assert.is(await shell(image, 'cat /home/x'), 'x\nx');
});

needs([root, busybox, tool('strace')])('a container from a directory loads nothing of what is for images', () => {
  const trace = at('trace');
  const strace = ['strace', '--follow-forks', '--trace=openat', `--output=${trace}`];
  runOk([...strace, ...NSPAWN, '-q', '-D', busyboxTree(), '--read-only', '--resolv-conf=off', '-P', 'true']);
  const checkout = join(import.meta.dirname, '../..');
  const loaded = readFileSync(trace, 'utf8')
    .match(/"[^"]+\.ts"/g)!
    .map(path => relative(checkout, path.slice(1, -1)));
  assert.ok(loaded.includes('src/spawn.ts'));
  assert.equal(
    loaded.filter(path => /^(gpt|src\/image)\/|syscalls\/loop|image-steps/.test(path)),
    [],
  );
});

it('what the kernel says of a mount is told', () => {
  const mount = (type: string, key: string) => () => mountFileSystem(type, [{ key, value: '1' }], 0);
  assert.throws(mount('tmpfs', 'bogus'), /: Invalid argument \(EINVAL\): tmpfs: Unknown parameter 'bogus'$/);
  assert.throws(mount('no-such', 'bogus'), /^this kernel does not know the file system no-such$/);
});

test.run();
