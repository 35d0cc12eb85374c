/** sandbox() on a host with systemd and cgroups of version 2 only, by root and by an ordinary user. */
import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SandboxOptions, Usage } from '../../../src/index.ts';
import type { Told } from '../../sandbox/run.ts';
import { eventually } from '../machines.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

const RUN = '/checkout/node_modules/.bin/bun /checkout/test/sandbox/run.ts';
const GUEST = 'runuser -u guest -- env HOME=/home/guest XDG_RUNTIME_DIR=/run/user/$(id -u guest)';

/** Who runs it, and where: the words before the program's, more options, and whether there are cgroups for it. */
const CALLERS: readonly [name: string, words: string, options: Partial<SandboxOptions>, isCounted: boolean][] = [
  ['root', '', {}, true],
  ['root in a delegated unit', 'systemd-run -q --scope -p Delegate=yes', { keepUnit: true }, true],
  ['a user in a delegated unit of its own', `${GUEST} systemd-run -q --user --scope -p Delegate=yes`, {}, true],
  ['a user without one', GUEST, {}, false],
  ["a user in a unit that is systemd's", `${GUEST} systemd-run -q --user --scope`, {}, false],
];

/** What is left of containers: cgroups, and scope units, which systemd removes by itself. */
const leftOvers = (): string[] =>
  readdirSync('/sys/fs/cgroup', { recursive: true })
    .map(String)
    .filter(path => /\/(nspawn-)?sandbox-[^/]+$/.test(path));

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Runs it as whoever these words make the caller. */
function run(words: string, options: SandboxOptions): Told {
  const { stdout, stderr } = ends(`cd / && ${words} ${RUN} ${quoted(JSON.stringify(options))} </dev/null`);
  const told = JSON.parse(stdout || '{"error": "nothing"}') as Told & { error?: string };
  if (told.error !== undefined) throw new Error(`${told.error} ${stderr}`);
  return told;
}

for (const [name, words, more, isCounted] of CALLERS) {
  const shell = (script: string, options: Partial<SandboxOptions> = {}) =>
    run(words, { command: ['sh', '-c', script], ...more, ...options });
  const memoryOf = (usage: Usage | undefined) => (isCounted ? usage?.memoryPeak : usage?.processPeak) ?? 0;

  it(`by ${name}: output, exit status and what was used`, async () => {
    sh('loginctl enable-linger guest');
    const told = shell('cat; echo err >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 7', {
      stdin: 'in\n',
    });
    assert.equal([told.stdout, told.stderr, told.exitStatus, told.reason], ['in\n', 'err\n', 7, undefined]);
    assert.equal(told.unenforced, isCounted ? [] : ['memory', 'memorySwap', 'tasks', 'cpus'], told.warnings.join());
    assert.is(told.warnings.length, isCounted ? 0 : 1);
    assert.ok(told.usage!.cpuTime! > 0);
    assert.ok(memoryOf(told.usage) > 1 << 18, JSON.stringify(told.usage));
    assert.is(told.usage!.tasksPeak !== undefined, isCounted);
    await eventually('nothing is left', () => leftOvers().length === 0);
  });

  it(`by ${name}: who eats memory is stopped, and the reason is told where it is known`, () => {
    const told = shell('tail /dev/zero; exit 3', { memory: '48M' });
    assert.is(told.exitStatus, 3, told.stderr);
    assert.is(told.reason, isCounted ? 'out of memory' : undefined);
    assert.is(told.usage!.oomKills, isCounted ? 1 : undefined);
    assert.ok(memoryOf(told.usage) <= 48 << 20);
  });

  it(`by ${name}: its time is over, and it is gone with all that it started`, async () => {
    const told = shell('sleep 1000 & while :; do :; done', { timeout: 2000 });
    assert.equal([told.signal, told.reason], [9, 'timeout']);
    assert.ok(told.usage!.cpuTime! > 0);
    await eventually('nothing is left', () => leftOvers().length === 0);
    assert.is(sh('pgrep -fc "[s]leep 1000" || true'), '0');
  });
}

it('there is no way to the hypervisor', () => {
  const script = 'exit(syscall(41, 40, 1, 0) < 0 ? $! + 0 : 0)';
  // The machine itself has such sockets.
  assert.is(ends(`modprobe vsock && perl -e ${quoted(script)}`).status, 0);
  for (const words of ['', GUEST]) assert.is(run(words, { command: ['perl', '-e', script] }).exitStatus, 97);
});

test.run();
