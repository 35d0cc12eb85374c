/** Where a container's root comes from, what is refused, and who may use it at the same time. */
import { execFileSync, spawn as spawnProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SpawnOptions } from '../../src/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { commandLine, idle, run, shell, startError } from './support.ts';

const check = needs([root, busybox]);
const checkCommandLine = needs([root, busybox, tool('unshare'), tool('mount')]);
const nothing = { command: ['/bin/true'] };

check('the machine, and its host, are named after the root directory', async () => {
  using parent = temporaryDirectory();
  for (const [name, machine] of [
    ['plain', 'plain'],
    ['Web_1!.x-', 'Web1.x'],
    ['-a..b-', 'a.b'],
    ['ü-über', 'ber'],
  ]) {
    const directory = join(parent.path, name!);
    execFileSync('cp', ['--archive', busyboxTree(), directory]);
    assert.is(await shell('hostname', { directory }), machine);
  }
});

check('a symlink to a root directory is followed first', async () => {
  using parent = temporaryDirectory();
  symlinkSync(busyboxTree(), join(parent.path, 'other-name'));
  const options = { directory: join(parent.path, 'other-name'), readOnly: true };
  assert.is(await shell('hostname', options), basename(realpathSync(busyboxTree())));
});

check("the host's own root directory has the host's name, and needs to be volatile", async () => {
  assert.is(
    await startError({ directory: '/', ...nothing }),
    'starting a container on the root directory / needs --ephemeral or --volatile: it would write to the running system',
  );
  assert.match(await startError({ directory: '/', readOnly: true, ...nothing }), 'needs --ephemeral or --volatile');
  for (const volatile of ['overlay', 'state', 'yes'] as const) {
    const name = await shell('cat /proc/sys/kernel/hostname; [ -e /proc/self/stat ]', { directory: '/', volatile });
    assert.is(name, hostname().replace(/[^a-zA-Z0-9.-]/g, ''), volatile);
  }
});

checkCommandLine('-M alone looks in /var/lib/machines', () => {
  const before = `mount -t tmpfs machines /var/lib/machines; cp -a ${busyboxTree()} /var/lib/machines/web`;
  const { stdout, stderr } = commandLine(before, '-M', 'web', '--timezone=off', '/bin/hostname');
  assert.equal([stdout, stderr], ['web', '']);
  assert.is(
    commandLine(before, '-M', 'none', '/bin/true').stderr,
    'opening the root directory /var/lib/machines/none: no such directory',
  );
});

checkCommandLine('without -D and -M it is the working directory', () => {
  using copy = copyTree(busyboxTree());
  assert.is(commandLine(`cd ${copy.path}`, '--timezone=off', '/bin/hostname').stdout, basename(copy.path));
});

check('what is no tree is refused, and nothing is made in it', async () => {
  using directory = temporaryDirectory();
  const { path } = directory;
  assert.is(
    await startError({ directory: `${path}/no`, ...nothing }),
    `opening the root directory ${path}/no: no such directory`,
  );
  writeFileSync(join(path, 'file'), '');
  assert.is(
    await startError({ directory: `${path}/file`, ...nothing }),
    `opening the root directory ${path}/file: it is not a directory`,
  );
  const empty = { directory: path };
  assert.is(await startError({ ...empty, command: ['true'] }), `starting a container on ${path}: it has no /usr/bin`);
  assert.is(await startError(empty), `starting a container on ${path}: it has no /usr/bin`);
  assert.is(await startError({ ...empty, command: ['/opt/x'] }), `starting a container on ${path}: it has no /opt/x`);
  assert.is(
    await startError({ ...empty, boot: true }),
    `booting ${path}: it is no OS tree, as it has neither /etc/os-release nor /usr/lib/os-release`,
  );
  assert.equal(readdirSync(path), ['file']);
});

check('an absolute command is looked for in the tree, through its symlinks', async () => {
  using copy = copyTree(busyboxTree());
  symlinkSync('/usr/bin/busybox', join(copy.path, 'usr/bin/to-busybox'));
  symlinkSync('/etc/passwd', join(copy.path, 'to-the-tree'));
  symlinkSync(import.meta.filename, join(copy.path, 'to-the-host'));
  assert.is(
    (await run({ directory: copy.path, command: ['/usr/bin/to-busybox', 'true'] })).status,
    127,
    'it is there, and run',
  );
  assert.match(await startError({ directory: copy.path, command: ['/to-the-host'] }), /it has no \/to-the-host$/);
});

const busy = (tree: string) => `starting a container on ${tree}: another container is running on this tree`;

check('a tree has one writer, or several readers', async () => {
  using copy = copyTree(busyboxTree());
  const ways: Record<string, SpawnOptions> = {
    write: {},
    'read-only': { readOnly: true },
    overlay: { volatile: 'overlay' },
    state: { volatile: 'state' },
    yes: { volatile: 'yes' },
  };
  for (const [first, options] of Object.entries(ways)) {
    await using _ = await idle({ directory: copy.path, ...options });
    for (const [second, more] of Object.entries(ways)) {
      const together = { directory: copy.path, ...more, ...nothing };
      const what = `${first}, then ${second}`;
      if (first === 'write' || second === 'write') assert.is(await startError(together), busy(copy.path), what);
      else assert.is((await run(together)).status, 0, what);
    }
  }
  assert.is((await run({ directory: copy.path, ...nothing })).status, 0, 'all have ended');
});

check('the lock holds by other names of the tree, and in other processes, and goes with a killed nspawn', async () => {
  using copy = copyTree(busyboxTree());
  using parent = temporaryDirectory();
  symlinkSync(copy.path, join(parent.path, 'link'));
  const main = join(import.meta.dirname, '../../src/cli/main.ts');
  const words = ['-q', '-P', '-D', join(parent.path, 'link'), '/bin/sh', '-c', 'echo ready; exec sleep 1000'];
  const nspawn = spawnProcess(process.execPath, [main, ...words], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(nspawn.stdout!, 'data');
  assert.is(await startError({ directory: copy.path, ...nothing }), busy(copy.path));
  nspawn.kill('SIGKILL');
  await once(nspawn, 'exit');
  for (let tries = 0; tries < 100; tries++) {
    const ended = await run({ directory: copy.path, ...nothing }).catch(() => undefined);
    if (ended) return;
    await setTimeout(50);
  }
  assert.unreachable('the tree is still locked');
});

check('a command may be in what is bound into the container', async () => {
  const bind = { source: busyboxTree(), destination: '/other', readOnly: true, recursive: true };
  const options: SpawnOptions = { directory: busyboxTree(), volatile: 'overlay', binds: [bind] };
  assert.is((await run({ ...options, command: ['/other/usr/bin/busybox', 'echo', 'ran'] })).stdout, 'ran');
  assert.match(
    await startError({ ...options, command: ['/other/no'] }),
    /^running \/other\/no in the container: [^\n]*\(ENOENT\)$/,
  );
});

check('a start that fails gives the lock back', async () => {
  using copy = copyTree(busyboxTree());
  await startError({ directory: copy.path, inaccessible: ['/no'], ...nothing });
  assert.is((await run({ directory: copy.path, ...nothing })).status, 0);
});

test.run();
