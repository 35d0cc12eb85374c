/** Disk images of ordinary users: through FUSE, by programs of the host's. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { atTerminal, nspawn, startNspawn } from '../cli/support.ts';
import { eventually } from '../console/support.ts';
import { createImage, MIB, runOk } from '../gpt/support.ts';
import { assertReleased, busyboxDisk, fingerprint, makeDisk, makeFileSystem, makes, ROOT } from '../image/images.ts';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { GID, type OrdinaryUser, ordinaryUser, SUBORDINATE, subordinateIds, UID, userNamespaces } from './support.ts';

const fuse: Need = () => (existsSync('/dev/fuse') ? undefined : 'no /dev/fuse');
const NEEDS = [root, busybox, tool('setpriv'), userNamespaces, fuse] as const;
const it = needs([...NEEDS, tool('fuse2fs'), tool('mkfs.ext4'), tool('e2fsck')]);
const withIds = [tool('newuidmap'), subordinateIds];

const QUIET = ['-q', '-P', '--timezone=off', '--resolv-conf=off'];

const user = ordinaryUser();
const rich = ordinaryUser({ hasSubordinates: true });
test.after(() => {
  user[Symbol.dispose]();
  rich[Symbol.dispose]();
});

/** A file of the user's. */
function given(path: string): string {
  chownSync(path, UID, GID);
  return path;
}

/** An image of the user's with a file system. */
const imageOf = (name: string, kind = 'ext4', tree = busyboxTree(), who = user): string =>
  given(makeFileSystem(join(who.home, name), kind, tree));

const start = (image: string, script: string, options: string[] = [], who: OrdinaryUser = user) =>
  nspawn([...QUIET, '-i', image, ...options, '--', '/bin/sh', '-c', script], { command: who.nspawn, cwd: '/' });

/** What a script prints, which must not fail. */
async function output(image: string, script: string, options: string[] = [], who = user): Promise<string> {
  const { status, stdout, stderr } = await start(image, script, options, who);
  assert.equal([status, stderr], [0, ''], stdout);
  return stdout;
}

/** Processes that have one of these names. */
const named = (...names: string[]): string[] =>
  readdirSync('/proc').filter(pid => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      return names.some(name => status.startsWith(`Name:\t${name}\n`)) && !/^State:\tZ/m.test(status);
    } catch {
      // No process, or one that has ended.
      return false;
    }
  });
/** Those that show images, or make the namespaces for that. */
const helpers = () => named('fuse2fs', 'squashfuse', 'nspawn-image');

for (const [who, extra] of [
  [user, []],
  [rich, withIds],
] as const) {
  const words = who === user ? '' : ', with subordinate ids';

  needs([...NEEDS, ...extra, tool('fuse2fs'), ...makes('ext4')])(`an ext4 that is written to${words}`, async () => {
    const image = imageOf('a, b?.img', 'ext4', busyboxTree(), who);
    const script =
      'mkdir /made; echo kept > /made/file; ln -s file /made/link; ln /made/file /made/hard; id -u; grep " / fuse" /proc/mounts';
    // As root mounts it: programs that are to run as their owner do.
    assert.match(await output(image, script, [], who), /^0\n\S+ \/ fuse.ext4 rw,nodev,relatime,/);
    assert.equal(helpers(), []);
    // A path without what e2fsck takes for options.
    const checked = join(who.home, 'checked.img');
    copyFileSync(image, checked);
    await assertReleased(checked);
    const seen = 'cat /made/link; stat -c "%u %g %h" /made/file';
    assert.is(await output(image, seen, [], who), 'kept\n0 0 2\n');
  });

  needs([...NEEDS, ...extra, tool('fuse2fs'), ...makes('ext4')])(`a disk with partitions${words}`, async () => {
    const disk = given(busyboxDisk(join(who.home, 'disk.img')));
    const script = 'ls /home /srv; echo a > /home/a; echo b > /srv/b; echo c > /c';
    const listed = await output(disk, script, [], who);
    assert.is(listed.replaceAll('lost+found\n', ''), '/home:\nhome\n\n/srv:\nsrv\n');
    assert.equal(helpers(), []);
    await assertReleased(disk);
    assert.is(await output(disk, 'cat /home/a /srv/b /c', [], who), 'a\nb\nc\n');
    const { stdout: plan } = await start(disk, 'true', ['--dry-run'], who);
    assert.match(plan, /^opening partition 2 \(home, ext4\) of .*\/disk\.img, by fuse2fs$/m);
  });

  needs([...NEEDS, ...extra, tool('squashfuse'), ...makes('squashfs')])(`a squashfs${words}`, async () => {
    const image = imageOf('squash.img', 'squashfs', busyboxTree(), who);
    assert.is(await output(image, 'echo x 2> /dev/null > /x || echo read-only; id -u', [], who), 'read-only\n0\n');
    assert.is(await output(image, 'echo x > /x; cat /x', ['--volatile=overlay'], who), 'x\n');
    const disk = given(
      makeDisk(join(who.home, 'squash-disk.img'), [{ type: ROOT, holds: 'squashfs', tree: busyboxTree(), size: 8 }]),
    );
    assert.is(await output(disk, 'ls /bin/sh', [], who), '/bin/sh\n');
    assert.equal(helpers(), []);
  });
}

