/** --bind=, --bind-ro=, --tmpfs=, --overlay=, --overlay-ro= and --inaccessible=. */
import { execFileSync, spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Bind, ContainerOptions } from '../../src/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { commandLine, run, shell, startError, unchanging } from './support.ts';

const check = needs([root, busybox]);
const checkMounts = needs([root, busybox, tool('unshare'), tool('mount')]);
const withMounts = (options: ContainerOptions) => ({ ...unchanging(busyboxTree()), ...options });
const bind = (source: string, destination: string, changes: Partial<Bind> = {}): ContainerOptions => ({
  binds: [{ source, destination, readOnly: false, recursive: true, ...changes }],
});

/** Flags, source and file system options of a mount, as the container sees them. See proc_pid_mountinfo(5). */
const flagsOf = (path: string) => `grep ' ${path} ' /proc/self/mountinfo | cut -d ' ' -f 6,9-`;

/** A temporary directory on the host with `lower/f`, `lower/g`, `upper/` and a `file`. */
function hostFiles() {
  const directory = temporaryDirectory();
  for (const name of ['lower', 'second', 'upper']) mkdirSync(join(directory.path, name));
  writeFileSync(join(directory.path, 'lower/f'), 'of the lower\n');
  writeFileSync(join(directory.path, 'lower/g'), '');
  writeFileSync(join(directory.path, 'second/f'), 'of the second\n');
  writeFileSync(join(directory.path, 'file'), 'a file\n');
  return directory;
}

check('a bind shows a directory of the host, to read and write', async () => {
  using host = hostFiles();
  assert.is(
    await shell('cat /new/place/f; echo x >/new/place/x', withMounts(bind(`${host.path}/lower`, '/new/place'))),
    'of the lower',
  );
  assert.ok(existsSync(join(host.path, 'lower/x')));
});

check('a slash at the end of a place is nothing to a file', async () => {
  using host = hostFiles();
  using copy = copyTree(busyboxTree());
  const options = { directory: copy.path, ...bind(`${host.path}/file`, '/made/file//') };
  assert.is(await shell('cat /made/file', options), 'a file');
});

check('a read-only bind is that, with everything below it', async () => {
  using host = hostFiles();
  const { stdout, stderr } = await run({
    ...withMounts(bind(host.path, '/mnt', { readOnly: true })),
    command: ['/bin/sh', '-c', 'cat /mnt/file; echo x >/mnt/lower/x'],
  });
  assert.equal([stdout, stderr], ['a file', "/bin/sh: can't create /mnt/lower/x: Read-only file system"]);
});

checkMounts('mounts below a bind come along, read-only if it is, unless norbind', () => {
  using host = hostFiles();
  const before = `mount -t tmpfs x ${host.path}/lower; echo deep >${host.path}/lower/deep`;
  const words = (option: string) => ['-D', busyboxTree(), '--volatile=overlay', '--timezone=off', option];
  const show = ['/bin/sh', '-c', 'cat /m/lower/*; echo x >/m/lower/x'];
  assert.equal(Object.values(commandLine(before, ...words(`--bind=${host.path}:/m`), ...show)), [0, 'deep', '']);
  const readOnly = commandLine(before, ...words(`--bind-ro=${host.path}:/m`), ...show);
  assert.is(readOnly.stderr, "/bin/sh: can't create /m/lower/x: Read-only file system");
  assert.is(commandLine(before, ...words(`--bind=${host.path}:/m:norbind`), ...show).stdout, 'of the lower');
});

