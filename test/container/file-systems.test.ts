/** The file systems that every container has, and its root. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { commandLine, run, shell, unchanging } from './support.ts';

const check = needs([root, busybox]);
const checkMounts = needs([root, busybox, tool('unshare'), tool('mount')]);
const tree = () => unchanging(busyboxTree());

/** `path type flags` of all mounts that a container sees; flags of times left out. See proc_pid_mountinfo(5). */
async function mounts(options = {}): Promise<string[]> {
  const lines = (await shell('cat /proc/self/mountinfo', { ...tree(), ...options })).split('\n');
  return lines.map(line => {
    const [, , , , path, flags] = line.split(' ');
    const [, type] = / - (\S+) /.exec(line)!;
    return `${path} ${type} ${flags!.replace(',relatime', '')}`;
  });
}

const API_FILE_SYSTEMS = [
  '/proc proc rw,nosuid,nodev,noexec',
  '/proc/sys proc ro,nosuid,nodev,noexec',
  '/sys sysfs ro,nosuid,nodev,noexec',
  '/dev tmpfs rw,nosuid',
  '/dev/pts devpts rw,nosuid,noexec',
  '/dev/shm tmpfs rw,nosuid,nodev',
  '/run tmpfs rw,nosuid,nodev',
  '/proc/kmsg tmpfs rw,nosuid',
  '/proc/sys/kernel/random/boot_id tmpfs ro,nosuid,nodev,noexec',
];
const withoutSelinux = (lines: string[]) => lines.filter(line => !line.startsWith('/sys/fs/selinux '));

check('it has these mounts and no others', async () => {
  assert.equal(withoutSelinux(await mounts()), ['/ overlay rw', ...API_FILE_SYSTEMS]);
});

check('the directories that are mounted on have their modes', async () => {
  const output = await shell('stat -c "%n %a %u:%g" /dev /dev/shm /run /dev/pts/ptmx');
  assert.equal(output.split('\n'), ['/dev 755 0:0', '/dev/shm 1777 0:0', '/run 755 0:0', '/dev/pts/ptmx 666 0:0']);
});

check("/dev has the host's device nodes, and links", async () => {
  const nodes = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'net/tun'].filter(name =>
    existsSync(`/dev/${name}`),
  );
  const expected = nodes.map(name => {
    const { mode, rdev } = statSync(`/dev/${name}`);
    const [major, minor] = [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)];
    return `/dev/${name} character special file ${(mode & 0o7777).toString(8)} ${major.toString(16)}:${minor.toString(16)}`;
  });
  const paths = nodes.map(name => `/dev/${name}`).join(' ');
  assert.equal((await shell(`stat -c '%n %F %a %t:%T' ${paths}`)).split('\n'), expected);

  const links = ['core', 'fd', 'ptmx', 'stderr', 'stdin', 'stdout'].filter(
    name => name !== 'core' || existsSync('/proc/kcore'),
  );
  const listed = (await shell('cd /dev; ls | cat')).split('\n');
  assert.equal(listed, [...new Set([...nodes.map(name => name.split('/')[0]!), ...links, 'pts', 'shm'])].sort());
  assert.is(
    await shell('cd /dev; for l in ptmx fd stdin stdout stderr; do readlink $l; done'),
    'pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2',
  );
});

checkMounts('a device that the host lacks is left out, one that is none is refused', () => {
  const words = ['-D', busyboxTree(), '--volatile=overlay', '--timezone=off', '/bin/ls', '/dev/net'];
  const lacking = commandLine('mkdir -p /dev/net; mount -t tmpfs none /dev/net', ...words);
  assert.equal([lacking.stdout, lacking.stderr], ['', 'ls: /dev/net: No such file or directory']);
  const wrong = commandLine('mount --bind /etc/passwd /dev/full', ...words);
  assert.equal([wrong.status, wrong.stderr], [1, 'copying the device node /dev/full: it is no device']);
});

check('devices work, and pseudo terminals are its own', async () => {
  assert.is(await shell('echo lost >/dev/null; head -c 3 /dev/zero | wc -c; echo out >/dev/stdout'), '3\nout');
  assert.is(await shell('ls /dev/pts; exec 3<>/dev/ptmx; ls /dev/pts; stat -c %g /dev/pts/0'), 'ptmx\n0\nptmx\n5');
});

check('on a pseudo terminal, /dev/console is that, and the controlling terminal', async () => {
  const script = 'tty; stat -c "%F %a %u" /dev/console; echo by name >/dev/tty; readlink /proc/self/fd/2';
  const { stdout } = await run({ ...tree(), stdio: 'pty', command: ['/bin/sh', '-c', script] });
  assert.equal(stdout.split('\r\n'), ['/dev/console', 'character special file 600 0', 'by name', '/dev/console\r']);
});

