/** --ephemeral: what a container writes is there for it, and for nobody else or later. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../src/index.ts';
import { NSPAWN, nspawn } from '../cli/support.ts';
import { eventually } from '../console/support.ts';
import { commandLine, idle, run, shell, startError } from '../container/support.ts';
import { busyboxDisk } from '../image/images.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { fingerprint, hiddenIn, place } from './support.ts';

const check = needs([root, busybox]);
const checkMounts = needs([root, busybox, tool('unshare'), tool('mount')]);
const ephemeral = (directory: string) => ({ directory, ephemeral: true, timezone: 'off', resolvConf: 'off' }) as const;

check('changes are seen inside, and the tree stays as it is', async () => {
  using at = place();
  const before = fingerprint(at.tree);
  const script =
    'echo new >/etc/new; echo more >>/etc/passwd; rm /etc/group; chmod 700 /var; rmdir /var/tmp; ls /etc; tail -n 1 /etc/passwd';
  assert.is(await shell(script, ephemeral(at.tree)), 'hostname\nnew\nos-release\npasswd\nmore');
  assert.is(fingerprint(at.tree), before);
  assert.equal(at.hidden(), []);
});

check('what is written is on the disk beside the tree, for root only, and gone at the end', async () => {
  using at = place();
  const container = await idle(ephemeral(at.tree));
  assert.is(at.hidden().length, 1);
  const hidden = join(at.path, at.hidden()[0]!);
  const { mode, dev } = statSync(hidden);
  assert.is(mode & 0o777, 0o700);
  assert.is(dev, statSync(at.tree).dev);
  await container[Symbol.asyncDispose]();
  assert.equal(at.hidden(), []);
});

check('a tree can be run from many times at once: each has its name and its changes', async () => {
  using at = place();
  const script = 'echo $$ >/run-by; hostname; echo x >>/count; sleep 0.3; cat /count';
  const outputs = await Promise.all([1, 2, 3].map(() => shell(script, ephemeral(at.tree))));
  const names = outputs.map(output => output.split('\n')[0]!);
  assert.is(new Set(names).size, 3);
  for (const name of names) assert.match(name, /^tree-[0-9a-f]{16}$/);
  for (const output of outputs) assert.is(output.split('\n')[1], 'x');
  assert.equal(readdirSync(at.path), ['tree']);
});

check('the machine keeps a name that was given, and a long one of the tree leaves room for the digits', async () => {
  using at = place();
  assert.is(await shell('hostname', { ...ephemeral(at.tree), machine: 'given' }), 'given');
  assert.is(await shell('hostname', { ...ephemeral(at.tree), hostname: 'host' }), 'host');
  const long = join(at.path, 'x'.repeat(80));
  execFileSync('cp', ['--archive', at.tree, long]);
  assert.match(await shell('hostname', ephemeral(long)), /^x{47}-[0-9a-f]{16}$/);
});

check('a container that restarts finds what it has written, under the same name', async () => {
  using at = place();
  const init = join(at.tree, 'sbin/init');
  rmSync(init);
  const script = 'hostname >>/boots; [ $(wc -l </boots) = 3 ] && cat /boots && poweroff -f; reboot -f';
  writeFileSync(init, `#!/bin/sh\n${script}\n`);
  chmodSync(init, 0o755);
  const { status, stdout } = await nspawn([
    '-q',
    '-P',
    '-x',
    '-b',
    '-D',
    at.tree,
    '--timezone=off',
    '--resolv-conf=off',
  ]);
  assert.is(status, 0);
  const names = stdout.trim().split('\n');
  assert.is(names.length, 3);
  assert.is(new Set(names).size, 1);
  assert.not.ok(existsSync(join(at.tree, 'boots')));
  assert.equal(at.hidden(), []);
});

check('the root directory looks as in the tree', async () => {
  using at = place();
  chmodSync(at.tree, 0o2751);
  chownSync(at.tree, 1000, 5);
  chmodSync(at.tree, 0o2751);
  assert.is(await shell('stat -c "%a %u %g" /', ephemeral(at.tree)), '2751 1000 5');
});

check('goes together with other options', async () => {
  using at = place();
  const options = ephemeral(at.tree);
  assert.is((await run({ ...options, readOnly: true, command: ['/bin/touch', '/x'] })).status, 1);
  assert.is(
    await shell('touch /var/x && ! touch /x 2>/dev/null && echo yes', { ...options, volatile: 'state' }),
    'yes',
  );
  assert.is(
    await shell('touch /x; hostname', { ...options, volatile: 'overlay' }).then(name => name.slice(0, 5)),
    'tree-',
  );
  assert.is(await shell('id -un', { ...options, user: 'guest' }), 'guest');
  mkdirSync(join(at.path, 'data'));
  const bind = { source: join(at.path, 'data'), destination: '/data', readOnly: false, recursive: true };
  await shell('echo kept >/data/file', { ...options, binds: [bind] });
  assert.ok(existsSync(join(at.path, 'data/file')), 'what is bound is no part of the root');
  const inside = { source: '+/etc', destination: '/copy', readOnly: false, recursive: true };
  assert.is(await shell('echo x >/copy/x; cat /etc/x', { ...options, binds: [inside] }), 'x');
  const overlay = { lower: ['+/usr', '+/etc'], upper: '', destination: '/mix', readOnly: false };
  assert.is(
    await shell('echo x >/mix/x; cat /mix/x; ls /mix/hostname', { ...options, overlays: [overlay] }),
    'x\n/mix/hostname',
  );
  assert.not.ok(existsSync(join(at.tree, 'etc/x')));
  assert.equal(at.hidden(), []);
});

check('a tree that somebody else writes to is refused, and one that others read is not', async () => {
  using at = place();
  await using writer = await idle({ directory: at.tree });
  assert.match(await startError({ ...ephemeral(at.tree), command: ['/bin/true'] }), /another container is running/);
  await writer[Symbol.asyncDispose]();
  await using _ = await idle({ directory: at.tree, readOnly: true });
  assert.is(await shell('echo fine', ephemeral(at.tree)), 'fine');
});

check('a start that fails leaves nothing', async () => {
  using at = place();
  const options = ephemeral(at.tree);
  assert.match(await startError({ ...options, command: ['/no/such'] }), /it has no \/no\/such$/);
  assert.match(await startError({ ...options, inaccessible: ['/no'], command: ['/bin/true'] }), /\/no/);
  assert.equal(at.hidden(), []);
  assert.is((await run({ directory: at.tree, command: ['/bin/true'] })).status, 0, 'nor a lock');
});

check("the host's own system can be run from, without its mounts and with nothing changed", async () => {
  using directory = execFileSync('mktemp', ['-d', '/var/tmp/nspawn-test-XXXXXX'], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map(path => ({ path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }))[0]!;
  const script = `ls -a /var/tmp; echo x >${directory.path}/inside; cat ${directory.path}/inside; hostname; cat /proc/self/mountinfo`;
  const others = hiddenIn('/var/tmp');
  const lines = (await shell(script, { ...ephemeral('/'), timezone: 'off' })).split('\n');
  assert.equal(readdirSync(directory.path), []);
  const mine = lines.indexOf('x');
  const plain = hostname().replace(/[^a-zA-Z0-9.-]/g, '');
  assert.match(lines[mine + 1]!, new RegExp(`^${plain}-[0-9a-f]{16}$`));
  // Not its own layer, though it lies in what the container sees.
  assert.equal(
    lines.slice(0, mine).filter(name => name.startsWith('.#nspawn-') && !others.includes(name)),
    [],
  );
  const points = lines.slice(mine + 2).map(line => line.split(' ')[4]!);
  assert.equal(
    points.filter(point => !/^\/($|dev|proc|sys|run)/.test(point)),
    [],
  );
});

checkMounts('mounts below the tree are not in it', () => {
  using at = place();
  const before = `mount -t tmpfs none ${at.tree}/home; touch ${at.tree}/home/mounted`;
  const { stdout, stderr } = commandLine(
    before,
    '-x',
    '-D',
    at.tree,
    '--timezone=off',
    '--resolv-conf=off',
    '/bin/ls',
    '/home',
  );
  assert.equal([stdout, stderr], ['guest', '']);
});

checkMounts('where nothing can be beside the tree, what is written is in /var/tmp', () => {
  using at = place();
  const before = `mount --bind ${at.path} ${at.path}; mount -o remount,bind,ro ${at.path}; mount -t tmpfs none /var/tmp`;
  const script = 'echo x >/x; cat /x';
  const words = ['-x', '-D', at.tree, '--timezone=off', '--resolv-conf=off', '/bin/sh', '-c', script];
  const { stdout, stderr } = commandLine(before, ...words);
  assert.equal([stdout, stderr], ['x', '']);
  const full = `${before}; mount -o remount,ro /var/tmp`;
  const refused = commandLine(full, ...words);
  assert.match(
    refused.stderr,
    /^making a writable layer over the root directory: in .*EROFS.*; in \/var\/tmp: .*EROFS/,
  );
  assert.is(refused.status, 1);
});

/** Puts an overlay in the place of a directory: no other one can have its upper layer there. */
const overlaid = (path: string) =>
  `mount -t tmpfs none /mnt; mkdir /mnt/u /mnt/w; mount -t overlay none -o lowerdir=${path},upperdir=/mnt/u,workdir=/mnt/w ${path}`;