check('files, fifos and sockets can be bound, and a mount point of the same type is made', async () => {
  using host = hostFiles();
  execFileSync('mkfifo', [`${host.path}/fifo`]);
  const types = { file: 'regular file', fifo: 'fifo' };
  for (const [name, type] of Object.entries(types)) {
    using copy = copyTree(busyboxTree());
    const made = `/made/${name}`;
    assert.is(await shell(`stat -c %F ${made}`, { directory: copy.path, ...bind(`${host.path}/${name}`, made) }), type);
    assert.is(
      execFileSync('stat', ['-c', '%F', `${copy.path}${made}`], { encoding: 'utf8' }).trim(),
      name === 'file' ? 'regular empty file' : 'fifo',
    );
  }
  const server = createServer().listen(`${host.path}/socket`);
  await once(server, 'listening');
  assert.is(await shell('stat -c %F /made/s', withMounts(bind(`${host.path}/socket`, '/made/s'))), 'socket');
  server.close();
});

check('no mount point is made for a device; on one that is there it can be bound', async () => {
  assert.is(
    await startError({ ...withMounts(bind('/dev/null', '/dev/other')), command: ['/bin/true'] }),
    'binding /dev/null to /dev/other: the container has no /dev/other, and no mount point is made for a character device',
  );
  assert.is(await shell('stat -c %t:%T /dev/zero', withMounts(bind('/dev/null', '/dev/zero'))), '1:3');
});

check('types must match', async () => {
  using host = hostFiles();
  const errorOf = (options: ContainerOptions) => startError({ ...withMounts(options), command: ['/bin/true'] });
  assert.is(
    await errorOf(bind(`${host.path}/file`, '/etc')),
    `binding ${host.path}/file to /etc: it is a regular file, but /etc is a directory`,
  );
  assert.is(
    await errorOf(bind(host.path, '/etc/passwd')),
    `binding ${host.path} to /etc/passwd: it is a directory, but /etc/passwd is a regular file`,
  );
  assert.is(
    await errorOf(bind(host.path, '/dev/null')),
    `binding ${host.path} to /dev/null: it is a directory, but /dev/null is a character device`,
  );
});

check("what is missing on the host, or can't be made in the container, is a clear error", async () => {
  const nowhere = await startError({ ...withMounts(bind('/nonexistent', '/mnt')), command: ['/bin/true'] });
  assert.match(nowhere, /^opening \/nonexistent: [^\n]*No such file or directory \(ENOENT\)$/);
  const readOnly = await startError({
    directory: busyboxTree(),
    readOnly: true,
    ...bind('/tmp', '/no/such'),
    command: ['/bin/true'],
  });
  assert.match(readOnly, /^binding \/tmp to \/no\/such: [^\n]*Read-only file system \(EROFS\)$/);
});

check('over the root directory nothing can be mounted', async () => {
  for (const options of [bind('/tmp', '/'), { tmpfs: [{ path: '//', options: '' }] }, { inaccessible: ['/.'] }]) {
    assert.match(
      await startError({ ...withMounts(options), command: ['/bin/true'] }),
      "a mount can't be made over the root directory",
    );
  }
});

check('a bind goes through the symlinks of the container, inside it, also to what is missing', async () => {
  using host = hostFiles();
  using copy = copyTree(busyboxTree());
  for (const [name, target] of [
    ['there', '/var'],
    ['missing', '../../../deep/missing'],
    ['chain', 'missing'],
  ] as const) {
    symlinkSync(target, join(copy.path, 'home', name));
  }
  const show = (name: string, path: string) =>
    shell(`cat ${path}`, { directory: copy.path, ...bind(`${host.path}/file`, `/home/${name}`) });
  assert.is(await show('there/f', '/var/f'), 'a file');
  assert.is(await show('missing', '/deep/missing'), 'a file');
  assert.is(await show('chain', '/deep/missing'), 'a file');
  assert.not.ok(existsSync('/deep'));
});

check("a source with + is the tree's own, and an empty one a directory that goes with the container", async () => {
  assert.match(await shell('cat /mnt/passwd', withMounts(bind('+/etc', '/mnt'))), 'root:x:0:0');
  assert.is(
    await shell(`echo x >/mnt/x; ls /mnt; ${flagsOf('/mnt')}`, withMounts(bind('', '/mnt'))),
    'x\nrw tmpfs rw,mode=755',
  );
});

