/** --ephemeral of ordinary users: what a container writes is on the disk beside the tree, and goes with it. */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nspawn, startNspawn } from '../cli/support.ts';
import { eventually } from '../console/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { GID, type OrdinaryUser, ordinaryUser, SUBORDINATE, subordinateIds, UID, userNamespaces } from './support.ts';

const it = needs([root, busybox, tool('setpriv'), userNamespaces]);
const withIds = needs([root, busybox, tool('setpriv'), tool('newuidmap'), userNamespaces, subordinateIds]);

const QUIET = ['-q', '-P', '-x', '--timezone=off', '--resolv-conf=off'];
const hidden = ({ home }: OrdinaryUser) => readdirSync(home).filter(name => name.startsWith('.#'));
const modeOf = (path: string) => (lstatSync(path).mode & 0o7777).toString(8);
const inTree = (script: string, options: string[], user: OrdinaryUser) =>
  nspawn([...QUIET, '-D', user.tree, ...options, '--', '/bin/sh', '-c', script], { command: user.nspawn, cwd: '/' });

it('changes are seen inside, on the disk, and nowhere at the end', async () => {
  using user = ordinaryUser();
  const running = startNspawn(
    [...QUIET, '-D', user.tree, '--', '/bin/sh', '-c', 'echo new > /etc/new; rm /etc/passwd; echo ready; read line'],
    { command: user.nspawn, cwd: '/' },
  );
  await running.until('ready');
  assert.is(hidden(user).length, 1);
  const upper = join(user.home, hidden(user)[0]!, 'upper');
  assert.is(readFileSync(join(upper, 'etc/new'), 'utf8'), 'new\n');
  running.child.stdin!.end('\n');
  assert.is((await running.outcome).status, 0);
  assert.equal(hidden(user), []);
  assert.ok(lstatSync(join(user.tree, 'etc/passwd')).isFile());
  assert.not.ok(readdirSync(join(user.tree, 'etc')).includes('new'));
});

it('directories that permit nothing are removed as well', async () => {
  using user = ordinaryUser();
  const script = 'mkdir -p /made/below/deep; touch /made/below/deep/file; chmod 0 /made/below/deep /made/below /made';
  assert.equal(await inTree(script, [], user), { status: 0, stdout: '', stderr: '' });
  assert.equal(hidden(user), []);
});