needs([...NEEDS, tool('fuse2fs'), ...makes('ext4'), tool('mkfs.vfat')])(
  'the vfat that firmware boots from is left out',
  async () => {
    const partitions = [
      { type: 'esp', holds: 'vfat', size: 1 },
      { type: ROOT, holds: 'ext4', tree: busyboxTree() },
    ];
    const disk = given(makeDisk(join(user.home, 'esp.img'), partitions));
    assert.is(await output(disk, 'ls /bin/sh; ls -d /efi /boot 2> /dev/null || true'), '/bin/sh\n');
    const { stdout } = await start(disk, 'true', ['--dry-run']);
    assert.match(stdout, /^not mounting partition 1: mounting vfat takes root, and containers need nothing of a boot/m);
  },
);

it('read-only and volatile, nothing of it changes', async () => {
  const image = imageOf('unchanged.img');
  const before = fingerprint(image);
  const readOnly = await start(image, 'echo x > /x', ['--read-only']);
  assert.match(readOnly.stderr, /Read-only file system/);
  for (const mode of ['overlay', 'yes', 'state']) {
    assert.is(await output(image, 'echo x > /var/x; cat /var/x; ls /bin/sh', [`--volatile=${mode}`]), 'x\n/bin/sh\n');
  }
  assert.is(fingerprint(image), before);
  // Nor where its journal has something that is not in the file system yet.
  const recovering = join(user.home, 'recovering.img');
  copyFileSync(image, recovering);
  runOk(['debugfs', '-w', '-R', 'feature needs_recovery', given(recovering)]);
  const unrecovered = fingerprint(recovering);
  assert.is(await output(recovering, 'ls /bin/sh', ['--read-only']), '/bin/sh\n');
  assert.is(fingerprint(recovering), unrecovered);
});

it('an image that the user may only read is read-only', async () => {
  const image = makeFileSystem(join(user.home, '../roots.img'), 'ext4', busyboxTree());
  chmodSync(image, 0o644);
  const { stdout, stderr } = await start(image, 'ls /bin/sh; echo x > /x');
  assert.is(stdout, '/bin/sh\n');
  assert.match(stderr, /Read-only file system/);
  chmodSync(image, 0o600);
  const { status, stderr: refused } = await start(image, 'true');
  assert.is(status, 1);
  assert.match(refused, /^reading the image .*roots\.img: .*Permission denied.*\n$/);
});