check(
  'the terminal is in a file system of its own: what a busybox init does to it at its end, the host does not see',
  async () => {
    const hosts = () => readFileSync('/proc/self/mountinfo', 'utf8').match(/^.* - devpts .*$/gm);
    const before = hosts();
    try {
      // umount -a -r does so with what is in use.
      const script = 'mount -o remount,ro /dev/console && grep " /dev/console " /proc/mounts';
      const { stdout } = await run({ ...tree(), stdio: 'pty', command: ['/bin/sh', '-c', script] });
      assert.match(stdout, /^devpts \/dev\/console devpts ro,/);
      assert.equal(hosts(), before);
    } finally {
      if (hosts()?.join() !== before?.join()) execFileSync('mount', ['--options', 'remount,rw', '/dev/pts']);
    }
  },
);

check('on pipes there is no /dev/console', async () => {
  assert.is(await shell('ls /dev/console 2>&1; :'), 'ls: /dev/console: No such file or directory');
});

check('who reads the kernel log waits, and there is no /dev/kmsg', async () => {
  assert.is(
    await shell('ls /dev/kmsg 2>&1; stat -c "%F %a" /proc/kmsg; timeout 1 cat /proc/kmsg; echo $?'),
    'ls: /dev/kmsg: No such file or directory\nfifo 600\n143',
  );
});

check('/proc/sys and /sys can be read only', async () => {
  const { stderr } = await run({
    ...tree(),
    command: ['/bin/sh', '-c', 'echo x >/proc/sys/kernel/hostname; mkdir /sys/fs/x'],
  });
  assert.equal(stderr.match(/Read-only file system/g)?.length, 2);
});

check('what a root file system lacks is made: directories, and links into /usr', async () => {
  using copy = copyTree(busyboxTree());
  for (const name of readdirSync(copy.path)) if (name !== 'usr') rmSync(join(copy.path, name), { recursive: true });
  const list = 'stat -c "%n %a" /* | grep -v /lib64; for l in bin sbin lib; do readlink /$l; done';
  const { stdout } = await run({ directory: copy.path, command: ['busybox', 'sh', '-c', list] });
  const directories = [
    'dev 755',
    'etc 755',
    'home 755',
    'proc 555',
    'root 750',
    'run 755',
    'sys 555',
    'tmp 1777',
    'usr 755',
    'var 755',
  ];
  const links = ['bin 777', 'lib 777', 'sbin 777'];
  assert.equal(stdout.split('\n'), [
    ...[...directories, ...links].sort().map(line => `/${line}`),
    'usr/bin',
    'usr/sbin',
    'usr/lib',
  ]);
});

check('what is there is left as it is', async () => {
  using copy = copyTree(busyboxTree());
  rmSync(join(copy.path, 'bin'));
  execFileSync('sh', [
    '-c',
    'cd "$1"; mkdir bin; cp usr/bin/busybox bin/sh; chmod 700 home; chown 7:8 home',
    'sh',
    copy.path,
  ]);
  assert.is(await shell('stat -c "%F" /bin; stat -c "%a %u:%g" /home', { directory: copy.path }), 'directory\n700 7:8');
});

check('what a container writes is in the tree; read-only, it can write nothing there', async () => {
  using copy = copyTree(busyboxTree());
  await shell('echo written >/etc/new', { directory: copy.path });
  assert.ok(existsSync(join(copy.path, 'etc/new')));
  const script = 'echo x >/etc/newer; echo x >/run/x; echo x >/dev/shm/x; cat /run/x /dev/shm/x';
  const { stdout, stderr } = await run({ directory: copy.path, readOnly: true, command: ['/bin/sh', '-c', script] });
  assert.equal([stdout, stderr], ['x\nx', "/bin/sh: can't create /etc/newer: Read-only file system"]);
});

checkMounts('read-only goes for mounts below the tree, too', () => {
  using copy = copyTree(busyboxTree());
  const before = `mount -t tmpfs x ${copy.path}/home`;
  const { stderr } = commandLine(before, '-D', copy.path, '--read-only', '/bin/sh', '-c', 'echo x >/home/x');
  assert.match(stderr, "can't create /home/x: Read-only file system");
  assert.is(commandLine(before, '-D', copy.path, '--timezone=off', '/bin/sh', '-c', 'echo x >/home/x').stderr, '');
});

const writeEverywhere = 'for d in / /usr /var /etc; do echo x 2>/dev/null >$d/x && echo $d; done; :';

check('--volatile=yes: only /usr of the tree, read-only, and all else is empty and in memory', async () => {
  const options = { directory: busyboxTree(), volatile: 'yes', timezone: 'off', resolvConf: 'off' } as const;
  assert.is(await shell(writeEverywhere, options), '/\n/var\n/etc');
  assert.is(await shell('ls /etc /home; stat -c %a / /tmp', options), '/etc:\n\n/home:\n755\n1777');
  assert.equal(
    (await mounts(options)).slice(0, 2).map(line => line.replace(/ ext4| btrfs| overlay/, '')),
    ['/ tmpfs rw', '/usr ro'],
  );
});

