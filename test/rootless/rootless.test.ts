/** Containers of ordinary users. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { atTerminal, nspawn, startNspawn } from '../cli/support.ts';
import { eventually } from '../console/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { GID, type OrdinaryUser, ordinaryUser, SUBORDINATE, subordinateIds, UID, userNamespaces } from './support.ts';

const it = needs([root, busybox, tool('setpriv'), userNamespaces]);
const withIds = needs([root, busybox, tool('setpriv'), tool('newuidmap'), userNamespaces, subordinateIds]);

const user = ordinaryUser();
test.after(() => user[Symbol.dispose]());

const QUIET = ['-q', '-P', '--timezone=off', '--resolv-conf=off'];

/** Runs a script in a container on the user's own tree. */
const inTree = (script: string, options: string[] = [], who: OrdinaryUser = user) =>
  nspawn([...QUIET, '-D', who.tree, ...options, '--', '/bin/sh', '-c', script], { command: who.nspawn, cwd: '/' });

it('whoever starts it is root in a tree of their own', async () => {
  const script =
    'id -u; id -g; echo $$; hostname; cat /proc/sys/kernel/random/boot_id; echo made > /file; chown 0:0 /file';
  const { status, stdout, stderr } = await inTree(script, ['-M', 'mine']);
  assert.equal([status, stderr], [0, '']);
  const [uid, gid, pid, name, bootId] = stdout.split('\n');
  assert.equal([uid, gid, pid, name], ['0', '0', '1', 'mine']);
  assert.is.not(bootId, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  const { uid: owner, gid: group } = lstatSync(join(user.tree, 'file'));
  assert.equal([owner, group], [UID, GID]);
});

it('has no rights over the host', async () => {
  const { status, stdout, stderr } = await inTree('cat /mnt/shadow; echo x > /mnt/hosts; true', [
    '--bind=/etc/shadow:/mnt/shadow',
    '--bind=/etc/hosts:/mnt/hosts',
  ]);
  assert.equal([status, stdout], [0, '']);
  assert.match(stderr, /shadow'?: Permission denied\n.*hosts: Permission denied/);
});

it('devices of the host are there, terminals are its own, and no others can be made', async () => {
  const script = `
    for name in null zero full random urandom tty; do [ -c /dev/$name ] || echo no $name; done
    echo x > /dev/null; head -c 3 /dev/zero | wc -c; [ -c /dev/pts/ptmx ] || echo no ptmx
    mknod /node b 7 0 2> /dev/null && echo made`;
  const { stdout, stderr } = await inTree(script);
  assert.equal([stdout, stderr], ['3\n', '']);
});

it('what it may not change it can neither uncover nor make writable', async () => {
  mkdirSync(join(user.home, 'shown'), { recursive: true });
  writeFileSync(join(user.home, 'shown/kept'), 'kept');
  await chown(join(user.home, 'shown'), UID, GID);
  const script = `
    echo x > /mnt/new && echo written
    mount -o remount,rw,bind /mnt && echo writable
    umount /mnt && echo uncovered
    umount /dev/null && echo bare
    umount /usr/share && echo accessible
    true`;
  const options = [`--bind-ro=${user.home}/shown:/mnt`, '--inaccessible=/usr/share'];
  mkdirSync(join(user.tree, 'usr/share'), { recursive: true });
  const { status, stdout } = await inTree(script, options);
  assert.equal([status, stdout], [0, '']);
  assert.equal(readdirSync(join(user.home, 'shown')), ['kept']);
});

it('user namespaces can be forbidden', async () => {
  const script = 'unshare -U true 2>/dev/null || echo none';
  assert.is((await inTree(script, ['--no-user-namespaces'])).stdout, 'none\n');
  assert.is((await inTree(script)).stdout, '');
});

it('capabilities, the filter and no_new_privs are those that root’s containers have', async () => {
  const script = 'grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status';
  const mine = await inTree(script);
  const roots = await nspawn([
    ...QUIET,
    '-D',
    user.tree,
    '--read-only',
    '--private-users=0',
    '--',
    '/bin/sh',
    '-c',
    script,
  ]);
  assert.equal(mine.stderr, '');
  // Of the host's network no port below 1024 can be used.
  const withoutPorts = roots.stdout.replaceAll('fdecafff', 'fdecabff');
  assert.equal(mine.stdout, withoutPorts);
});

it('the machine’s own system, volatile', async () => {
  const before = readdirSync('/etc').sort();
  const script =
    'cat /etc/group; echo mine > /etc/nspawn-was-here; cat /etc/nspawn-was-here; ls /root; touch /usr/x /tmp/x';
  const words = ['-q', '-P', '-D', '/', '--volatile=overlay', '-M', 'own', '--', 'sh', '-c', script];
  const { status, stdout, stderr } = await nspawn(words, { command: user.nspawn, cwd: '/' });
  assert.equal([status, stderr], [0, '']);
  assert.is(stdout, `${readFileSync('/etc/group', 'utf8')}mine\n`);
  assert.equal(readdirSync('/etc').sort(), before);
});

it('a volatile tree in which something is mounted', async () => {
  writeFileSync(join(user.tree, 'file'), 'of the tree\n');
  mkdirSync(join(user.tree, 'srv/mounted/deep'), { recursive: true });
  writeFileSync(join(user.tree, 'srv/kept'), 'kept\n');
  mkdirSync(join(user.tree, 'opt/old'), { recursive: true });
  writeFileSync(join(user.tree, 'opt/old/file'), '');
  await nspawn(['-R', `${UID}:${GID}`, join(user.tree, 'opt')], { command: ['chown'] });
  const mounting = ['unshare', '-m', 'sh', '-ec', `mount -t tmpfs tmpfs ${user.tree}/srv/mounted; exec "$@"`, 'sh'];
  const script = `
    cat /file /srv/kept; ls /srv/mounted; readlink /bin; echo mine > /etc/mine && cat /etc/mine
    rm -r /opt/old && mkdir /opt/old && ls /opt/old
    echo changed > /file && echo written in place`;
  const words = [...QUIET, '-D', user.tree, '--volatile=overlay', '--', '/bin/sh', '-c', script];
  const { status, stdout } = await nspawn(words, { command: [...mounting, ...user.nspawn], cwd: '/' });
  assert.equal([status, stdout], [1, 'of the tree\nkept\nusr/bin\nmine\n']);
  assert.is(readFileSync(join(user.tree, 'file'), 'utf8'), 'of the tree\n');
  assert.not.ok(existsSync(join(user.tree, 'etc/mine')));
});

it('volatile trees, tmpfs, overlays and a private network', async () => {
  const [lower, upper] = ['lower', 'upper'].map(name => join(user.home, name)) as [string, string];
  for (const path of [lower, upper]) {
    mkdirSync(path);
    await chown(path, UID, GID);
  }
  writeFileSync(join(lower, 'below'), 'below\n');
  const script = `
    touch /made; cat /mnt/below; echo above > /mnt/above; grep -c " /tmp tmpfs " /proc/mounts
    ls /sys/class/net; grep -c 00000001 /proc/net/if_inet6`;
  for (const volatile of ['overlay', 'yes']) {
    const options = [`--volatile=${volatile}`, `--overlay=${lower}:${upper}:/mnt`, '--tmpfs=/tmp', '--private-network'];
    const { stdout, stderr } = await inTree(script, options);
    assert.equal([stdout.split('\n').slice(0, 3), stderr], [['below', '1', 'lo'], '']);
  }
  assert.not.ok(existsSync(join(user.tree, 'made')));
  assert.equal([readdirSync(upper), readdirSync(lower)], [['above'], ['below']]);
  assert.equal(
    readdirSync(user.home).filter(name => name.startsWith('.#')),
    [],
  );
});

it('a terminal, and an init', async () => {
  await using session = atTerminal([
    ...user.nspawn,
    '-q',
    '-D',
    user.tree,
    '--read-only',
    '-a',
    '--',
    '/bin/sh',
    '-c',
    'tty; echo $$; read line; exit 7',
  ]);
  await session.until('/dev/console\r\n2\r\n');
  session.type('go\r');
  assert.is(await session.ended, 7);
});

it('what takes too long is asked to end, with an init and without', async () => {
  const script = 'trap "echo bye; exit 3" TERM; while :; do sleep 0.1; done';
  for (const init of [[], ['-a']]) {
    const { status, stdout } = await inTree(script, ['--timeout=500ms', ...init]);
    assert.equal([status, stdout], [124, 'bye\n']);
  }
});

it('a systemd that can have no cgroups is a warning that says what helps', async () => {
  const systemd = join(user.tree, 'usr/lib/systemd');
  mkdirSync(systemd, { recursive: true });
  writeFileSync(join(systemd, 'systemd'), '#!/bin/sh\necho started\n', { mode: 0o755 });
  const words = [...QUIET, '--read-only', '-b', '-D', user.tree];
  const { stdout, stderr } = await nspawn(words, { command: user.nspawn, cwd: '/' });
  rmSync(systemd, { recursive: true });
  assert.is(stdout, 'started\n');
  assert.match(
    stderr,
    existsSync('/run/systemd/system')
      ? /^systemd as the init takes cgroups, .*; try systemd-run --user --scope --property=Delegate=yes /
      : /^systemd as the init takes cgroups, .*; it takes a cgroup that root has given to this user: cgroups\(7\)/,
  );
});

it('list, exec and kill are for the user’s own', async () => {
  const running = startNspawn(
    [...QUIET, '-M', 'own-list', '-D', user.tree, '--', '/bin/sh', '-c', 'echo ready; sleep 1000'],
    { command: user.nspawn, cwd: '/' },
  );
  await running.until('ready');
  const run = (...words: string[]) => nspawn(words, { command: user.nspawn, cwd: '/' });
  const listed = JSON.parse((await run('list', '--json')).stdout);
  assert.equal(
    listed.map(({ machine }: { machine: string }) => machine),
    ['own-list'],
  );
  const inside = await run('exec', 'own-list', '/bin/sh', '-c', 'hostname; id -u; echo x > /written');
  assert.equal(inside, { status: 0, stdout: 'own-list\n0\n', stderr: '' });
  assert.is(lstatSync(join(user.tree, 'written')).uid, UID);
  assert.is((await run('kill', 'own-list')).status, 0);
  assert.is((await running.outcome).status, 1);
  assert.equal(JSON.parse((await run('list', '--json')).stdout), []);
});

it('nothing of it is left after kill -9', async () => {
  const marker = '1000.00073210';
  const words = [...QUIET, '-a', '-D', user.tree, '--', '/bin/sh', '-c', `echo ready; exec sleep ${marker}`];
  const running = startNspawn(words, { command: user.nspawn, cwd: '/' });
  await running.until('ready');
  running.child.kill('SIGKILL');
  await running.outcome;
  const isAlive = () =>
    readdirSync('/proc').some(pid => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(marker);
      } catch {
        // No process, or one that has ended.
        return false;
      }
    });
  await eventually('its processes have ended', () => !isAlive());
});