checkMounts('nor where a file system beside the tree, or the image, can have no upper layer', () => {
  using at = place();
  const image = busyboxDisk(join(at.path, 'disk.raw'));
  const before = `${overlaid(at.path)}; mount -t tmpfs none /var/tmp`;
  const words = ['--timezone=off', '--resolv-conf=off', '/bin/sh', '-c', 'echo x >/x; cat /x'];
  for (const source of [
    ['-D', at.tree],
    ['-i', image],
    ['-U', '-i', image],
  ]) {
    const { stdout, stderr } = commandLine(before, '-x', ...source, ...words);
    assert.equal([stdout, stderr], ['x', ''], source.join(' '));
  }
  const nowhere = `${before}; mount --bind ${at.path} /var/tmp`;
  assert.is(
    commandLine(nowhere, '-x', '-D', at.tree, ...words).stderr,
    `making a writable layer over the root directory: in ${at.path}: its file system can't have the upper layer of this overlay; in /var/tmp: its file system can't have the upper layer of this overlay`,
  );
  assert.equal(readdirSync(at.path).sort(), ['disk.raw', 'tree']);
});

check('what was left by a killed run is removed by the next one, and by --cleanup; nothing else is', async () => {
  using at = place();
  const leave = (name: string, mode = 0o700) => {
    mkdirSync(join(at.path, name, 'upper/a/b'), { recursive: true });
    chmodSync(join(at.path, name), mode);
  };
  leave('.#nspawn-0123456789abcdef');
  leave('.#nspawn-fedcba9876543210', 0o755);
  leave('.#other');
  writeFileSync(join(at.path, '.#nspawn-file'), '');
  const others = ['.#nspawn-fedcba9876543210', '.#nspawn-file', '.#other'];
  await using container = await spawn({ ...ephemeral(at.tree), command: ['/bin/sleep', '1000'] });
  const [own = ''] = at.hidden().filter(name => !others.includes(name));
  assert.equal(at.hidden().sort(), [...others, own].sort(), 'the leftover is gone, whose mode says that it is ours');
  leave('.#nspawn-0123456789abcdef');
  const { status, stderr } = await nspawn(['--cleanup', at.path]);
  assert.equal([status, stderr], [0, '']);
  assert.equal(hiddenIn(at.path).sort(), [...others, own].sort(), 'one that is in use stays');
  container.kill();
  await container.exited;
  assert.equal(at.hidden().sort(), others);
  assert.match((await nspawn(['--cleanup', '/no/such'])).stderr, /^looking through \/no\/such: .*ENOENT/);
});

