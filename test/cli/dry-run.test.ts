/** --dry-run: the plan, and nothing else. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import { nspawn, onBusybox, shell, startNspawn } from './support.ts';

const it = needs([busybox]);
const itRuns = needs([root, busybox]);
const linesOf = (text: string): string[] => text.split('\n').slice(0, -1);

itRuns('prints the steps that a run takes, in their order', async () => {
  const command = [...onBusybox(), '--tmpfs=/mnt:mode=700', '--private-network', '--hostname=other', '-a', '/bin/true'];
  const { status, stdout, stderr } = await nspawn(['--dry-run', ...command]);
  assert.equal([status, stderr], [0, '']);
  const plan = linesOf(stdout);
  assert.is(plan[0], `container box on ${busyboxTree()}`);
  assert.ok(plan.includes('mounting tmpfs on /mnt (mode=700)'));
  assert.ok(plan.includes('setting the host name to other'));
  assert.is(plan.at(-1), 'running /bin/true as process 2');
  const run = linesOf((await nspawn(['--log-level=debug', ...command])).stderr);
  const steps = plan.filter(step => run.includes(step));
  assert.equal(
    run.filter(line => steps.includes(line)),
    steps,
  );
  // What isn't a step: the container, its lock, namespaces, user and program.
  assert.is(steps.length, plan.length - 5);
});

itRuns('does nothing: the tree may be in use, and stays as it is', async () => {
  using directory = temporaryDirectory();
  const words = ['-D', directory.path, '--machine=box', '--timezone=off', '--resolv-conf=off', '-P'];
  cpSync(join(busyboxTree(), 'usr/bin/busybox'), join(directory.path, 'usr/bin/busybox'));
  const { child, until, outcome } = startNspawn([...words, '/usr/bin/busybox', 'sh', '-c', 'echo ready; read line']);
  await until('ready');
  const before = readdirSync(directory.path, { recursive: true });
  const { status, stdout } = await nspawn([...words, '--dry-run', '--bind=/etc:/new/directory', '/bin/true']);
  assert.is(status, 0);
  assert.match(stdout, 'binding /etc to /new/directory');
  assert.not.match(stdout, '/dev/console');
  assert.equal(readdirSync(directory.path, { recursive: true }), before);
  child.kill();
  await outcome;
});

it('what is wrong with the options is one line', async () => {
  const { status, stdout, stderr } = await nspawn(['--dry-run', '-D', '/no/such/directory']);
  assert.equal([status, stdout], [1, '']);
  assert.match(stderr, /^[^\n]*\/no\/such\/directory[^\n]*\n$/);
});

needs([root, busybox, tool('setpriv')])('needs neither root nor a home', async () => {
  using directory = temporaryDirectory();
  chmodSync(directory.path, 0o755);
  const program = join(directory.path, 'nspawn');
  const build = resolve(import.meta.dirname, '../../scripts/build.ts');
  execFileSync(process.execPath, [build, '', 'src/cli/main.ts', program]);
  // Nobody's, with a home that isn't there: nobody(65534) of user_namespaces(7).
  const command = [
    'setpriv',
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    'env',
    '-i',
    'HOME=/nonexistent',
    program,
  ];
  const dry = await nspawn(['--dry-run', ...shell('exit')], { command, cwd: '/' });
  assert.equal([dry.status, dry.stderr], [0, '']);
  assert.match(dry.stdout, 'with proc on /proc');
});

test.run();
