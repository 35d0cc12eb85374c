/** Who the payload runs as: -u. */
import {
  chmodSync,
  chownSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree, debian, debianTree } from '../support/tree.ts';
import { run, shell, startError, unchanging } from './support.ts';

const check = needs([root, busybox]);
const as = (user: string) => ({ ...unchanging(busyboxTree()), user });

check("user, group and groups are those of the tree's passwd and group files", async () => {
  const ids = 'id -u; id -g; id -G; echo $HOME $USER $LOGNAME; pwd; grep ^Groups /proc/self/status';
  assert.equal((await shell(ids, as('guest'))).split('\n'), [
    '1000',
    '1000',
    '1000 2000',
    '/home/guest guest guest',
    '/',
    'Groups:\t1000 2000 ',
  ]);
  assert.equal((await shell(ids, as('1000'))).split('\n').slice(0, 4), [
    '1000',
    '1000',
    '1000 2000',
    '/home/guest 1000 1000',
  ]);
});

check('root needs no user database', async () => {
  using copy = copyTree(busyboxTree());
  rmSync(join(copy.path, 'etc/passwd'));
  const ids = 'id -u; grep ^Groups /proc/self/status; echo $HOME $USER';
  assert.is(await shell(ids, { directory: copy.path }), '0\nGroups:\t \n/root root');
  assert.is(await shell(ids, { directory: copy.path, user: 'root' }), '0\nGroups:\t \n/root root');
  assert.is(await shell(ids, { directory: copy.path, user: '0' }), '0\nGroups:\t \n/root 0');
});

check('a user other than root has no capabilities, but the bounding set stays', async () => {
  const sets = (await shell("grep '^Cap' /proc/self/status", as('guest'))).split('\n').map(line => line.slice(8));
  assert.equal(sets.slice(0, 3), ['0000000000000000', '0000000000000000', '0000000000000000']);
  assert.not.match(sets[3]!, /^0+$/);
});

