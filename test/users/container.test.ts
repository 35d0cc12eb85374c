/** Containers with users of their own. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exec, type SpawnOptions } from '../../src/index.ts';
import { commandLine, idle, run, shell, startError } from '../container/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree, debian, debianTree } from '../support/tree.ts';
import { BASE, mapped, show } from './support.ts';

const check = needs([root, busybox]);
const tree = () => mapped(busyboxTree());

check('root inside is somebody else on the host, and the tree is root’s inside', async () => {
  await using container = await idle(tree());
  assert.is(statSync(`/proc/${container.pid}/root/etc/passwd`).uid, BASE);
  assert.is(lstatSync(`/proc/${container.pid}`).uid, BASE);
  assert.is(
    await shell('id -u; stat -c %u:%g / /etc/passwd /dev /run /dev/pts /dev/null', tree()),
    ['0', ...Array(6).fill('0:0')].join('\n'),
  );
  const map = await shell('cat /proc/self/uid_map /proc/self/gid_map', tree());
  assert.equal(map.trim().split(/\s+/).map(Number), [0, BASE, 65536, 0, BASE, 65536]);
});

check('what it writes belongs to the tree’s own users on disk', async () => {
  using copy = copyTree(busyboxTree());
  const options = { ...tree(), directory: copy.path, volatile: 'no' as const };
  await shell('touch /by-root; mkdir /by-5; chown 5:7 /by-5', options);
  const owners = (name: string) => [lstatSync(join(copy.path, name)).uid, lstatSync(join(copy.path, name)).gid];
  assert.equal(
    [owners('by-root'), owners('by-5'), owners('etc')],
    [
      [0, 0],
      [5, 7],
      [0, 0],
    ],
  );
});

check('a tree that is left as it is, and has been given to them before', async () => {
  using copy = copyTree(busyboxTree());
  for (const name of readdirSync(copy.path)) chownSync(join(copy.path, name), BASE, BASE);
  chownSync(copy.path, BASE, BASE);
  for (const privateUsers of ['yes', { base: BASE, count: 65536 }] as const) {
    const options: SpawnOptions = { directory: copy.path, privateUsers, usersOwnership: 'off' };
    assert.is(await shell('stat -c %u /root /; touch /made; stat -c %u /made', options), '0\n0\n0');
    assert.is(lstatSync(join(copy.path, 'made')).uid, BASE);
  }
});

check('the identity: the same ids, but no rights outside', async () => {
  const options: SpawnOptions = { ...tree(), privateUsers: 'identity', usersOwnership: 'off' };
  assert.match(await shell('cat /proc/self/uid_map; stat -c %u /etc', options), /^ +0 +0 +65536\n0$/);
  const { status, stderr } = await run({ ...options, command: ['/bin/sh', '-c', 'mknod /x b 1 1'] });
  assert.is(status, 1);
  assert.match(stderr, 'not permitted');
});

check('mounts can neither be taken away nor made writable', async () => {
  const binds = [{ source: '/usr', destination: '/mnt', readOnly: true, recursive: true }];
  const script = `
    for path in /mnt /sys /dev /run; do umount $path 2>/dev/null && echo "took $path away"; done
    mount -o remount,rw,bind /mnt 2>/dev/null && echo 'made it writable'
    touch /mnt/x 2>/dev/null && echo wrote
    mount -o remount,rw,bind /sys 2>/dev/null && echo 'made /sys writable'
    umount -l / 2>/dev/null; mount -t tmpfs own /tmp && echo 'may mount'`;
  assert.is(await shell(script, { ...tree(), binds }), 'may mount');
  const readOnly: SpawnOptions = { ...tree(), volatile: 'no', readOnly: true };
  assert.is(
    await shell('mount -o remount,rw,bind / 2>/dev/null || mount -o remount,rw / 2>/dev/null || echo no', readOnly),
    'no',
  );
});

check('a host that hides parts of its /proc and /sys, as in a container, is no hindrance', () => {
  const { status, stdout, stderr } = commandLine(
    'mount -t tmpfs none /proc/fs; mount -t tmpfs none /sys/kernel',
    ...['-D', busyboxTree(), '--volatile=overlay', `--private-users=${BASE}`, '--private-users-ownership=map'],
    ...['--timezone=off', '--private-network', '--', '/bin/sh', '-c', 'cat /proc/1/comm; ls /sys/class/net'],
  );
  assert.equal([status, stdout, stderr], [0, 'sh\nlo', '']);
});

check('device nodes work, and others can’t be made', async () => {
  const script =
    'echo x >/dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 1 /dev/urandom | wc -c; mknod /n c 1 3 2>/dev/null || echo no';
  assert.is(await shell(script, tree()), ' 00 00 00\n1\nno');
});

check('all ways of a root directory that is not written to', async () => {
  const look =
    'stat -c %u / /usr; touch /x 2>/dev/null && echo wrote; touch /usr/x 2>/dev/null && echo wrote; touch /var/x 2>/dev/null && echo wrote; :';
  const seen = (options: SpawnOptions) => shell(look, { ...tree(), ...options });
  assert.is(await seen({ volatile: 'overlay' }), '0\n0\nwrote\nwrote\nwrote');
  assert.is(await seen({ volatile: 'yes' }), '0\n0\nwrote\nwrote');
  assert.is(await seen({ volatile: 'state' }), '0\n0\nwrote');
  assert.is(await seen({ volatile: 'no', readOnly: true }), '0\n0');
});

check('a private network is the container’s own, with what shows it', async () => {
  const options: SpawnOptions = { ...tree(), privateNetwork: true };
  assert.is(await shell('ls /sys/class/net; ip link set lo down; ip link set lo up; echo $?', options), 'lo\n0');
  assert.match(await shell('mount | grep " /sys "', options), /\(ro,/);
});

needs([root, busybox, tool('ip')])(
  'a network namespace that is there already is joined, without rights over it',
  async () => {
    const name = `nspawn-test-${process.pid}`;
    execFileSync('ip', ['netns', 'add', name]);
    try {
      const path = `/run/netns/${name}`;
      const inode = statSync(path).ino;
      const options: SpawnOptions = { ...tree(), networkNamespacePath: path, privateNetwork: true };
      const script = 'stat -L -c %i /proc/self/ns/net; ls /sys/class/net; ip link set lo down 2>/dev/null || echo no';
      assert.is(await shell(script, options), `${inode}\nlo\nno`);
    } finally {
      execFileSync('ip', ['netns', 'delete', name]);
    }
  },
);

check('what is made for the container has the permissions that it is to have', async () => {
  const options: SpawnOptions = {
    ...tree(),
    user: 'guest',
    binds: [{ source: '', destination: '/new/place', readOnly: false, recursive: true }],
  };
  assert.is(await shell('stat -c %a /new /dev/null /dev/shm /dev/pts', options), '755\n666\n1777\n755');
});

check('the console belongs to the container’s user', async () => {
  const of = async (options: SpawnOptions) => {
    const { stdout } = await run({
      ...tree(),
      ...options,
      stdio: 'pty',
      command: ['/bin/sh', '-c', 'stat -c %u:%g /dev/console; tty'],
    });
    return stdout.trim().split(/\s+/);
  };
  assert.equal(await of({}), ['0:0', '/dev/console']);
  assert.equal(await of({ user: 'guest' }), ['1000:1000', '/dev/console']);
});

check('users of the container, also with the ids that only it has', async () => {
  const id = (options: SpawnOptions) =>
    shell('id -u; id -g; echo ~; touch /tmp/x; stat -c %u /tmp/x', { ...tree(), ...options });
  assert.match(await id({ user: 'guest' }), /^1000\n1000\n.*\n1000$/s);
  assert.match(
    await startError({ ...tree(), privateUsers: { base: BASE, count: 1000 }, user: 'guest', command: ['true'] }),
    /^becoming the user guest: .* has only 0 to \d+, not \d+; see --private-users=$/,
  );
});

check('a home directory that is missing is made, and belongs to its user', async () => {
  using copy = copyTree(busyboxTree());
  appendFileSync(join(copy.path, 'etc/passwd'), 'far:x:1001:1002::/new/home/far:/bin/sh\n');
  const options: SpawnOptions = { ...mapped(copy.path), volatile: 'no', user: 'far' };
  assert.is(await shell('stat -c "%a %u:%g" /new /new/home ~', options), '775 0:0\n775 0:0\n755 1001:1002');
});

check('few ids are enough', async () => {
  const few: SpawnOptions = { ...tree(), privateUsers: { base: BASE, count: 1 } };
  assert.is(await shell('id -u; stat -c %g /dev/pts; wc -l </proc/self/uid_map', few), '0\n0\n1');
});

check('limits are set by who may', async () => {
  const rlimits = [
    { name: 'NOFILE', soft: 5n, hard: 6n },
    { name: 'STACK', soft: 1n << 20n, hard: 'infinity' as const },
  ];
  assert.is(await shell('ulimit -n; ulimit -Hn; ulimit -s', { ...tree(), rlimits }), '5\n6\n1024');
});

check('a start that fails leaves nothing, and says why', async () => {
  const before = readdirSync(`/proc/${process.pid}/task/${process.pid}/children`.replace(/children$/, '')).length;
  const message = await startError({
    ...tree(),
    binds: [{ source: '/none', destination: '/mnt', readOnly: false, recursive: true }],
  });
  assert.match(message, /^opening \/none: /);
  assert.ok(before > 0);
});

check('ids that are to be picked are those of the name, and free again at the end', async () => {
  const options: SpawnOptions = { ...tree(), privateUsers: 'pick', usersOwnership: 'auto', machine: 'picked' };
  let base = 0;
  {
    await using first = await idle(options);
    base = lstatSync(`/proc/${first.pid}`).uid;
    assert.ok(existsSync(`/run/systemd/nspawn-uid/${base}`));
    await using second = await idle(options);
    assert.is.not(lstatSync(`/proc/${second.pid}`).uid, base);
  }
  assert.not.ok(existsSync(`/run/systemd/nspawn-uid/${base}`));
  await using again = await idle(options);
  assert.is(lstatSync(`/proc/${again.pid}`).uid, base);
});

check('what is bound keeps its owners, and a directory in memory is the container’s', async () => {
  using directory = temporaryDirectory();
  chmodSync(directory.path, 0o755);
  writeFileSync(join(directory.path, 'of-root'), '');
  mkdirSync(join(directory.path, 'theirs'));
  chownSync(join(directory.path, 'theirs'), BASE + 3, BASE + 4);
  const binds = [
    { source: directory.path, destination: '/mnt', readOnly: false, recursive: true },
    { source: '', destination: '/scratch', readOnly: false, recursive: true },
  ];
  const tmpfs = [{ path: '/t', options: 'uid=7,gid=8,mode=0700' }];
  const script = 'stat -c %u:%g /mnt/of-root /mnt/theirs /scratch /t; touch /scratch/x';
  assert.is(await shell(script, { ...tree(), binds, tmpfs }), '65534:65534\n3:4\n0:0\n7:8');
});

needs([root, debian])('a user that only getent knows is asked for inside', async () => {
  const options: SpawnOptions = { ...mapped(debianTree()), user: 'games' };
  assert.is(await shell('id -un', options), 'games');
  assert.match(
    await startError({ ...options, user: 'nobody-knows', command: ['true'] }),
    'the container does not know it',
  );
});

const beside = needs([root, busybox, tool('systemd-nspawn')]);

const OPTIONS: string[][] = [
  [],
  ['--private-network'],
  ['--capability=CAP_NET_BIND_SERVICE'],
  ['--drop-capability=all'],
];
for (const options of OPTIONS) {
  beside(
    `as with systemd-nspawn: ids, capabilities and devices with ${options.join(' ') || 'no further option'}`,
    () => {
      using copy = copyTree(busyboxTree());
      const words = [`--private-users=${BASE}`, '--private-users-ownership=map', ...options];
      const script = `
      grep -E '^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status
      cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
      cd /dev; stat -c '%n %a %u:%g %t:%T %F' null zero full random urandom tty net/tun ptmx pts pts/ptmx shm
      stat -c '%n %a %u:%g' / /proc /run /proc/sys /proc/1`;
      assert.is(show('ours', copy.path, words, script), show('theirs', copy.path, words, script));
    },
  );
}

check('exec joins the user namespace', async () => {
  await using container = await idle({ ...tree(), machine: 'joined' });
  const executed = await exec(container.machine, {
    command: [
      '/bin/sh',
      '-c',
      'id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status; touch /by-exec; stat -c %u /by-exec',
    ],
  });
  let text = '';
  for await (const chunk of executed.stdout ?? []) text += chunk;
  assert.is(await executed.exited, 0);
  assert.match(text, new RegExp(`^0\n +0 +${BASE} +65536\nCapEff:\t00000000fdecabff\n0\n$`));
});

test.run();