needs([root, busybox, tool('strace')])('other containers load nothing of it', () => {
  using at = place();
  const trace = join(at.path, 'trace');
  const strace = ['--follow-forks', '--trace=openat', `--output=${trace}`];
  execFileSync('strace', [...strace, ...NSPAWN, '-q', '-P', '-D', at.tree, '--timezone=off', 'true']);
  const loaded = readFileSync(trace, 'utf8').match(/"[^"]+\.ts"/g)!;
  assert.ok(loaded.some(path => path.endsWith('/src/spawn.ts"')));
  assert.equal(
    loaded.filter(path => /src\/trees|container\/(ephemeral|template|prepared)|syscalls\/(btrfs|directory)/.test(path)),
    [],
  );
});

needs([root, busybox, tool('strace')])('nothing is left when nspawn is killed before it has the lock', async () => {
  using at = place();
  // The first one is that of the tree.
  const killing = ['strace', '-f', '-o', '/dev/null', '-e', 'inject=flock:signal=SIGKILL:when=2'];
  const words = ['-q', '-P', '-x', '-D', at.tree, '--timezone=off', '--resolv-conf=off', '/bin/true'];
  const { status } = await nspawn(words, { command: [...killing, ...NSPAWN] });
  assert.is(status, 'SIGKILL');
  await eventually('what was made is removed', () => at.hidden().length === 0);
});

test.run();