check('more binds than fit in one message', async () => {
  const binds = Array.from({ length: 300 }, (_, i) => bind(busyboxTree(), `/run/${i}`, { readOnly: true }).binds![0]!);
  assert.is(await shell('ls -d /run/*/usr | wc -l', withMounts({ binds })), '300');
});

check('a tmpfs is nodev and has mode 755 and strict times, or as its options say', async () => {
  const tmpfs = [
    { path: '/a', options: 'mode=0755' },
    { path: '/b/b', options: 'size=1M,mode=700,noexec,dev' },
    { path: '/c', options: 'ro,relatime,nosuid' },
  ];
  const output = await shell(
    `${flagsOf('/a')}; ${flagsOf('/b/b')}; ${flagsOf('/c')}; stat -c %a /a /b /b/b`,
    withMounts({ tmpfs }),
  );
  assert.equal(output.split('\n'), [
    'rw,nodev tmpfs rw,mode=755',
    'rw,noexec tmpfs rw,size=1024k,mode=700',
    'ro,nosuid,nodev,relatime tmpfs rw',
    ...['755', '755', '700'],
  ]);
});

check('an option that the file system does not know is a clear error', async () => {
  const error = await startError({
    ...withMounts({ tmpfs: [{ path: '/a', options: 'mode=hello' }] }),
    command: ['/bin/true'],
  });
  assert.match(error, /^mounting tmpfs on \/a \(mode=hello\): [^\n]*Invalid argument \(EINVAL\)$/);
});

check('binds come first, then read-only ones, then tmpfs, in the order in which they were asked for', async () => {
  using host = hostFiles();
  const options = {
    binds: [
      ...bind(`${host.path}/second`, '/mnt/x', { readOnly: true }).binds!,
      ...bind(`${host.path}/lower`, '/mnt').binds!,
    ],
    tmpfs: [{ path: '/mnt/x/y', options: '' }],
  };
  mkdirSync(join(host.path, 'lower/x'));
  mkdirSync(join(host.path, 'second/y'));
  const show = "grep ' /mnt' /proc/self/mountinfo | cut -d ' ' -f 5; cat /mnt/f /mnt/x/f";
  assert.is(await shell(show, withMounts(options)), '/mnt\n/mnt/x\n/mnt/x/y\nof the lower\nof the second');
});

check('what is inaccessible is empty and without any permission, whatever it is', async () => {
  const inaccessible = ['/etc/passwd', '/home', '/dev/null'];
  const show = `stat -c '%n %F %a' ${inaccessible.join(' ')}; ls /home; echo x >/home/x`;
  const { stdout, stderr } = await run({ ...withMounts({ inaccessible }), command: ['/bin/sh', '-c', show] });
  assert.equal(stdout.split('\n'), [
    ...['/etc/passwd regular empty file 0', '/home directory 0', '/dev/null character special file 0'],
  ]);
  assert.match(stderr, "can't create /home/x: Read-only file system");
  assert.is(
    await startError({ ...withMounts({ inaccessible: ['/no'] }), command: ['/bin/true'] }),
    'making /no inaccessible: there is no /no in the container',
  );
});

const overlay = (lower: string[], upper?: string, destination = '/mnt'): ContainerOptions => ({
  overlays: [{ lower, ...(upper !== undefined && { upper }), destination, readOnly: upper === undefined }],
});
const hidden = (directory: string) => readdirSync(directory).filter(name => name.startsWith('.#'));

check('an overlay shows its layers, the last one on top, and writes to the upper one', async () => {
  using host = hostFiles();
  const { path } = host;
  const script = 'cat /mnt/f; rm /mnt/f /mnt/g; mkdir /mnt/d; mv /mnt/d /mnt/e; echo new >/mnt/new; ls /mnt';
  assert.is(
    await shell(script, withMounts(overlay([`${path}/lower`, `${path}/second`], `${path}/upper`))),
    'of the second\ne\nnew',
  );
  assert.equal(readdirSync(`${path}/upper`).sort(), ['e', 'f', 'g', 'new']);
  assert.equal(hidden(path), [], 'the working directory is gone');
});

