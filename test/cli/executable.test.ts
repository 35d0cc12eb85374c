/** The built executable needs nothing but itself; and the ways to run nspawn from a checkout. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { nspawn, onBusybox, shell } from './support.ts';

const CHECKOUT = resolve(import.meta.dirname, '../..');
const directory = temporaryDirectory();
const executable = join(directory.path, 'nspawn');

test.before(() => {
  execFileSync(process.execPath, [join(CHECKOUT, 'scripts/build.ts'), '', 'src/cli/main.ts', executable]);
});
test.after(() => directory[Symbol.dispose]());

/** As with a fresh login: what is where the checkout was is an empty file system. */
const WITHOUT_CHECKOUT = [
  'unshare',
  '--mount',
  'sh',
  '-c',
  `mount -t tmpfs none ${CHECKOUT} && cd / && exec env -i "$@"`,
];

needs([root, busybox, tool('unshare')])('it spawns a container where there is no checkout', async () => {
  const command = [...WITHOUT_CHECKOUT, 'sh', executable];
  const ended = await nspawn(shell('echo process $$ in $container; exit 7', '-q'), { command });
  assert.equal(ended, { status: 7, stdout: 'process 1 in systemd-nspawn\r\n', stderr: '' });
  const json = await nspawn(['--log-format=json', '--log-level=trace', ...shell('exit')], { command });
  assert.is(json.status, 0);
  for (const line of json.stderr.trim().split('\n')) assert.type(JSON.parse(line).msg, 'string');
  const help = await nspawn(['--help'], { command });
  assert.match(help.stdout, '--directory=PATH');
});

needs([root, busybox, tool('strace')])('it does not even look for what it was made from', async () => {
  const log = join(directory.path, 'log');
  const command = ['strace', '-f', '-e', 'trace=file', '-o', log, 'env', '-i', executable];
  const { status } = await nspawn(['--log-level=debug', ...shell('exit')], { command, cwd: '/' });
  assert.is(status, 0);
  const paths = readFileSync(log, 'utf8').match(/"[^"]*"/g) ?? [];
  assert.ok(paths.some(path => path.includes('/proc/self/mountinfo')));
  assert.equal(
    paths.filter(path => path.includes('node_modules') || path.includes(CHECKOUT) || path.includes('.ts"')),
    [],
  );
});

needs([root, busybox])('from a checkout: bun run spawn -D ROOT -- COMMAND…', async () => {
  const command = [process.execPath, 'run', 'spawn'];
  const options = onBusybox();
  const ended = await nspawn([...options, '-q', '--', '/bin/echo', '-n', 'a b', '--', '$HOME'], {
    command,
    cwd: CHECKOUT,
  });
  assert.equal(ended, { status: 0, stdout: 'a b -- $HOME', stderr: '' });
  const failed = await nspawn([...options, '-q', '--', '/bin/false'], { command, cwd: CHECKOUT });
  assert.is(failed.status, 1);
});

test.run();
