/** What sandbox() is made of, as containers of any kind can have it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../src/index.ts';
import { nspawn } from '../cli/support.ts';
import { textOf } from '../console/support.ts';
import { shell } from '../library/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const it = needs([root, busybox]);

/** By the command, with a volatile root. */
const volatile = (script: string, ...options: string[]) =>
  nspawn(['-qP', '-D', busyboxTree(), '--volatile=overlay', ...options, '--', '/bin/sh', '-c', script]);

it('files belong to the payload’s user, with all that is made above them', async () => {
  const script = 'cd /x/y; stat -c "%n %F %a %u:%g" /x . a c /tmp; cat a; echo ~ $USER $(id -G); wc -c < big';
  const big = new Uint8Array(10 << 20);
  await using container = await spawn(
    shell(script, {
      readOnly: false,
      volatile: 'overlay',
      user: { uid: 12, gid: 34 },
      files: [
        { path: '/x/y/a', content: 'text\n', mode: 0o600 },
        { path: '/x/y/c', mode: 0o700 },
        { path: '/x/y/big', content: big },
      ],
    }),
  );
  assert.equal((await textOf(container.stdout!)).trim().split('\n'), [
    '/x directory 755 12:34',
    '. directory 755 12:34',
    'a regular file 600 12:34',
    'c directory 700 12:34',
    '/tmp directory 1777 0:0',
    'text',
    '/ 12 34',
    `${big.length}`,
  ]);
});

it('a file takes the place of what is there, and no symlink of the tree leads out', async () => {
  const first = 'ln -s /etc/passwd /tmp/link';
  const files = [{ path: '/etc/passwd', content: 'mine\n' }];
  await using container = await spawn(
    shell(`${first}; cat /etc/passwd`, { readOnly: false, volatile: 'overlay', files }),
  );
  assert.is(await textOf(container.stdout!), 'mine\n');
});

it('file systems in memory have the size that is asked for', async () => {
  const script = `for place in / /run /dev/shm /dev /mnt; do head -c 3145728 /dev/zero 2>/dev/null > $place/big; stat -c %s $place/big; done`;
  const { stdout } = await volatile(script, '--tmpfs-size=1M', '--tmpfs=/mnt:size=2M');
  const sizes = stdout.trim().split('\n').map(Number);
  assert.is(sizes.pop(), 2 << 20);
  assert.is(sizes.length, 4);
  // In some of them are directories and devices, too.
  for (const size of sizes) assert.ok(size > (1 << 20) - 65536 && size <= 1 << 20, `${size}`);
});

it('nobody makes user namespaces where that is forbidden, and elsewhere root does', async () => {
  const of = async (...options: string[]) => (await volatile('unshare -U true && echo made', '-U', ...options)).stdout;
  assert.is(await of(), 'made\n');
  assert.is(await of('--no-user-namespaces'), '');
});

test.run();