check('a missing home directory is made and given to the user, one that is there stays as it is', async () => {
  using copy = copyTree(busyboxTree());
  writeFileSync(join(copy.path, 'etc/passwd'), 'a:x:1:2::/deep/er/home:/bin/sh\nb:x:3:4::/there:/bin/sh\n');
  mkdirSync(join(copy.path, 'there'));
  chmodSync(join(copy.path, 'there'), 0o700);
  chownSync(join(copy.path, 'there'), 9, 9);
  await run({ directory: copy.path, user: 'a', command: ['/bin/true'] });
  await run({ directory: copy.path, user: 'b', command: ['/bin/true'] });
  const look = (path: string) => {
    const { mode, uid, gid } = statSync(join(copy.path, path));
    return `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
  };
  assert.equal(['deep/er', 'deep/er/home', 'there'].map(look), ['775 0:0', '755 1:2', '700 9:9']);
});

check('a home directory that leads out of the tree is made inside it', async () => {
  using copy = copyTree(busyboxTree());
  using outside = temporaryDirectory();
  writeFileSync(join(copy.path, 'etc/passwd'), `a:x:1:2::/../../..${outside.path}/escaped:/bin/sh\n`);
  await run({ directory: copy.path, user: 'a', command: ['/bin/true'] });
  assert.not.ok(existsSync(join(outside.path, 'escaped')));
  assert.ok(existsSync(join(copy.path, outside.path, 'escaped')));
});

check("the caller's own streams are not given to the user", async () => {
  using directory = temporaryDirectory();
  const path = join(directory.path, 'output');
  const fd = openSync(path, 'w');
  await run({ ...as('guest'), stdio: [fd, fd, fd], command: ['/bin/sh', '-c', 'id -u; touch /dev/null'] });
  assert.equal([fstatSync(fd).uid, readFileSync(path, 'utf8')], [0, '1000\n']);
});

check('a pseudo terminal belongs to the user', async () => {
  const { stdout } = await run({
    ...as('guest'),
    stdio: 'pty',
    command: ['/bin/sh', '-c', 'stat -c "%u %g %a" /dev/console; echo x >/dev/console'],
  });
  assert.is(stdout, '1000 1000 600\r\nx\r');
});

const entries: Record<string, [passwd: string, error: RegExp]> = {
  'no home directory': ['a:x:1:1\n', /^looking up the user "a": its entry in the container's user database is broken$/],
  'a relative home directory': ['a:x:1:1::home:\n', /^looking up the user "a": its entry [^\n]* is broken$/],
  'a uid that is none': ['a:x:1x:1::/:\n', /^looking up the user "a": "1x" is no id$/],
  'the uid that stands for none': ['a:x:4294967295:1::/:\n', /^looking up the user "a": "4294967295" is no id$/],
  'a negative gid': ['a:x:1:-1::/:\n', /^looking up the user "a": "-1" is no id$/],
  'control characters': ['a:x:\u001b[2J:1::/:\n', /^looking up the user "a": "\\u001b\[2J" is no id$/],
};
for (const [name, [passwd, error]] of Object.entries(entries)) {
  check(`a broken entry is refused: ${name}`, async () => {
    using copy = copyTree(busyboxTree());
    writeFileSync(join(copy.path, 'etc/passwd'), passwd);
    assert.match(await startError({ directory: copy.path, user: 'a', command: ['/bin/true'] }), error);
  });
}

needs([root, debian])('who is in no file is asked for from getent', async () => {
  const debianAs = (user: string) => ({ ...unchanging(debianTree()), user });
  assert.is(await shell('id -un; id -G', debianAs('nobody')), 'nobody\n65534');
  assert.is(
    await startError({ ...debianAs('nobody-such'), command: ['/bin/true'] }),
    'looking up the user "nobody-such": the container does not know it',
  );
});

/** A tree whose getent is a shell script. */
function treeWithGetent(script: string) {
  const copy = copyTree(busyboxTree());
  writeFileSync(join(copy.path, 'usr/bin/getent'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return copy;
}
const answer = 'case $1 in passwd) echo "far:x:5:6::/home/far:";; initgroups) echo "far   6 7 8";; esac';

check("user and groups come from getent where the files don't know the user", async () => {
  using copy = treeWithGetent(answer);
  assert.is(
    await shell('id -u; id -g; grep ^Groups /proc/self/status; stat -c %u ~', { directory: copy.path, user: 'far' }),
    '5\n6\nGroups:\t6 7 8 \n5',
  );
});

check("getent sees the container's mounts, but can write to none, has no capabilities and is alone", async () => {
  using host = temporaryDirectory();
  writeFileSync(join(host.path, 'user'), 'far:x:5:6::/home/far:\n');
  using copy = treeWithGetent(`
    [ $1 = initgroups ] && { echo far 6; exit; }
    cat /mnt/user
    exec 2>/dev/null
    for f in /mnt/w /etc/w /mnt/deep/w /over/w; do echo x >$f; done
    grep -q '^CapBnd:.0*$' /proc/self/status || exit 9
    set -- /proc/[0-9]*
    [ "$*" = /proc/1 ] || exit 9
    hostname hacked && exit 9
    sleep 1000 & `);
  mkdirSync(join(host.path, 'deep'));
  mkdirSync(join(host.path, 'upper'));
  const options = {
    directory: copy.path,
    user: 'far',
    binds: [{ source: host.path, destination: '/mnt', readOnly: false, recursive: true }],
    overlays: [{ lower: [`${host.path}/deep`], upper: `${host.path}/upper`, destination: '/over', readOnly: false }],
  };
  assert.is(await shell('id -u', options), '5');
  assert.is(await shell('id -u', { ...options, shareSystem: true }), '5');
  for (const path of ['w', 'deep/w', 'upper/w']) assert.not.ok(existsSync(join(host.path, path)), path);
  assert.not.ok(existsSync(join(copy.path, 'etc/w')));
});

const attacks: Record<string, [script: string, error: RegExp]> = {
  'is not there': [
    '',
    /^looking up the user "far": the container's \/etc\/passwd does not know it, and there is no \/usr\/bin\/getent to ask$/,
  ],
  hangs: ['exec sleep 1000', /^looking up the user "far": asking the container's getent: it took longer than 10 s$/],
  'floods its output': ['exec cat /dev/zero', /asking the container's getent: it said more than 1048576 bytes$/],
  'floods its errors': ['cat /dev/zero >&2 & sleep 0.2; exit 2', /the container does not know it$/],
  'prints rubbish': [
    'head -c 100000 /bin/busybox',
    /^looking up the user "far": (its entry in the container's user database is broken|"[^\n]*" is no id)$/,
  ],
  'prints nothing': ['exit 0', /its entry in the container's user database is broken$/],
  'fails in its own way': ['exit 77', /the container's getent has failed with status 77$/],
  'kills itself': ['kill -9 $$; kill -SEGV $$; exit 3', /getent has failed with status 3$/],
  'forks, and prints half a line': [
    'for i in $(seq 50); do sleep 1000 & done; echo far:x:5',
    /its entry in the container's user database is broken$/,
  ],
  'is a directory': [
    'DIRECTORY',
    /^looking up the user "far": asking the container's getent: running \/usr\/bin\/getent[^\n]*\(EACCES\)$/,
  ],
  'names groups that are none': [
    '[ $1 = passwd ] && echo far:x:5:6::/: || echo far 6 x',
    /^looking up the groups of the user "far": "x" is no id$/,
  ],
  'names too many groups': [
    '[ $1 = passwd ] && echo far:x:5:6::/: || echo far $(seq 70000)',
    /^becoming the user far: setgroups[^\n]*Invalid argument \(EINVAL\)$/,
  ],
};
for (const [name, [script, error]] of Object.entries(attacks)) {
  check(`a getent that ${name} is a clear error`, async () => {
    using copy = treeWithGetent(script);
    const getent = join(copy.path, 'usr/bin/getent');
    if (script === '' || script === 'DIRECTORY') rmSync(getent);
    if (script === 'DIRECTORY') mkdirSync(getent);
    assert.match(await startError({ directory: copy.path, user: 'far', command: ['/bin/true'] }), error);
  });
}

test.run();