check('a read-only overlay, one with an upper layer in memory, and one of the tree itself', async () => {
  using host = hostFiles();
  const { path } = host;
  const { stdout, stderr } = await run({
    ...withMounts(overlay([`${path}/lower`, `${path}/second`])),
    command: ['/bin/sh', '-c', 'cat /mnt/f; echo >/mnt/x'],
  });
  assert.equal([stdout, stderr], ['of the second', "/bin/sh: can't create /mnt/x: Read-only file system"]);
  assert.is(await shell('rm /mnt/f; ls /mnt', withMounts(overlay([`${path}/lower`], ''))), 'g');
  assert.is(
    await shell(
      'cat /etc/passwd | wc -l; rm /etc/passwd; ls /etc/passwd 2>/dev/null; :',
      withMounts(overlay(['+/etc'], '', '/etc')),
    ),
    '2',
  );
});

check('several overlays, with characters in their paths that separate layers', async () => {
  using host = hostFiles();
  const odd = join(host.path, 'a:b,c\\d "e"');
  mkdirSync(join(odd, 'lower'), { recursive: true });
  mkdirSync(join(odd, 'upper'));
  const overlays = ['/one', '/two', '/three'].map((destination, i) => ({
    ...overlay([`${host.path}/lower`, `${odd}/lower`], i === 0 ? `${odd}/upper` : '').overlays![0]!,
    destination,
  }));
  assert.is(
    await shell('for d in one two three; do echo x >/$d/x; ls /$d | wc -l; done', withMounts({ overlays })),
    '3\n3\n3',
  );
  assert.equal(hidden(odd), []);
});

check('an upper layer behind a symlink is where that leads to, inside the tree for one of the tree', async () => {
  using host = hostFiles();
  using copy = copyTree(busyboxTree());
  mkdirSync(join(copy.path, 'deep/real'), { recursive: true });
  for (const [name, target] of [
    ['inside', '/deep/real'],
    ['outside', `${host.path}/second`],
    ['up', '../'.repeat(20) + host.path],
  ] as const) {
    symlinkSync(target, join(copy.path, 'home', name));
  }
  symlinkSync('upper', join(host.path, 'link'));
  const script = ['/bin/sh', '-c', 'echo new >/mnt/new'];
  assert.is((await run({ ...withMounts(overlay(['+/etc'], `${host.path}/link`)), command: script })).status, 0);
  assert.equal(readdirSync(join(host.path, 'upper')), ['new']);
  const of = (upper: string) => ({ directory: copy.path, ...overlay(['+/etc'], upper), command: script });
  assert.is((await run(of('+/home/inside'))).status, 0);
  assert.equal(readdirSync(join(copy.path, 'deep/real')), ['new']);
  for (const name of ['outside', 'up']) {
    assert.match(
      await startError(of(`+/home/${name}`)),
      new RegExp(
        `^making an overlay \\(overlay 0\\) of /etc of the tree, writing to ${name} in /home of the tree: [^\\n]*$`,
      ),
    );
  }
  assert.equal([readdirSync(join(host.path, 'second')), hidden(host.path)], [['f'], []]);
});

check('an upper layer that is the root directory, or nowhere, is a clear error', async () => {
  assert.match(
    await startError({ ...withMounts(overlay(['/tmp'], '/')), command: ['/bin/true'] }),
    'which has no room for a working directory',
  );
  const missing = await startError({ ...withMounts(overlay(['/tmp'], '/nonexistent/upper')), command: ['/bin/true'] });
  assert.match(missing, /^opening \/nonexistent: [^\n]*\(ENOENT\)$/);
});