needs([...NEEDS, ...withIds, tool('fuse2fs'), ...makes('ext4')])('its users are those of the image', async () => {
  using tree = copyTree(busyboxTree());
  {
    const { path } = tree;
    writeFileSync(
      join(path, 'etc/passwd'),
      'root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\notto:x:1001:1001::/:/bin/sh\n',
    );
    writeFileSync(join(path, 'etc/group'), 'root:x:0:\nanna:x:1000:\notto:x:1001:\nshared:x:2000:anna\n');
    copyFileSync(join(path, 'bin/busybox'), join(path, 'bin/su-id'));
    writeFileSync(join(path, 'annas'), 'hers\n', { mode: 0o600 });
    writeFileSync(join(path, 'shared'), 'theirs\n', { mode: 0o660 });
    chownSync(join(path, 'annas'), 1000, 1000);
    chownSync(join(path, 'shared'), 0, 2000);
    chmodSync(join(path, 'bin/su-id'), 0o4755);
  }
  const image = imageOf('users.img', 'ext4', tree.path, rich);
  const asAnna = 'id -u; cat /annas /shared; cd ~; echo made > made; stat -c "%u %g" made /home/anna';
  assert.is(await output(image, asAnna, ['-u', 'anna'], rich), '1000\nhers\ntheirs\n1000 1000\n1000 1000\n');
  const asOtto =
    'cat /annas /shared 2>&1 | grep -c denied; chown otto /shared 2> /dev/null || echo no; cat /etc/hostname > /x || echo no';
  assert.match((await start(image, asOtto, ['-u', 'otto'], rich)).stdout, /^2\nno\nno\n$/);
  const asRoot = 'chown 1001:2000 /annas; chmod 640 /annas; stat -c "%u %g %a" /annas; stat -c %a /bin/su-id';
  assert.is(await output(image, asRoot, [], rich), '1001 2000 640\n4755\n');
  assert.is(await output(image, 'cat /annas', ['-u', 'anna'], rich), 'hers\n');
  const running = startNspawn(
    [...QUIET, '-M', 'with-users', '-i', image, '--', '/bin/sh', '-c', 'echo ready; read line'],
    {
      command: rich.nspawn,
      cwd: '/',
    },
  );
  await running.until('ready');
  const joined = await nspawn(['exec', '-u', 'anna', 'with-users', '/bin/id', '-u'], {
    command: rich.nspawn,
    cwd: '/',
  });
  assert.equal(joined, { status: 0, stdout: '1000\n', stderr: '' });
  running.child.stdin!.end('\n');
  await running.outcome;
  // Its root may have any of the user's subordinate ids.
  const others = [`--private-users=${SUBORDINATE.start + 1000}:2001`];
  assert.is(await output(image, 'echo x > /x; stat -c "%u %g" /x /annas', others, rich), '0 0\n1001 2000\n');
  // Who has no such ids sees them as nobody's.
  const copy = join(user.home, 'users.img');
  copyFileSync(image, copy);
  assert.is(await output(given(copy), 'stat -c "%u" /annas /bin/busybox'), '65534\n0\n');
  await assertReleased(image);
});

it('binds, + paths, a temporary file system, a network of its own', async () => {
  const image = imageOf('binds.img');
  mkdirSync(join(user.home, 'shared'));
  writeFileSync(join(user.home, 'shared/file'), 'shared\n');
  chownSync(join(user.home, 'shared'), UID, GID);
  const options = [
    `--bind=${user.home}/shared:/mnt/shared`,
    '--bind-ro=+/etc:/mnt/etc',
    '--overlay=+/usr::/usr',
    '--tmpfs=/scratch',
    '--private-network',
    '--inaccessible=/home',
  ];
  const script =
    'cat /mnt/shared/file; echo x > /mnt/shared/made; ls /mnt/etc > /dev/null; echo y > /usr/y; cat /usr/y; ls /home 2>/dev/null | wc -l; ls /sys/class/net';
  assert.is(await output(image, script, options), 'shared\ny\n0\nlo\n');
  assert.is(readFileSync(join(user.home, 'shared/made'), 'utf8'), 'x\n');
  assert.is(
    await output(image, 'ls -d /mnt/shared /scratch; ls /usr/y 2> /dev/null || echo gone'),
    '/mnt/shared\n/scratch\ngone\n',
  );
  await assertReleased(image);
});

it('a terminal and an init', async () => {
  const image = imageOf('terminal.img');
  const words = ['-q', '-i', image, '-a', '--', '/bin/sh', '-c', 'tty; echo $$; read line; echo $line > /said; exit 7'];
  await using session = atTerminal([...user.nspawn, ...words]);
  await session.until('/dev/console\r\n2\r\n');
  session.type('go\r');
  assert.is(await session.ended, 7);
  assert.is(await output(image, 'cat /said'), 'go\n');
  await assertReleased(image);
});

it('the library, and what is in the image once its container has ended', async () => {
  const image = imageOf('library.img');
  const program = join(user.home, 'program.ts');
  writeFileSync(
    program,
    `import { spawn } from '/mnt/src/index.ts';
     const options = { image: '${image}', timezone: 'off', resolvConf: 'off' } as const;
     for (const script of ['echo first >> /said', 'echo second >> /said', 'cat /said']) {
       await using container = await spawn({ ...options, command: ['/bin/sh', '-c', script] });
       container.stdin?.end();
       for await (const chunk of container.stdout ?? []) process.stdout.write(chunk);
       const { exitStatus } = await container.exited;
       if (exitStatus !== 0) throw new Error(String(exitStatus));
     }`,
  );
  const words = user.as('/mnt/node_modules/.bin/bun', given(program));
  const { status, stdout, stderr } = spawnSync(words[0]!, words.slice(1), {
    encoding: 'utf8',
    cwd: '/',
    timeout: 60_000,
  });
  assert.equal([status, stdout, stderr], [0, 'first\nsecond\n', '']);
  await assertReleased(image);
});

