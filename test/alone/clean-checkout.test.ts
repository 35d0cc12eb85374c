/** From a clean checkout: `make run` and `make build` are all it takes. */
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** The registry that npm is set up for answers. */
const registry: Need = () =>
  spawnSync('npm', ['ping'], { timeout: 30_000 }).status === 0 ? undefined : 'no npm registry can be reached';

const CHECKOUT = resolve(import.meta.dirname, '../..');
/** What a checkout doesn't have when it is new. */
const MADE = ['node_modules', 'dist', '.git'];

needs([root, tool('make'), tool('npm'), registry])('make run and make build', () => {
  using directory = temporaryDirectory();
  const checkout = join(directory.path, 'checkout');
  cpSync(CHECKOUT, checkout, { recursive: true, filter: path => !MADE.includes(basename(path)) });
  const make = (target: string) => spawnSync('make', [target], { cwd: checkout, encoding: 'utf8', timeout: 240_000 });

  const run = make('run');
  assert.is(run.status, 0, run.stderr);
  const lines = [...run.stdout.matchAll(/^(.*): +PID (\d+), host name (\S+), boot id ([\da-f-]{36})\r?$/gm)];
  const [machine, container] = lines.map(([, title, pid, name, bootId]) => ({ title, pid, name, bootId }));
  assert.is(lines.length, 2, run.stdout);
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  assert.equal({ ...machine, pid: '' }, { title: 'This machine', pid: '', name: hostname(), bootId });
  assert.equal({ ...container, bootId: '' }, { title: 'A container', pid: '1', name: 'example', bootId: '' });
  assert.is.not(container!.bootId, bootId);

  const build = make('build');
  assert.is(build.status, 0, build.stderr);
  const built = ['-q', '-D', '/', '--volatile=overlay', '-P', '--', 'sh', '-c', 'echo process $$'];
  const { stdout } = spawnSync(join(checkout, 'dist/nspawn'), built, { cwd: '/', encoding: 'utf8' });
  assert.is(stdout, 'process 1\n');
});

test.run();
