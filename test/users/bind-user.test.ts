/** --bind-user=: users of the host in a container. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mapsWith, recordsOf } from '../../src/users/bound-users.ts';
import { commandLine } from '../container/support.ts';
import { loopMount, mounted } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';

const BASE = 7000 * 65536;
const ANNA = 54321;
const check = needs([root, busybox, tool('unshare'), tool('mount')]);

/** A host with users of its own: files for a mount namespace, and the commands that put them in place. */
interface Host extends TemporaryDirectory {
  before: string;
}

function host(): Host {
  const directory = temporaryDirectory();
  const at = (name: string) => join(directory.path, name);
  const files = {
    passwd: [
      'root:x:0:0::/root:/bin/sh',
      `anna:x:${ANNA}:${ANNA + 1}:Anna:${at('anna')}:/bin/sh`,
      `bert:x:${ANNA + 5}:${ANNA + 5}::${at('bert')}:/bin/sh`,
      `shared:x:${ANNA + 6}:100::/:/bin/sh`,
      'someone:x:65534:65534::/:/bin/sh',
      `far:x:${BASE + 5}:${BASE + 5}::/:/bin/sh`,
    ],
    group: ['root:x:0:', 'users:x:100:', `anna:x:${ANNA + 1}:`, `bert:x:${ANNA + 5}:`, `far:x:${BASE + 5}:`],
    shadow: ['anna:$y$hash:1:0:99999:7:::', 'bert::1:0:99999:7:::'],
  };
  for (const [name, lines] of Object.entries(files)) writeFileSync(at(name), `${lines.join('\n')}\n`);
  for (const [i, name] of ['anna', 'bert'].entries()) {
    mkdirSync(at(name));
    writeFileSync(at(`${name}/file`), '');
    for (const path of [name, `${name}/file`]) chownSync(at(path), ANNA + 5 * i, ANNA + (i ? 5 : 1));
  }
  const before = Object.keys(files).map(name => `mount --bind ${at(name)} /etc/${name}`);
  return { ...directory, before: before.join('\n'), [Symbol.dispose]: () => directory[Symbol.dispose]() };
}

const words = (directory: string, ...more: string[]) => [
  ...['-D', directory, '--resolv-conf=off', '--timezone=off', '--private-users-ownership=chown'],
  ...more,
];
const USERS = [`--private-users=${BASE}`, '--bind-user=anna', '--bind-user=bert', '--bind-user=anna'];
const SHOW = [
  ...['/bin/busybox', 'sh', '-c'],
  `cd /run/host; find home userdb -exec stat -c '%n %F %a %u %g' {} + | sort; for f in userdb/6*; do readlink $f; done
   for f in userdb/anna* userdb/bert*; do echo "$f"; cat $f; done; cat /proc/self/uid_map /proc/self/gid_map`,
];

needs([root, busybox, tool('unshare'), tool('systemd-nspawn')])('files and ids are those of systemd-nspawn', () => {
  using users = host();
  using ours = copyTree(busyboxTree());
  using theirs = copyTree(busyboxTree());
  const { stdout, stderr } = commandLine(users.before, ...words(ours.path, ...USERS), '--', ...SHOW);
  assert.is(stderr, '');
  const systemd = ['systemd-nspawn', '-q', '--register=no', '--keep-unit', '--console=pipe'];
  const script = ['--mount', 'sh', '-c', `${users.before}\nexec "$@"`, 'sh'];
  const run = spawnSync('unshare', [...script, ...systemd, ...words(theirs.path, ...USERS), '--', ...SHOW], {
    encoding: 'utf8',
  });
  assert.is(stdout, run.stdout.trimEnd());
  assert.match(stdout, new RegExp(` 60514 +${ANNA} +1\n +60515 +${ANNA + 5} +1\n`));
  assert.match(stdout, '{"privileged":{"hashedPassword":["$y$hash"]}}');
});

check('a bound user can be who the payload runs as, and writes at home as on the host', () => {
  using users = host();
  using tree = copyTree(busyboxTree());
  const script = 'echo $HOME; id -u; echo x >"$HOME/new"; stat -c "%u %g" "$HOME/new"';
  const run = ['--bind-user=bert', '-u', 'bert', `--private-users=${BASE}`, '--', '/bin/sh', '-c', script];
  const { stdout, stderr } = commandLine(users.before, ...words(tree.path, ...run));
  assert.equal([stdout, stderr], ['/run/host/home/bert\n60514\n60514 60514', '']);
  const { uid, gid } = statSync(join(users.path, 'bert/new'));
  assert.equal([uid, gid], [ANNA + 5, ANNA + 5]);
});