check('the working directory goes also when the start fails, and when nspawn is killed', async () => {
  using host = hostFiles();
  const { path } = host;
  const options = overlay([`${path}/lower`], `${path}/upper`);
  await startError({ ...withMounts(options), command: ['/bin/true'], inaccessible: ['/no'] });
  assert.equal(hidden(path), []);

  const words = ['-D', busyboxTree(), '--volatile=overlay', `--overlay=${path}/lower:${path}/upper:/mnt`];
  await killedWith(words, 'rm /mnt/f', () => assert.is(hidden(path).length, 1));
  assert.equal(hidden(path), []);
  assert.equal(readdirSync(`${path}/upper`), ['f'], 'the upper layer stays');
});

/** Runs nspawn with a script, then kills nspawn, and waits until its janitor has done its work. */
async function killedWith(words: string[], script: string, then = () => {}): Promise<void> {
  const main = join(import.meta.dirname, '../../src/cli/main.ts');
  const command = [
    main,
    '-q',
    '-P',
    '--timezone=off',
    ...words,
    '/bin/sh',
    '-c',
    `${script}; echo ready; exec sleep 1000`,
  ];
  const nspawn = spawnProcess(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(nspawn.stdout!, 'data');
  const children = readFileSync(`/proc/${nspawn.pid}/task/${nspawn.pid}/children`, 'utf8').trim().split(' ');
  then();
  nspawn.kill('SIGKILL');
  await once(nspawn, 'exit');
  for (let tries = 0; tries < 400 && children.some(isAlive); tries++) await setTimeout(25);
  assert.equal(children.filter(isAlive), []);
}

function isAlive(pid: string): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

check('a symlink in place of the working directory leads nowhere', async () => {
  using copy = copyTree(busyboxTree());
  using victim = temporaryDirectory();
  for (const name of ['work', 'index']) mkdirSync(join(victim.path, name));
  mkdirSync(join(copy.path, 'layers/upper'), { recursive: true });
  mkdirSync(join(victim.path, 'work/kept'));
  // As root of a tree that has its own upper layer, a payload can write beside it.
  const script = `cd /layers; for d in .#*; do mv $d away; ln -s ${victim.path} $d; done`;
  const options = { directory: copy.path, ...overlay(['+/etc'], '+/layers/upper') };
  const { log } = await run({ ...options, command: ['/bin/sh', '-c', script] });
  assert.is(log.filter(line => line.startsWith('warn: removing the working directory')).length, 1);
  await killedWith(['-D', copy.path, '--overlay=+/etc:+/layers/upper:/mnt'], script);
  await killedWith(
    ['-D', copy.path, '--overlay=+/etc:+/layers/upper:/mnt'],
    `rmdir /layers/upper; ln -s ${victim.path}/index /layers/upper`,
  );
  assert.equal(readdirSync(victim.path, { recursive: true }).sort(), ['index', 'work', 'work/kept']);
});

check('a bind is found also while files are renamed all over the machine', async () => {
  // openat2(2) gives up on a `..` then, and must be asked again.
  using host = hostFiles();
  using copy = copyTree(busyboxTree());
  mkdirSync(join(copy.path, 'a/b/c'), { recursive: true });
  const there = '../b/../b/../../a/b/c/../../..';
  symlinkSync(`${there}/home`, join(copy.path, 'a/b/link'));
  renameSync(join(copy.path, 'etc'), join(copy.path, 'configuration'));
  symlinkSync(`a/b/${there}/configuration`, join(copy.path, 'etc'));
  const script = `const { renameSync } = require('node:fs'); console.log('ready'); for (;;) { renameSync('lower/g', 'upper/g'); renameSync('upper/g', 'lower/g'); }`;
  const renaming = spawnProcess(process.execPath, ['-e', script], {
    cwd: host.path,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(renaming.stdout!, 'data');
    for (let i = 0; i < 30; i++) {
      const options = { directory: copy.path, user: 'guest', ...bind(`${host.path}/file`, `/a/b/link/file`) };
      assert.is(await shell('cat /home/file; id -u', options), 'a file\n1000');
    }
  } finally {
    renaming.kill('SIGKILL');
  }
  assert.is(readFileSync(join(host.path, 'file'), 'utf8'), 'a file\n');
});

test.run();