it('a container that restarts finds what it has written, and the modes of its root directory', async () => {
  using user = ordinaryUser();
  const init = join(user.tree, 'sbin/init');
  rmSync(init);
  const script = 'stat -c %a / >>/boots; chmod 700 /; [ $(wc -l </boots) = 3 ] && cat /boots && poweroff -f; reboot -f';
  writeFileSync(init, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const words = [...QUIET, '-b', '-D', user.tree];
  const { status, stdout, stderr } = await nspawn(words, { command: user.nspawn, cwd: '/' });
  assert.equal([status, stdout, stderr], [0, '755\n700\n700\n', '']);
  assert.equal(hidden(user), []);
});

it('paths of the tree are those of the ephemeral root', async () => {
  using user = ordinaryUser();
  const result = await inTree('echo x > /mnt/new; cat /etc/new', ['--bind=+/etc:/mnt'], user);
  assert.equal(result, { status: 0, stdout: 'x\n', stderr: '' });
  assert.not.ok(readdirSync(join(user.tree, 'etc')).includes('new'));
});

it('the user of a tree is looked up where its getent knows it, and it stays as it is', async () => {
  using user = ordinaryUser();
  const getent = '#!/bin/sh\n[ "$2" = some ] && echo some:x:0:0::/root:/bin/sh\necho x > /written 2> /dev/null; true\n';
  writeFileSync(join(user.tree, 'usr/bin/getent'), getent, { mode: 0o755 });
  const result = await inTree('ls /written 2> /dev/null; echo $USER', ['-u', 'some'], user);
  assert.equal(result, { status: 0, stdout: 'some\n', stderr: '' });
  assert.equal(hidden(user), []);
});

it('a start that fails leaves nothing', async () => {
  using user = ordinaryUser();
  const { status, stderr } = await inTree('true', ['--bind=/no/such'], user);
  assert.is(status, 1);
  assert.match(stderr, /\/no\/such/);
  assert.equal(hidden(user), []);
});

/** Hidden directories in /var/tmp that have a file of this name in the layer of /usr. */
const inVarTmp = (name: string) =>
  readdirSync('/var/tmp').filter(
    each => each.startsWith('.#nspawn-') && existsSync(`/var/tmp/${each}/parts/usr/upper/${name}`),
  );

it('the machine’s own system: what is written is on the disk, and not to be seen in itself', async () => {
  using user = ordinaryUser();
  const name = `nspawn-${crypto.randomUUID()}`;
  const script = `
    echo new > /etc/${name}; cat /etc/${name}; touch /usr/${name} /${name} /var/tmp/${name}; cat /etc/group | wc -l
    ls -A /var/tmp | grep '^.#nspawn'; stat -c %a / /var/tmp; echo ready; read line`;
  const words = [...QUIET, '-D', '/', '--', 'sh', '-c', script];
  const running = startNspawn(words, { command: user.nspawn, cwd: '/' });
  const lines = readFileSync('/etc/group', 'utf8').trim().split('\n').length;
  await running.until('ready');
  const found = inVarTmp(name);
  assert.is(found.length, 1);
  assert.ok(existsSync(`/var/tmp/${found[0]}/root/${name}`));
  running.child.stdin!.end('\n');
  const stdout = `new\n${lines}\n755\n${modeOf('/var/tmp')}\nready\n`;
  assert.equal(await running.outcome, { status: 0, stdout, stderr: '' });
  assert.equal(inVarTmp(name), []);
  for (const directory of ['/etc', '/usr', '/', '/var/tmp']) assert.not.ok(existsSync(join(directory, name)));
});

it('the machine’s own system after kill -9', async () => {
  using user = ordinaryUser();
  const name = `nspawn-${crypto.randomUUID()}`;
  const script = `mkdir /usr/${name}; chmod 0 /usr/${name}; echo ready; exec sleep 1000`;
  const running = startNspawn([...QUIET, '-D', '/', '--', 'sh', '-c', script], { command: user.nspawn, cwd: '/' });
  await running.until('ready');
  const [directory] = inVarTmp(name);
  assert.ok(directory);
  running.child.kill('SIGKILL');
  await running.outcome;
  await eventually('the hidden directory is gone', () => !existsSync(`/var/tmp/${directory}`));
});

it('a tree with file systems in it, which restarts', async () => {
  using user = ordinaryUser();
  mkdirSync(join(user.tree, 'srv/mounted'), { recursive: true });
  const init = join(user.tree, 'sbin/init');
  rmSync(init);
  const script = `
    echo boot | tee -a /boots >> /etc/boots; ls -A /srv/mounted
    [ $(wc -l < /boots) = 3 ] && cat /boots /etc/boots && ls /etc/passwd; rm -f /etc/passwd
    [ $(wc -l < /boots) = 3 ] && poweroff -f; reboot -f`;
  writeFileSync(init, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const mounting = ['unshare', '-m', 'sh', '-ec'];
  const setUp = `mount -t tmpfs tmpfs ${user.tree}/srv/mounted; touch ${user.tree}/srv/mounted/hidden; exec "$@"`;
  const command = [...mounting, setUp, 'sh', ...user.nspawn];
  const { status, stdout, stderr } = await nspawn([...QUIET, '-b', '-D', user.tree], { command, cwd: '/' });
  assert.equal([status, stdout], [0, 'boot\n'.repeat(6)]);
  assert.match(stderr, /^ls: \/etc\/passwd: No such file or directory\n$/);
  assert.equal(hidden(user), []);
  assert.not.ok(existsSync(join(user.tree, 'boots')));
  assert.ok(lstatSync(join(user.tree, 'etc/passwd')).isFile());
});

it('of such a tree, what can’t be is refused, and what is read-only is as it is', async () => {
  using user = ordinaryUser();
  const run = (...words: string[]) => nspawn([...QUIET, ...words], { command: user.nspawn, cwd: '/' });
  const refused = await run('-D', '/', '--bind=+/etc:/mnt', '--', 'true');
  assert.is(refused.status, 1);
  assert.match(refused.stderr, /^paths of the ephemeral root \(\+\/…\) take root for \/, as file systems are mounted/);
  const script = 'touch /etc/new /new 2> /dev/null || cat /etc/group';
  const readOnly = await run('-D', '/', '--read-only', '--', 'sh', '-c', script);
  assert.equal(readOnly, { status: 0, stdout: readFileSync('/etc/group', 'utf8'), stderr: '' });
});

/** What is written by users of the container's, and would stay if only its owner may remove it. */
const OF_OTHERS = `
  mkdir -p /made/below; touch /made/below/file; chown -R 5:6 /made; chmod 700 /made/below /made
  mkdir /sticky; touch /sticky/file; chown 7:8 /sticky; chmod 1777 /sticky`;

for (const owner of ['the user', 'a subordinate id']) {
  withIds(`what users of the container have written goes, also after kill -9, on a tree of ${owner}`, async () => {
    using user = ordinaryUser({ hasSubordinates: true });
    if (owner !== 'the user') {
      execFileSync('chown', ['-R', `${SUBORDINATE.start}:${SUBORDINATE.start}`, user.tree]);
    }
    const script = `${OF_OTHERS}; stat -c %u:%g / /made`;
    assert.equal(await inTree(script, [], user), { status: 0, stdout: '0:0\n5:6\n', stderr: '' });
    assert.equal(hidden(user), []);

    const words = [...QUIET, '-D', user.tree, '--', '/bin/sh', '-c', `${OF_OTHERS}; echo ready; exec sleep 1000`];
    const running = startNspawn(words, { command: user.nspawn, cwd: '/' });
    await running.until('ready');
    assert.is(hidden(user).length, 1);
    running.child.kill('SIGKILL');
    await running.outcome;
    await eventually('the hidden directory is gone', () => hidden(user).length === 0);
  });
}

withIds('--cleanup removes what was left', async () => {
  using user = ordinaryUser({ hasSubordinates: true });
  const left = join(user.home, '.#nspawn-0123456789abcdef');
  mkdirSync(join(left, 'upper/made'), { recursive: true });
  writeFileSync(join(left, 'upper/made/file'), '');
  execFileSync('chown', ['-R', `${UID}:${GID}`, left]);
  execFileSync('chown', ['-R', `${SUBORDINATE.start + 3}:${SUBORDINATE.start + 4}`, join(left, 'upper/made')]);
  execFileSync('chmod', ['700', left, join(left, 'upper/made')]);
  const done = await nspawn(['--cleanup', '--', user.home], { command: user.nspawn, cwd: '/' });
  assert.equal(done, { status: 0, stdout: '', stderr: '' });
  assert.equal(hidden(user), []);
});

test.run();