check('ids that the container has are left out', () => {
  using users = host();
  using tree = copyTree(busyboxTree());
  writeFileSync(
    join(tree.path, 'etc/passwd'),
    'root:x:0:0::/:/bin/sh\na:x:60514:1::/:/bin/sh\nb:x:60516:1::/:/bin/sh\n',
  );
  writeFileSync(join(tree.path, 'etc/group'), 'root:x:0:\nc:x:60517:\n');
  const show = ['--', '/bin/busybox', 'stat', '-c', '%u', '/run/host/home/anna', '/run/host/home/bert'];
  const { stdout } = commandLine(users.before, ...words(tree.path, ...USERS, ...show));
  assert.is(stdout, '60515\n60518');
});

check('who cannot be bound is refused, with the reason', () => {
  using users = host();
  using tree = copyTree(busyboxTree());
  const refusal = (...more: string[]) =>
    commandLine(users.before, ...words(tree.path, ...more), '--', '/bin/true').stderr;
  const own = `--private-users=${BASE}`;
  const refusals: [string, RegExp][] = [
    ['nosuch', /^binding the user nosuch: there is none in the host's \/etc\/passwd$/],
    ['root', /^binding the user root: it is root/],
    ['someone', /^binding the user someone: it is nobody/],
    ['shared', /^binding the user shared: its group is users, not one of its own of the same name$/],
    ['far', /^binding the user far: its id \d+ is one of the container's/],
    ['../x', /^--bind-user= takes a user name/],
  ];
  for (const [name, message] of refusals) assert.match(refusal(own, `--bind-user=${name}`), message);
  assert.match(refusal('--bind-user=anna'), /^--bind-user= needs --private-users= or -U$/);
  assert.match(refusal('--private-users=0:60514', '--bind-user=anna'), /its id 54321 is one of the container's/);
  assert.match(
    refusal(`--private-users=${BASE}:60514`, '--private-users-ownership=off', '--bind-user=anna'),
    /no free id/,
  );
  writeFileSync(join(tree.path, 'etc/passwd'), 'anna:x:1:1::/:/bin/sh\n');
  assert.match(refusal(own, '--bind-user=anna'), /^binding the user anna: the container has a user of this name$/);
  writeFileSync(join(tree.path, 'etc/passwd'), '');
  writeFileSync(join(tree.path, 'etc/group'), 'bert:x:1:\n');
  assert.match(refusal(own, '--bind-user=bert'), /^binding the user bert: the container has a group of this name$/);
});

needs([root, busybox, tool('unshare'), loopMount('ext4')])('in a disk image as well', () => {
  using users = host();
  using disk = mounted('ext4', '100M');
  using scratch = temporaryDirectory();
  const image = join(scratch.path, 'image.raw');
  execFileSync('cp', ['-a', `${busyboxTree()}/.`, disk.path]);
  writeFileSync(join(disk.path, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\na:x:60514:1::/:/bin/sh\n');
  execFileSync('mkfs.ext4', ['-q', '-d', disk.path, image, '100M']);
  const show = ['-U', '--bind-user=anna', '--', '/bin/busybox', 'stat', '-c', '%u', '/run/host/home/anna/file', '/bin'];
  const { stdout, stderr } = commandLine(users.before, '-i', image, '--volatile=overlay', '--timezone=off', ...show);
  assert.equal([stdout, stderr], ['60515\n0', '']);
});

test('a password hash is in a file of its own, and nowhere without one', () => {
  const user = { name: 'anna', uid: 1, gid: 2, home: '/home/anna', id: 60514 };
  const names = (password: string | undefined) =>
    recordsOf(user, password).map(({ name, link, mode, content }) => [name, link, mode, content.includes('secret')]);
  assert.equal(names('secret'), [
    ['anna.group', '60514.group', 0o644, false],
    ['anna.user-privileged', '60514.user-privileged', 0o600, true],
    ['anna.user', '60514.user', 0o644, false],
  ]);
  assert.equal(
    names(undefined).map(([name]) => name),
    ['anna.group', 'anna.user'],
  );
});

test('the map is that of the range around the users', () => {
  const ids = { base: 1000, count: 60517 };
  const user = (id: number, uid: number) => ({ name: 'x', uid, gid: uid + 1, home: '/', id });
  assert.equal(mapsWith([], ids).uids, [{ inside: 0, outside: 1000, count: 60517 }]);
  const { uids, gids } = mapsWith([user(60514, 7), user(60516, 9)], ids);
  assert.equal(uids, [
    { inside: 0, outside: 1000, count: 60514 },
    { inside: 60514, outside: 7, count: 1 },
    { inside: 60515, outside: 61515, count: 1 },
    { inside: 60516, outside: 9, count: 1 },
  ]);
  assert.equal(
    gids.map(({ outside }) => outside),
    [1000, 8, 61515, 10],
  );
});

test.run();