it('files that were deleted while they were open leave nothing behind', async () => {
  const image = imageOf('open.img');
  const script = 'i=3; while [ $i -lt 60 ]; do eval "exec $i> /open$i"; rm /open$i; i=$((i+1)); done; kill -9 $$';
  const words = [...QUIET, '-a', '-i', image, '--', '/bin/sh', '-c', script];
  await nspawn(words, { command: user.nspawn, cwd: '/' });
  assert.is(await output(image, 'ls -a / | grep -c hidden; true'), '0\n');
  await assertReleased(image);
});

it('one container writes to it', async () => {
  const image = imageOf('locked.img');
  const running = startNspawn(
    [...QUIET, '-M', 'on-image', '-i', image, '--', '/bin/sh', '-c', 'echo ready; read line; echo $line'],
    {
      command: user.nspawn,
      cwd: '/',
    },
  );
  await running.until('ready');
  for (const command of [user.nspawn, undefined]) {
    const words = [...QUIET, '-i', image, '--', '/bin/true'];
    const { status, stderr } = await nspawn(words, { ...(command && { command }), cwd: '/' });
    assert.is(status, 1);
    assert.match(stderr, /another container is running on this image\n$/);
  }
  const inside = await nspawn(['exec', 'on-image', '/bin/sh', '-c', 'id -u; echo by exec > /exec'], {
    command: user.nspawn,
    cwd: '/',
  });
  assert.equal(inside, { status: 0, stdout: '0\n', stderr: '' });
  running.child.stdin!.end('end\n');
  assert.is((await running.outcome).status, 0);
  assert.is(await output(image, 'cat /exec'), 'by exec\n');
  const [first, second] = await Promise.all(['a', 'b'].map(word => output(image, `echo ${word}`, ['--read-only'])));
  assert.equal([first, second], ['a\n', 'b\n']);
  await assertReleased(image);
});

it('after kill -9 nothing is left, and the file system is whole', async () => {
  const image = given(busyboxDisk(join(user.home, 'killed.img')));
  const script = 'echo kept > /kept; echo ready; i=0; while :; do echo $i > /home/$((i % 50)); i=$((i+1)); done';
  const running = startNspawn([...QUIET, '-a', '-i', image, '--', '/bin/sh', '-c', script], {
    command: user.nspawn,
    cwd: '/',
  });
  await running.until('ready');
  assert.is(helpers().length, 3);
  running.child.kill('SIGKILL');
  await running.outcome;
  await eventually('its processes have ended', () => helpers().length === 0);
  await assertReleased(image);
  assert.is(await output(image, 'cat /kept'), 'kept\n');
});

it('^C at a terminal asks the container to end, which still has its files then', async () => {
  const image = imageOf('interrupted.img');
  const script = `trap 'echo kept > /kept; cat /kept; exit 3' TERM; echo ready; while :; do sleep 0.1; done`;
  const words = [...QUIET, '--kill-signal=TERM', '-i', image, '--', '/bin/sh', '-c', script];
  const running = startNspawn(words, { command: ['setsid', ...user.nspawn], cwd: '/' });
  await running.until('ready');
  // To its whole process group.
  process.kill(-running.child.pid!, 'SIGINT');
  const { status, stdout } = await running.outcome;
  assert.equal([status, stdout], [3, 'ready\nkept\n']);
  await assertReleased(image);
  assert.is(await output(image, 'cat /kept'), 'kept\n');
});

it('a program that is killed meanwhile is complained of', async () => {
  const image = imageOf('lost.img');
  const running = startNspawn(
    [...QUIET, '-i', image, '--', '/bin/sh', '-c', 'echo ready; read line; ls / || echo lost'],
    {
      command: user.nspawn,
      cwd: '/',
    },
  );
  await running.until('ready');
  process.kill(Number(named('fuse2fs')[0]), 'SIGKILL');
  await eventually('it has ended', () => helpers().length === 0);
  running.child.stdin!.end('\n');
  const { stderr } = await running.outcome;
  assert.match(stderr, /fuse2fs has failed for the ext4 of .*lost\.img, it was killed: /);
  assert.equal(helpers(), []);
});