check('--volatile=state: the tree read-only, with an empty /var in memory', async () => {
  const options = { directory: busyboxTree(), volatile: 'state' } as const;
  assert.is(await shell(writeEverywhere, options), '/var');
  assert.is(await shell('ls /var; stat -c %a /var; cat /etc/hostname', options), '755\nbusybox');
});

check('--volatile=overlay: everything can be written to, and the tree stays as it is', async () => {
  const before = execFileSync('find', [busyboxTree(), '-ls'], { encoding: 'utf8' });
  assert.is(
    await shell(`${writeEverywhere}; rm -r /home; ls -d /home 2>&1; :`),
    '/\n/usr\n/var\n/etc\nls: /home: No such file or directory',
  );
  assert.is(execFileSync('find', [busyboxTree(), '-ls'], { encoding: 'utf8' }), before);
});

/** Mounts a host's file system with a name in it on each path of a tree, and one more below. */
const mountHostThings = (tree: string, paths: string[]) =>
  paths
    .flatMap(path => [
      `mount -t tmpfs host ${tree}/${path}`,
      `mkdir ${tree}/${path}/HOST`,
      `mount -t tmpfs deep ${tree}/${path}/HOST`,
    ])
    .join('\n');

/** Takes all mounts away one after the other, as root in the container can, and lists what of the host comes to light. */
const unmountAll = `
  cd /
  for i in 1 2 3 4 5; do
    for path in /dev/pts /dev/shm /dev /run /sys /mydev /proc/kmsg /proc/sys/kernel/random/boot_id /proc/sys /proc; do
      umount -l $path
      ls -d /dev/HOST /run/HOST /sys/HOST /proc/HOST /mydev/HOST
    done
  done 2>/dev/null
  [ -e /proc/self ] || echo all unmounted`;

checkMounts("the host's /dev, /proc, /run and /sys stay outside, also below the container's own", () => {
  using copy = copyTree(busyboxTree());
  const before = mountHostThings(copy.path, ['dev', 'proc', 'run', 'sys']);
  // Twice, as one over the other; and a mount that is hidden by another, and a name that must be escaped.
  const more = `${mountHostThings(copy.path, ['dev'])}
    mkdir ${copy.path}/run/'a b'; mount -t tmpfs x ${copy.path}/run/'a b'
    mkdir ${copy.path}/dev/over ${copy.path}/dev/over/under; mount -t tmpfs x ${copy.path}/dev/over/under; mount -t tmpfs x ${copy.path}/dev/over`;
  const script = `ls /dev | grep HOST; ${unmountAll}`;
  const { stdout } = commandLine(`${before}\n${more}`, '-D', copy.path, '/bin/sh', '-c', script);
  assert.is(stdout, 'all unmounted');
});

checkMounts('they stay outside also where a symlink of the tree leads to them', () => {
  for (const target of ['/mydev', 'mydev', '../mydev']) {
    using copy = copyTree(busyboxTree());
    rmSync(join(copy.path, 'dev'), { recursive: true });
    mkdirSync(join(copy.path, 'mydev'));
    symlinkSync(target, join(copy.path, 'dev'));
    const { stdout } = commandLine(mountHostThings(copy.path, ['mydev']), '-D', copy.path, '/bin/sh', '-c', unmountAll);
    assert.is(stdout, 'all unmounted', target);
  }
});

checkMounts('mounts that lie hidden below the tree are no trouble', () => {
  using hidden = copyTree(busyboxTree());
  using copy = copyTree(busyboxTree());
  const before = `mkdir ${hidden.path}/dev/deep; mount -t tmpfs x ${hidden.path}/run; mount -t tmpfs x ${hidden.path}/dev/deep
    mount --bind ${copy.path} ${hidden.path}`;
  const { stdout, stderr } = commandLine(before, '-D', hidden.path, '--timezone=off', '/bin/sh', '-c', unmountAll);
  assert.equal([stdout, stderr], ['all unmounted', '']);
});

checkMounts('other mounts below the tree are there', () => {
  using copy = copyTree(busyboxTree());
  writeFileSync(join(copy.path, 'etc/motd'), '');
  const before = `mount -t tmpfs x ${copy.path}/home; mkdir ${copy.path}/home/there; mkdir ${copy.path}/devices; mount -t tmpfs x ${copy.path}/devices; mkdir ${copy.path}/devices/too`;
  assert.is(
    commandLine(before, '-D', copy.path, '/bin/ls', '/home', '/devices').stdout,
    '/devices:\ntoo\n\n/home:\nthere',
  );
});

test.run();
