/** A copy has all that files have, and is not led astray. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { populate } from '../../src/container/template.ts';
import { silentLogger } from '../../src/log.ts';
import { loopMount, mounted } from '../support/loop-mount.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { debian, debianTree } from '../support/tree.ts';

const tools = [root, tool('rsync'), tool('getfattr'), tool('setfacl'), tool('setcap')];
const check = needs(tools);
const copy = (template: string, directory: string) => populate({ template, directory, readOnly: false }, silentLogger);
const sh = (script: string, ...words: string[]) =>
  execFileSync('bash', ['-euc', script, 'sh', ...words], { encoding: 'utf8', maxBuffer: 64 << 20 });

/** One of each kind of file, with names, owners, times and attributes that are seldom. */
const MAKE = `
  cd "$1"
  mkdir -p dir/inner "name with 'quotes' and \\\\" sticky
  printf 'text\\n' >file; : >empty; printf x >"$(printf 'not \\377 utf-8\\n')"
  ln file dir/hard; ln file dir/inner/harder
  ln -s file symlink; ln -s /nowhere dangling; ln -s "$(printf '%900s' x)" long-link; ln symlink hard-symlink
  mkfifo fifo; mknod char c 1 3; mknod block b 7 0; ln fifo hard-fifo
  touch -d '1969-12-31 23:59:58.123456789 UTC' file; touch -d '2038-01-20 UTC' empty; touch -hd '2001-02-03 UTC' symlink
  cp /bin/true program; chown 1:2 program; chmod 6755 program; cp /bin/true capable; setcap cap_net_raw+ep capable
  chmod 0 empty; chown 12345:54321 dir; chown -h 7:8 symlink; chmod 1777 sticky
  setfattr -n user.note -v value file; setfattr -n trusted.note -v $'\\x01\\x02' dir; setfattr -hn trusted.link -v on symlink
  setfattr -n user.empty file; setfattr -n user.long -v "$(printf '%3000s' y)" dir/inner
  setfacl -m u:1:rw,g:2:r file; setfacl -d -m u:3:rx dir
  truncate -s 64M holes; printf middle | dd of=holes bs=1M seek=20 conv=notrunc status=none
  truncate -s 5M hole-only; printf start >holed-end; truncate -s 3M holed-end; head -c 300000 /dev/urandom >random
  touch -d '2020-02-02 02:02:02.2 UTC' dir/inner dir .`;

/** Differences that rsync, getfattr, find and blocks show. */
function differences(one: string, other: string): string {
  const listing = `
    list() { cd "$1"; find . -printf '%p %y %m %U %G %T@ %l %n %D\\n' | sed 's/ [0-9]*$//' | sort; getfattr -Rhdm - . | sort
             find . -type f -printf '%p %s %k\\n' | sort; find . \\( -type c -o -type b \\) -exec stat -c '%n %t %T' {} + | sort; }
    rsync -aAXHnci --delete "$1/" "$2/"; diff <(list "$1") <(list "$2") || true`;
  return sh(listing, one, other);
}

check('all kinds of files are the same as in the tree, and so are their attributes, links and holes', async () => {
  using at = temporaryDirectory();
  const tree = join(at.path, 'tree');
  mkdirSync(tree);
  sh(MAKE, tree);
  assert.ok(await copy(tree, join(at.path, 'copy')));
  assert.is(differences(tree, join(at.path, 'copy')), '');
  assert.ok(statSync(join(at.path, 'copy/holes')).blocks < 100);
  const inodes = ['file', 'dir/hard', 'dir/inner/harder'].map(name => statSync(join(at.path, 'copy', name)).ino);
  assert.is(new Set(inodes).size, 1);
});

check('sockets are kept', async () => {
  using at = temporaryDirectory();
  mkdirSync(join(at.path, 'tree'));
  const server = createServer().listen(join(at.path, 'tree/socket'));
  await once(server, 'listening');
  assert.ok(await copy(join(at.path, 'tree'), join(at.path, 'copy')));
  server.close();
  assert.ok(statSync(join(at.path, 'copy/socket')).isSocket());
});

needs([...tools, loopMount('btrfs'), loopMount('ext4')])('from one file system to another, too', async () => {
  using from = mounted('ext4', '300M', '-b', '4096');
  using to = mounted('btrfs', '300M');
  const tree = join(from.path, 'tree');
  mkdirSync(tree);
  sh(MAKE, tree);
  assert.ok(await copy(tree, join(to.path, 'copy')));
  assert.is(sh('rsync -aAXHnci --delete "$1/" "$2/"', tree, join(to.path, 'copy')), '');
  assert.ok(statSync(join(to.path, 'copy/holes')).blocks < 100);
});

needs([...tools, debian])('a Debian tree comes out the same', async () => {
  using at = temporaryDirectory();
  assert.ok(await copy(debianTree(), join(at.path, 'copy')));
  assert.is(sh('rsync -aAXHni --delete "$1/" "$2/"', debianTree(), join(at.path, 'copy')), '');
});

check('a tree that is changed meanwhile leads nowhere else', async () => {
  using at = temporaryDirectory();
  const tree = join(at.path, 'tree');
  mkdirSync(join(at.path, 'secret'));
  writeFileSync(join(at.path, 'secret/file'), 'secret');
  mkdirSync(join(tree, 'a'), { recursive: true });
  mkdirSync(join(tree, 'z/dir'), { recursive: true });
  for (let i = 0; i < 300; i++) writeFileSync(join(tree, `a/${i}`), 'plain');
  writeFileSync(join(tree, 'z/dir/file'), 'plain');
  symlinkSync(join(at.path, 'secret'), join(tree, 'z/link'));
  writeFileSync(join(tree, 'z/file'), 'plain');
  symlinkSync(join(at.path, 'secret/file'), join(tree, 'z/file-link'));
  // Directory and symlink change places, file and symlink, and file and fifo.
  const script = `
    cd "$1/z"; mkfifo fifo
    while :; do mv -T dir d; mv -T link dir; mv -T dir link; mv -T d dir
                mv file f; mv file-link file; mv file file-link; mv fifo file; mv file fifo; mv f file; done`;
  const changing = spawn('sh', ['-c', script, 'sh', tree], { stdio: 'ignore' });
  try {
    for (let turn = 0; turn < 15; turn++) {
      const made = join(at.path, `copy-${turn}`);
      // What has gone when it is opened is none of the copy; that, too, is an answer.
      const whole = await copy(tree, made).catch((error: Error) => error.message);
      if (whole !== true) continue;
      assert.is(sh('grep -rl secret --devices=skip "$1" || true', made), '');
    }
  } finally {
    changing.kill('SIGKILL');
    await once(changing, 'exit');
  }
  assert.is(readFileSync(join(at.path, 'secret/file'), 'utf8'), 'secret');
});

test.run();