it('after an error nothing is left', async () => {
  const image = imageOf('error.img');
  const missing = await nspawn([...QUIET, '-i', image, '--', '/bin/not-there'], { command: user.nspawn, cwd: '/' });
  assert.is(missing.status, 1);
  assert.match(missing.stderr, /^looking for what is to be run: .* it has no \/bin\/not-there\n$/);
  assert.equal(helpers(), []);
  await assertReleased(image);

  const broken = imageOf('broken.img');
  // Without a checksum over it, its revision is one that nobody knows: struct ext4_super_block, s_rev_level.
  runOk(['tune2fs', '-O', '^metadata_csum', broken]);
  const superblock = openSync(broken, 'r+');
  writeSync(superblock, Buffer.of(9), 0, 1, 1024 + 0x4c);
  closeSync(superblock);
  const { status, stderr } = await start(broken, 'true');
  assert.is(status, 1);
  assert.match(stderr, /^mounting the ext4 of .*broken\.img by fuse2fs: .*revision too high.*\n$/);
  assert.equal(stderr.split('\n').length, 2);
  assert.equal(helpers(), []);
});

/** The words that start nspawn where a shell script is the program of this name. */
function withProgram(name: string, script: string): string[] {
  const programs = join(user.home, `programs for ${name}`);
  mkdirSync(programs);
  writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return user.as('sh', '-c', `PATH="${programs}:$PATH" exec "$0" "$@"`, ...user.nspawn.slice(-2));
}

it('a program cannot write to what shall stay as it is, and what it says is told', async () => {
  const image = imageOf('kept.img');
  const before = fingerprint(image);
  const script = 'for word; do source=$target; target=$word; done; echo x >> "$source"';
  const words = [...QUIET, '-i', image, '--read-only', '--', '/bin/true'];
  const { status, stderr } = await nspawn(words, { command: withProgram('fuse2fs', script), cwd: '/' });
  assert.is(status, 1);
  assert.match(stderr, /^mounting the ext4 of .*kept\.img by fuse2fs: .*kept\.img: Read-only file system\n$/);
  assert.is(fingerprint(image), before);
  assert.equal(helpers(), []);
});

needs([...NEEDS, ...makes('erofs')])('erofsfuse is told what its manual page says', async () => {
  const disk = join(user.home, 'erofs.img');
  given(makeDisk(disk, [{ type: ROOT, holds: 'erofs', tree: busyboxTree(), size: 8 }]));
  const words = [...QUIET, '-i', disk, '--', '/bin/true'];
  const { stderr } = await nspawn(words, { command: withProgram('erofsfuse', 'echo "$@"'), cwd: '/' });
  const told = stderr.slice(stderr.indexOf('erofsfuse: ')).trim();
  assert.is(told, `erofsfuse: -f -s --offset=1048576 -o allow_other,default_permissions,ro ${disk} /sys/0`);
});

/** A user who has none of the programs. */
const without = (who: OrdinaryUser) =>
  who.as('sh', '-c', 'mkdir -p ~/none; PATH=$HOME/none exec "$0" "$@"', ...who.nspawn.slice(-2));

needs([...NEEDS, ...makes('ext4'), ...makes('squashfs'), ...makes('erofs'), tool('mkfs.btrfs')])(
  'what can’t be is refused in one line, with what it takes',
  async () => {
    const images = Object.fromEntries(['ext4', 'squashfs', 'erofs'].map(kind => [kind, imageOf(`no-${kind}`, kind)]));
    const btrfs = join(user.home, 'no-btrfs');
    createImage(btrfs, 128 * MIB);
    runOk(['mkfs.btrfs', '-q', given(btrfs)]);
    const refusals: [string, string[], RegExp][] = [
      [
        images['ext4']!,
        without(user),
        /^mounting the ext4 of .* without root takes fuse2fs \(Debian's package fuse2fs\), which is not installed\n$/,
      ],
      [
        images['squashfs']!,
        without(user),
        /takes squashfuse \(Debian's package squashfuse\), which is not installed\n$/,
      ],
      [
        images['erofs']!,
        without(user),
        /takes erofsfuse \(of erofs-utils; Debian 12 has no package of it\), which is not installed\n$/,
      ],
      [btrfs, user.nspawn, /^mounting the btrfs of .* takes root: .* ext2, ext3, ext4, squashfs, erofs, .*\n$/],
    ];
    for (const [image, command, expected] of refusals) {
      const { status, stderr } = await nspawn([...QUIET, '-i', image, '--', '/bin/true'], { command, cwd: '/' });
      assert.is(status, 1);
      assert.match(stderr, expected);
    }
    const ephemeral = await start(images['ext4']!, 'true', ['-x']);
    assert.is(ephemeral.stderr, '--ephemeral of a disk image takes root; --volatile=overlay does without\n');
  },
);

test.run();
