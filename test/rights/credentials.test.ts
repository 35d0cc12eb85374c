/** --set-credential= and --load-credential=, beside systemd-nspawn. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { run, startError, unchanging } from '../container/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree, debian, debianTree } from '../support/tree.ts';
import { main, ours, same, theirs } from './support.ts';

const beside = needs([root, debian, tool('systemd-nspawn')]);
const check = needs([root, busybox]);

const place = '/run/host/credentials';
const modes = `stat -c '%n %a %u:%g %F' /run/host ${place} ${place}/*; wc -c ${place}/*`;
/** Of two mounts, theirs, the upper one. */
const mount = `awk '$5 == "${place}" { print $6 }' /proc/self/mountinfo | sort | head -n 1; stat -f -c %T ${place}`;
const contents = `for file in ${place}/*; do od -An -c "$file"; done; env | grep CRED`;

beside('files, modes, owners, mount and environment are the same', () => {
  using directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'big'), Buffer.alloc(3_000_000, 'x'));
  writeFileSync(join(directory.path, 'empty'), '');
  const options = [
    '--set-credential=first.locale:de_DE\\n\\x00\\xff\\u00e4:"x y"',
    '--set-credential=nothing:',
    '--set-credential=with blank:a',
    `--load-credential=hosts:/etc/hosts`,
    `--load-credential=empty:${directory.path}/empty`,
  ];
  const shown = same(options, `${modes}; ${mount}; ${contents}; touch ${place}/new || echo none`);
  assert.match(shown, /credentials 500 0:0 directory/);
  assert.match(shown, /credentials\/hosts 400 0:0 regular file/);
  assert.match(shown, /\nCREDENTIALS_DIRECTORY=\/run\/host\/credentials\n.*none\n$/);
  assert.is(same([`--load-credential=big:${directory.path}/big`], `md5sum <${place}/big`).length, 36);
});

beside('a user reads them, and nobody else does', () => {
  const script = `${modes}; cat ${place}/a; id -u`;
  const words = (user: string) =>
    ['-D', debianTree(), '--volatile=overlay', '-u', user, '--set-credential=a:b'].concat('--', 'sh', '-c', script);
  assert.is(
    ours(...words('nobody')).stdout,
    [
      '/run/host 755 0:0 directory',
      `${place} 500 65534:65534 directory`,
      `${place}/a 400 65534:65534 regular file`,
      `1 ${place}/a`,
      'b65534\n',
    ].join('\n'),
  );
  // Theirs can't: the files are root's.
  assert.not.match(theirs(...words('nobody')).stdout, /b65534/);
});

beside('a user of the container’s own reads them', () => {
  const read = `stat -c '%a %u:%g' ${place} ${place}/a; cat ${place}/a`;
  assert.is(same(['--private-users=pick', '--set-credential=a:b\\n'], read), '500 0:0\n400 0:0\nb\n');
  const words = ['-D', debianTree(), '--volatile=overlay', '--private-users=pick', '-u', 'nobody'];
  const { stdout } = ours(...words, '--set-credential=a:b\\n', '--', '/bin/sh', '-c', read);
  assert.is(stdout, '500 65534:65534\n400 65534:65534\nb\n');
});

beside('init gets them, and hands them on to services', () => {
  using tree = copyTree(debianTree());
  const unit = [
    '[Unit]',
    'SuccessAction=poweroff-force',
    'FailureAction=poweroff-force',
    '[Service]',
    'Type=oneshot',
    'LoadCredential=a',
    'StandardOutput=file:/out',
    'ExecStart=/bin/sh /probe',
  ];
  writeFileSync(join(tree.path, 'etc/systemd/system/probe.service'), `${unit.join('\n')}\n`);
  const probe = `tr '\\0' '\\n' </proc/1/environ | grep CRED; ${modes}; echo a is $(cat $CREDENTIALS_DIRECTORY/a)`;
  writeFileSync(join(tree.path, 'probe'), probe);
  const words = ['-D', tree.path, '-b', '--set-credential=a:x y', '--', 'systemd.unit=probe.service'];
  const found = [ours, theirs].map(boot => {
    boot(...words);
    const out = readFileSync(join(tree.path, 'out'), 'utf8');
    rmSync(join(tree.path, 'out'));
    return out;
  });
  assert.is(found[0], found[1]);
  const mine = found[0]!.trimEnd().split('\n');
  assert.is(mine[0], `CREDENTIALS_DIRECTORY=${place}`);
  assert.is(mine.at(-1), 'a is x y');
});