it('of what it gets of the host, what can’t be opened is named', async () => {
  const closed = join(user.home, 'closed');
  mkdirSync(closed, { mode: 0o700 });
  const options = ['--bind-ro=/etc:/mnt/etc', `--bind=${closed}/x:/mnt/x`, '--bind-ro=/usr:/mnt/usr'];
  const { status, stderr } = await inTree('true', options);
  assert.is(status, 1);
  assert.match(stderr, /^opening [^ ]*\/closed\/x: [^\n]*Permission denied \(EACCES\)\n$/);
});

it('a machine that forbids user namespaces is told of', async () => {
  for (const most of [0, 1]) {
    // One is for the agent that makes the mounts, another for the container.
    const script = `echo ${most} > /proc/sys/user/max_user_namespaces && exec "$@"`;
    const forbidding = ['unshare', '-U', `--map-user=${UID}`, `--map-group=${GID}`, '--keep-caps', 'sh', '-c', script];
    const command = user.as(...forbidding, 'sh', ...user.program);
    const { status, stderr } = await nspawn([...QUIET, '-D', user.tree, '/bin/true'], { command, cwd: '/' });
    assert.is(status, 1);
    assert.match(stderr, /^making a user namespace: .*doesn't let ordinary users do so; see user\.max_user_namespaces/);
  }
});

it('what takes root is refused with the reason', async () => {
  const refusals: [string[], RegExp][] = [
    [
      ['-n'],
      /^making and moving network interfaces of the host takes root; --network=user and --private-network do without\n$/,
    ],
    [['--network-zone=a'], /takes root/],
    [['--share-system'], /^--share-system takes root: the container would have no rights over what it shares\n$/],
    [['--private-users=no'], /^--private-users=no takes root: .* leave it out\n$/],
    [['--bind-user=ordinary'], /^--bind-user= takes root: .*; --bind= shows one's own files as root's\n$/],
    [['--bind=/etc:/mnt:idmap'], /^the bind options .* take root: nobody else may .*\n$/],
    [['--property=MemoryHigh=1G'], /^--property=MemoryHigh= takes root: .*; systemd-run --user --scope --property= /],
    [
      ['-M', 'none', '-D', '', '--', 'true'],
      /^(?:looking for|opening the root directory) \/var\/lib\/machines\/none: .*\n$/,
    ],
    [['-u', 'guest'], /only 0 to 0, not 1000; it has more where there are ranges .* \/etc\/subuid .* uidmap\n$/],
    [['--private-users=yes'], /^--private-users=yes takes ranges for this user in \/etc\/subuid and/],
    [['--private-users=5:10'], /^--private-users=5:10 takes ids that .* or without them its own alone: 73210:1\n$/],
    [
      [`--private-users=${UID}`],
      /^--private-users=73210:65536 takes ids that .* or without them its own alone: 73210:1\n$/,
    ],
    [['--private-users-ownership=chown'], /^--private-users-ownership=chown and map take root/],
    [['--register=yes'], /^--register=yes takes root/],
    [['--link-journal=guest'], /^--link-journal= takes root: .*; -j goes on without\n$/],
    [['-u', '5'], /.+/],
  ];
  for (const [options, expected] of refusals) {
    const { status, stderr } = await inTree('true', options);
    assert.is(status, 1, options.join(' '));
    assert.match(stderr, expected, `${options.join(' ')}: ${stderr}`);
  }
  assert.equal(await inTree('echo here', ['-j']), { status: 0, stdout: 'here\n', stderr: '' });
});

withIds('with subordinate ids there are other users', async () => {
  using rich = ordinaryUser({ hasSubordinates: true });
  writeFileSync(join(rich.tree, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nsome:x:1000:1001::/home/some:/bin/sh\n');
  const made = await inTree('touch /file; chown 5:6 /file; cat /proc/self/uid_map | wc -l', [], rich);
  assert.equal(made, { status: 0, stdout: '2\n', stderr: '' });
  const { uid, gid } = lstatSync(join(rich.tree, 'file'));
  // Root is the user, and the others are the subordinate ids from 1 on.
  assert.equal([uid, gid], [SUBORDINATE.start + 4, SUBORDINATE.start + 5]);
  const some = await inTree('id -u; id -g; pwd; touch ~/mine', ['-u', 'some', '--chdir=/home/some'], rich);
  assert.equal(some, { status: 0, stdout: '1000\n1001\n/home/some\n', stderr: '' });
  // The tree isn't theirs alone.
  await nspawn(['755', rich.home], { command: ['chmod'] });
  const missing = await inTree('true', ['--private-users=1879113728:100', '-u', 'some'], rich);
  assert.match(
    missing.stderr,
    /^becoming the user some: of the users and groups .* only 0 to 99, not 1000; see --private-users=\n$/,
  );
});

withIds('a tree that belongs to subordinate ids is theirs', async () => {
  using rich = ordinaryUser({ hasSubordinates: true });
  await nspawn(['-R', `${SUBORDINATE.start}:${SUBORDINATE.start}`, rich.tree], { command: ['chown'] });
  await nspawn(['755', rich.home], { command: ['chmod'] });
  const { status, stdout, stderr } = await inTree('id -u; touch /file', [], rich);
  assert.equal([status, stdout, stderr], [0, '0\n', '']);
  assert.is(lstatSync(join(rich.tree, 'file')).uid, SUBORDINATE.start);
});

withIds('the terminal is whose payload it is, also on a tree that belongs to subordinate ids', async () => {
  using rich = ordinaryUser({ hasSubordinates: true });
  const shows = async (expected: string, as: string[] = []) => {
    const show = 'tty; stat -c %u:%g:%a /dev/console; echo opened again > /dev/console; read line; exit 7';
    const words = ['-q', '-D', rich.tree, ...as, '--', '/bin/sh', '-c', show];
    await using session = atTerminal([...rich.nspawn, ...words]);
    await session.until(expected);
    session.type('go\r');
    assert.is(await session.ended, 7);
  };
  await shows('/dev/console\r\n0:0:600\r\nopened again\r\n');
  await shows('/dev/console\r\n1000:1000:600\r\nopened again\r\n', ['-u', 'guest']);
  await nspawn(['-R', `${SUBORDINATE.start}:${SUBORDINATE.start}`, rich.tree], { command: ['chown'] });
  await nspawn(['755', rich.home], { command: ['chmod'] });
  await shows('/dev/console\r\n0:0:600\r\nopened again\r\n');
  await shows('/dev/console\r\n1000:1000:600\r\nopened again\r\n', ['-u', 'guest']);
});

withIds('users and groups may have other subordinate ids', async () => {
  const [user, group] = [SUBORDINATE.start, SUBORDINATE.start + 2 * SUBORDINATE.count];
  using rich = ordinaryUser({ hasSubordinates: true, firstGroup: group });
  await nspawn(['-R', `${user + 3}:${group + 2}`, rich.tree], { command: ['chown'] });
  await nspawn(['755', rich.home], { command: ['chmod'] });
  const made = await inTree('stat -c %u:%g / /etc; touch /file; chown 5:6 /file', [], rich);
  assert.equal(made, { status: 0, stdout: '0:0\n0:0\n', stderr: '' });
  const { uid, gid } = lstatSync(join(rich.tree, 'file'));
  assert.equal([uid, gid], [user + 3 + 5, group + 2 + 6]);
});

test.run();
