/** --template=: a root directory is made of another one, whole or not at all. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { populate } from '../../src/container/template.ts';
import { silentLogger } from '../../src/log.ts';
import { atTerminal, NSPAWN, nspawn } from '../cli/support.ts';
import { commandLine, run, shell, startError } from '../container/support.ts';
import { hiddenIn } from '../ephemeral/support.ts';
import { loopMount, mounted } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const check = needs([root, busybox]);
const checkMounts = needs([root, busybox, tool('unshare'), tool('mount')]);
const off = { timezone: 'off', resolvConf: 'off' } as const;
const copy = (template: string, directory: string, readOnly = false) =>
  populate({ template, directory, readOnly }, silentLogger);

check('a container runs on a copy, which stays, and is not made again', async () => {
  using at = temporaryDirectory();
  const options = { template: busyboxTree(), directory: join(at.path, 'web'), ...off };
  const script = 'hostname; cat /count 2>/dev/null; echo x >>/count';
  const first = await run({ ...options, command: ['/bin/sh', '-c', script] });
  assert.is(first.stdout, 'web');
  assert.ok(first.log.includes(`info: Populated ${at.path}/web from template ${busyboxTree()}.`), first.log.join('\n'));
  const second = await run({ ...options, command: ['/bin/sh', '-c', script] });
  assert.is(second.stdout, 'web\nx');
  const line = `info: Directory ${at.path}/web already exists, not populating from template ${busyboxTree()}.`;
  assert.ok(second.log.includes(line), second.log.join('\n'));
  assert.not.ok(existsSync(join(busyboxTree(), 'count')));
  assert.equal(readdirSync(at.path), ['web']);
});

check('a restarted container is not told of the template again; -q says nothing of it', async () => {
  using at = temporaryDirectory();
  const template = join(at.path, 'template');
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  rmSync(join(template, 'sbin/init'));
  const init = '#!/bin/sh\n[ -e /second ] && poweroff -f; >/second; reboot -f\n';
  writeFileSync(join(template, 'sbin/init'), init, { mode: 0o755 });
  const words = ['-P', '-b', `--template=${template}`, '--timezone=off', '--resolv-conf=off'];
  const { status, stderr } = await nspawn([...words, '-D', join(at.path, 'one')]);
  assert.is(status, 0);
  assert.is(stderr.split('\n').filter(line => line.includes('template')).length, 1);
  assert.is((await nspawn([...words, '-q', '-D', join(at.path, 'two')])).stderr, '');
});

checkMounts('-M with a template makes it in /var/lib/machines', () => {
  const before = 'mount -t tmpfs machines /var/lib/machines';
  const words = ['-M', 'web', `--template=${busyboxTree()}`, '--timezone=off', '/bin/hostname'];
  assert.equal(commandLine(before, ...words), { status: 0, stdout: 'web', stderr: '' });
});

check('what can be no template, and where nothing can be made, is refused, and nothing is left', async () => {
  using at = temporaryDirectory();
  const path = join(at.path, 'new');
  const command = ['/bin/true'];
  const refusal = (template: string, directory = path, more = {}) =>
    startError({ template, directory, command, ...more });
  assert.is(await refusal('/no/such'), 'opening the template /no/such: no such directory');
  assert.is(await refusal('/etc/passwd'), 'opening the template /etc/passwd: it is not a directory');
  mkdirSync(join(at.path, 'empty'));
  assert.is(await refusal(`${at.path}/empty`), `starting a container on ${at.path}/empty: it has no /bin/true`);
  assert.match(
    await refusal(`${at.path}/empty`, path, { boot: true, command: [] }),
    /^booting .*\/empty: it is no OS tree/,
  );
  assert.is(
    await refusal(busyboxTree(), `${at.path}/no/new`),
    `making ${at.path}/no/new: opening the directory above it ${at.path}/no: no such directory`,
  );
  symlinkSync('nowhere', path);
  assert.match(await refusal(busyboxTree()), /no such directory$/);
  assert.equal(readdirSync(at.path).sort(), ['empty', 'new']);
});

check('of two that make the same, one does', async () => {
  using at = temporaryDirectory();
  const target = join(at.path, 'new');
  const made = await Promise.all([copy(busyboxTree(), target), copy(busyboxTree(), target)]);
  assert.equal(made.toSorted(), [false, true]);
  assert.equal(readdirSync(at.path), ['new']);
});

check('a copy can be made in its template: it is not in itself', async () => {
  using at = temporaryDirectory();
  const template = join(at.path, 'template');
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  assert.ok(await copy(template, join(template, 'var/copy')));
  assert.equal(hiddenIn(join(template, 'var/copy/var')), []);
  assert.equal(readdirSync(join(template, 'var/copy/var')), readdirSync(join(busyboxTree(), 'var')));
});

checkMounts('mounts below the template are not copied, but what they lie over is', () => {
  using at = temporaryDirectory();
  const template = join(at.path, 'template');
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  const before = `mount -t tmpfs none ${template}/home; touch ${template}/home/mounted`;
  const { stdout, stderr } = commandLine(
    before,
    `--template=${template}`,
    '-D',
    `${at.path}/new`,
    '--timezone=off',
    'ls',
    '/home',
  );
  assert.equal([stdout, stderr], ['guest', '']);
});

checkMounts('a copy that has no room fails with the name of the file, and leaves nothing', async () => {
  using at = temporaryDirectory();
  const template = join(at.path, 'template');
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  writeFileSync(join(template, 'var/large'), Buffer.alloc(8 << 20, 'x'));
  const small = join(at.path, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6M', 'none', small]);
  const error = await startError({ template, directory: join(small, 'new'), command: ['/bin/true'] });
  assert.match(error, /^copying .*\/template to .*\/small\/new: var\/large: .*No space left on device \(ENOSPC\)$/);
  assert.equal(readdirSync(small), []);
  assert.is(statfsSync(small).bfree, statfsSync(small).blocks);
});

check('on a terminal a line tells how far it is, and goes', async () => {
  using at = temporaryDirectory();
  const template = join(at.path, 'template');
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  const script =
    'mkdir "$1/many"; cd "$1/many"; i=0; while [ $i -lt 40 ]; do mkdir $i; touch $i/$(seq -s " $i/" 400); i=$((i + 1)); done';
  execFileSync('sh', ['-c', script, 'sh', template]);
  const words = [`--template=${template}`, '-D', `${at.path}/new`, '--timezone=off', '/bin/echo', 'done'];
  await using session = atTerminal([...NSPAWN, ...words]);
  assert.is(await session.ended, 0);
  const shown = /\rCopying .*\/template [█░]{20} [ \d]{3} % {2}[\d,]+ files, [\d.]+ MB\x1b\[K/;
  assert.match(session.screen(), shown);
  assert.match(session.screen(), /MB\x1b\[K\r\x1b\[K/);
});

needs([root, busybox, tool('filefrag'), loopMount('xfs')])('on xfs the files share their blocks', async () => {
  using disk = mounted('xfs', '300M', '-m', 'reflink=1');
  const template = join(disk.path, 'template');
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  assert.ok(await copy(template, join(disk.path, 'new')));
  assert.match(
    execFileSync('filefrag', ['-v', join(disk.path, 'new/usr/bin/busybox')], { encoding: 'utf8' }),
    'shared',
  );
  assert.equal(readFileSync(join(disk.path, 'new/usr/bin/busybox')), readFileSync(join(template, 'usr/bin/busybox')));
});

const checkBtrfs = needs([root, busybox, tool('btrfs'), tool('filefrag'), loopMount('btrfs')]);
const btrfs = (...words: string[]) => execFileSync('btrfs', words, { encoding: 'utf8' });
const isReadOnly = (path: string) => btrfs('property', 'get', path, 'ro').trim() === 'ro=true';

checkBtrfs('of a subvolume it is a snapshot with those in it, read-only where that was asked for', async () => {
  using disk = mounted('btrfs', '300M');
  const template = join(disk.path, 'template');
  btrfs('subvolume', 'create', template);
  execFileSync('cp', ['--archive', `${busyboxTree()}/.`, template]);
  btrfs('subvolume', 'create', join(template, 'var/inner'));
  writeFileSync(join(template, 'var/inner/file'), 'text');
  for (const readOnly of [false, true]) {
    const made = join(disk.path, `new-${readOnly}`);
    assert.ok(await copy(template, made, readOnly));
    assert.is(readFileSync(join(made, 'var/inner/file'), 'utf8'), 'text');
    assert.equal([statSync(made).ino, statSync(join(made, 'var/inner')).ino], [256, 256]);
    assert.equal([isReadOnly(made), isReadOnly(join(made, 'var/inner'))], [readOnly, readOnly]);
    assert.match(btrfs('subvolume', 'show', made), /Parent UUID:\s+[0-9a-f-]{36}/);
  }
  assert.is(
    await shell('echo yes', { template, directory: join(disk.path, 'new-true'), readOnly: true, ...off }),
    'yes',
  );
  assert.equal(hiddenIn(disk.path), []);
});

checkBtrfs('of what is none it is a new subvolume that shares blocks with the template', async () => {
  using disk = mounted('btrfs', '300M');
  const template = join(disk.path, 'template');
  execFileSync('cp', ['--archive', busyboxTree(), template]);
  const made = join(disk.path, 'new');
  assert.ok(await copy(template, made));
  assert.is(statSync(made).ino, 256);
  assert.match(execFileSync('filefrag', ['-v', join(made, 'usr/bin/busybox')], { encoding: 'utf8' }), 'shared');
  assert.ok(await copy(busyboxTree(), join(disk.path, 'from-elsewhere')));
  assert.equal(hiddenIn(disk.path), []);
});

test.run();