check('a socket and a fifo are read up to their end', async () => {
  using directory = temporaryDirectory();
  const [socket, fifo] = [join(directory.path, 'socket'), join(directory.path, 'fifo')];
  const server = createServer(connection => connection.end('from a socket')).listen(socket);
  execFileSync('mkfifo', [fifo]);
  const writer = spawn('sh', ['-c', `sleep 0.1; echo from a fifo >${fifo}`]);
  try {
    const { stdout } = await run({
      ...unchanging(busyboxTree()),
      credentials: [
        { id: 's', path: socket },
        { id: 'f', path: fifo },
      ],
      command: ['/bin/sh', '-c', `cat ${place}/s ${place}/f`],
    });
    assert.is(stdout, 'from a socketfrom a fifo');
  } finally {
    server.close();
    writer.kill();
  }
});

check('a restarted container has them again, from a fifo, too', () => {
  const script = `cat ${place}/f; [ -e /mnt/again ] && exit 3; touch /mnt/again; sleep 0.1; reboot -f`;
  using directory = temporaryDirectory();
  const words = ['-D', busyboxTree(), '--volatile=overlay', `--bind=${directory.path}:/mnt`];
  const shell = `${process.execPath} ${main} -q -P ${words.join(' ')} --load-credential=f:/dev/fd/5 -- /bin/sh -c '${script}'`;
  const { stdout, status } = spawnSync('sh', ['-c', `echo once | { exec 5<&0 </dev/null; ${shell}; }`], {
    encoding: 'utf8',
  });
  assert.is(stdout, 'once\nonce\n');
  assert.is(status, 3);
});

check('a relative path is one of what a service manager has passed', () => {
  using directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'own'), 'passed on');
  process.env['CREDENTIALS_DIRECTORY'] = directory.path;
  try {
    const { stdout } = ours(
      ...['-D', busyboxTree(), '--volatile=overlay', '--load-credential=id:own'],
      ...['--', '/bin/cat', `${place}/id`],
    );
    assert.is(stdout, 'passed on');
  } finally {
    delete process.env['CREDENTIALS_DIRECTORY'];
  }
});

const command = ['/bin/true'];
check('what can not be read is told before anything is made', async () => {
  using directory = temporaryDirectory();
  const from = (path: string) => startError({ directory: directory.path, command, credentials: [{ id: 'a', path }] });
  assert.match(await from('/no/such'), /^reading the credential a from \/no\/such: ENOENT/);
  assert.match(await from('/etc'), /^reading the credential a from \/etc: EISDIR/);
  assert.match(await from('/dev/zero'), /^reading the credential a from \/dev\/zero: it has more than 64 MiB$/);
});

check('nothing in the tree leads a credential astray', async () => {
  using tree = copyTree(busyboxTree());
  using outside = temporaryDirectory();
  mkdirSync(join(outside.path, 'credentials'));
  const binds = [{ source: outside.path, destination: '/run/host', readOnly: false, recursive: true }];
  symlinkSync('/proc/1/root/etc', join(outside.path, 'link'));
  const credentials = [{ id: 'a', value: 'b' }];
  const { stdout } = await run({
    directory: tree.path,
    binds,
    credentials,
    command: ['/bin/sh', '-c', `cat ${place}/a; grep -c ${place} /proc/self/mountinfo`],
  });
  assert.is(stdout, 'b1');
  assert.is(execFileSync('ls', [join(outside.path, 'credentials')], { encoding: 'utf8' }), '');
});

check('values are not shown', async () => {
  const credentials = [{ id: 'a', value: 'hidden-value' }];
  const { log, stdout } = await run({
    ...unchanging(busyboxTree()),
    credentials,
    command: ['/bin/cat', `${place}/a`],
  });
  assert.is(stdout, 'hidden-value');
  assert.not.match(log.join('\n'), /hidden/);
  const words = ['-D', busyboxTree(), '--volatile=overlay', '--set-credential=a:hidden-value'];
  const traced = ours(...words, '--log-level=trace', '--', '/bin/true');
  assert.match(traced.stderr, /ramfs/);
  assert.not.match(traced.stderr, /hidden/);
  const planned = ours('--dry-run', ...words, '--', '/bin/true');
  assert.match(planned.stdout, /\npassing the credential a\n/);
  assert.not.match(planned.stdout, /hidden/);
});

test.run();
