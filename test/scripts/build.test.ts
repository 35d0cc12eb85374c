import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

// Calls the kernel through koffi, then tells which file the library was loaded from and what else it found.
const PROGRAM = `
  import { readFileSync } from 'node:fs';
  import { loadKoffi } from '${resolve('syscalls/koffi.ts')}';
  const getpid = loadKoffi().load(null).func('int getpid()');
  if (getpid() !== process.pid) throw new Error('wrong process id');
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\\n').map(line => line.slice(73));
  const library = maps.find(path => /koffi-.*node$|^\\/(dev\\/shm|tmp)\\/#/.test(path));
  console.log(JSON.stringify([library, process.env.FROM_DOTENV, globalThis.fromBunfig]));
`;

const directory = temporaryDirectory();
const executable = join(directory.path, 'program');
const USER = 54321;

test.before(() => {
  chmodSync(directory.path, 0o755);
  const entry = join(directory.path, 'entry.ts');
  writeFileSync(entry, PROGRAM);
  execFileSync(process.execPath, ['scripts/build.ts', '', entry, executable]);
});
test.after(() => directory[Symbol.dispose]());

/** Runs the program with an empty /var/cache of its own and after `preparation`, a shell script. */
function asRoot(preparation: string, cwd = '/'): unknown[] {
  const script = `mount -t tmpfs -o mode=755 none /var/cache && ${preparation}\nexec "$1"`;
  const output = execFileSync('unshare', ['--mount', 'sh', '-ec', script, 'sh', executable], { cwd, encoding: 'utf8' });
  return JSON.parse(output.trim().split('\n').at(-1)!);
}

/** Runs the program as somebody else, with a cache directory. */
function asUser(cache: string): unknown[] {
  const script = 'mount -t tmpfs none /var/cache; exec setpriv --reuid=$1 --regid=$1 --clear-groups "$2"';
  return JSON.parse(
    execFileSync('unshare', ['--mount', 'sh', '-ec', script, 'sh', String(USER), executable], {
      encoding: 'utf8',
      env: { ...process.env, XDG_CACHE_HOME: cache },
    }),
  );
}

const inCache = /^\/var\/cache\/nspawn\/koffi-[\w.-]+\.node$/;
const inMemory = /^\/dev\/shm\/#|^\/tmp\/#/;

/** A cache directory of the user with the library in it. Returns its path and the library's. */
function userCache(name: string): [cache: string, library: string] {
  const cache = join(directory.path, name);
  mkdirSync(cache);
  execFileSync('chown', [String(USER), cache]);
  return [cache, String(asUser(cache)[0])];
}

needs([root, tool('unshare')])('the executable keeps the library where only root can write', () => {
  const before = readdirSync('/tmp').filter(name => name.startsWith('.bun-'));
  const [library] = asRoot(':');
  assert.match(String(library), inCache);
  assert.equal(
    readdirSync('/tmp').filter(name => name.startsWith('.bun-')),
    before,
  );
});

needs([root, tool('unshare')])('a damaged library is written anew', () => {
  const [library] = asRoot('"$1"; truncate -s 100000 /var/cache/nspawn/*');
  assert.match(String(library), inCache);
});

needs([root, tool('unshare')])('no library is kept in a directory that others can write to', () => {
  const [library] = asRoot('"$1"; rm /var/cache/nspawn/*; chmod 777 /var/cache/nspawn');
  assert.match(String(library), inMemory);
});

needs([root, tool('unshare')])('a read-only /var/cache is no obstacle', () => {
  const [library] = asRoot('mount -o remount,ro /var/cache');
  assert.match(String(library), inMemory);
});

needs([root, tool('setpriv')])('a user has a cache of his own, made and used', () => {
  const [cache, library] = userCache('good');
  assert.is(library.startsWith(`${cache}/nspawn/koffi-`), true);
  assert.is(asUser(cache)[0], library);
  truncateSync(library, 5);
  assert.is(asUser(cache)[0], library);
});

needs([root, tool('setpriv')])("a user does not load another user's library", () => {
  const [cache, library] = userCache('foreign');
  execFileSync('chown', ['--recursive', '0', cache]);
  assert.match(String(asUser(cache)[0]), inMemory);
  assert.ok(existsSync(library));
});

needs([root, tool('setpriv')])('a user replaces a library that others can write to', () => {
  const [cache, library] = userCache('open');
  chmodSync(library, 0o666);
  assert.is(asUser(cache)[0], library);
  assert.is(execFileSync('stat', ['-c', '%a', library], { encoding: 'utf8' }), '644\n');
});

test('the executable reads no settings and runs no code from the directory it is started in', () => {
  const trap = join(directory.path, 'trap');
  mkdirSync(join(trap, 'node_modules/koffi'), { recursive: true });
  writeFileSync(join(trap, '.env'), 'FROM_DOTENV=1\n');
  writeFileSync(join(trap, 'bunfig.toml'), 'preload = ["./preload.js"]\n');
  writeFileSync(join(trap, 'preload.js'), 'globalThis.fromBunfig = 1;\n');
  writeFileSync(join(trap, 'node_modules/koffi/index.js'), 'throw new Error("the wrong koffi");\n');
  copyFileSync(executable, join(trap, 'program'));
  const env = { ...process.env, XDG_CACHE_HOME: trap };
  const output = execFileSync(join(trap, 'program'), { cwd: trap, env, encoding: 'utf8' });
  assert.equal(JSON.parse(output).slice(1), [null, null]);
});

test.run();
