/** Removing trees that were made to be hard to remove, or to lead elsewhere. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { removeTree } from '../../src/trees/remove.ts';
import { needs, root, tool } from '../support/needs.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const check = needs([root]);

function remove(parent: TemporaryDirectory, name = 'tree'): void {
  const fd = openSync(parent.path, 'r');
  try {
    removeTree(fd, name);
  } finally {
    closeSync(fd);
  }
}

check('a tree goes whatever is in it, and nothing that it only points to', () => {
  using parent = temporaryDirectory();
  const tree = join(parent.path, 'tree');
  mkdirSync(join(parent.path, 'kept/inner'), { recursive: true });
  mkdirSync(join(tree, 'a/b/c'), { recursive: true });
  symlinkSync('../kept', join(tree, 'relative'));
  symlinkSync(join(parent.path, 'kept'), join(tree, 'a/absolute'));
  symlinkSync('/', join(tree, 'a/b/root'));
  execFileSync('mkfifo', [join(tree, 'a/fifo')]);
  execFileSync('mknod', [join(tree, 'a/null'), 'c', '1', '3']);
  execFileSync('sh', ['-c', 'touch "$1/$(printf "\\377\\n")"; mkdir "$1/$(printf "\\376")"', 'sh', tree]);
  for (let i = 0; i < 3000; i++) writeFileSync(join(tree, `a/b/c/${i}-${'x'.repeat(100)}`), '');
  remove(parent);
  assert.equal(readdirSync(parent.path), ['kept']);
  assert.equal(readdirSync(join(parent.path, 'kept')), ['inner']);
  remove(parent);
});

needs([root, tool('python3'), tool('prlimit')])(
  'a tree goes that is deeper than paths are long, and than descriptors can be open',
  () => {
    using parent = temporaryDirectory();
    const deep = `import os\nos.mkdir('tree'); os.chdir('tree')\nfor i in range(1000):\n  open('f','w').close(); os.mkdir('d'*40); os.chdir('d'*40)`;
    execFileSync('python3', ['-c', deep], { cwd: parent.path });
    const module = join(import.meta.dirname, '../../src/trees/remove.ts');
    const script = `import { openSync } from 'node:fs'; import { removeTree } from ${JSON.stringify(module)}; removeTree(openSync('.', 'r'), 'tree');`;
    execFileSync('prlimit', ['--nofile=200:200', process.execPath, '-e', script], { cwd: parent.path });
    assert.equal(readdirSync(parent.path), []);
  },
);

needs([root, tool('chattr')])('attributes that forbid it (chattr +i, +a) are no hindrance', () => {
  using parent = temporaryDirectory();
  const tree = join(parent.path, 'tree');
  mkdirSync(join(tree, 'immutable'), { recursive: true });
  writeFileSync(join(tree, 'immutable/file'), '');
  writeFileSync(join(tree, 'append'), '');
  const set = (flags: string, path: string) => spawnSync('chattr', [flags, join(tree, path)]).status === 0;
  // Not all file systems have them.
  if (!set('+a', 'append')) return;
  set('+i', 'immutable/file');
  set('+i', 'immutable');
  set('+a', '.');
  remove(parent);
  assert.equal(readdirSync(parent.path), []);
});

needs([root, tool('mount')])('what is mounted below it stays, and is named', () => {
  using parent = temporaryDirectory();
  const tree = join(parent.path, 'tree');
  mkdirSync(join(tree, 'a/mounted'), { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', 'none', join(tree, 'a/mounted')]);
  writeFileSync(join(tree, 'a/mounted/file'), '');
  assert.throws(() => remove(parent), /mounted: .*(EXDEV|EBUSY)/);
  assert.ok(existsSync(join(tree, 'a/mounted/file')));
});

test.run();
