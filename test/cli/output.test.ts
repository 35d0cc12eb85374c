/** Output through the whole command: all of it, in order, however fast it comes and however slowly it is read. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printedChecker, printing } from '../console/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { atTerminal, endOf, NSPAWN, nspawn, shell, startNspawn } from './support.ts';

const it = needs([root, busybox]);
const atOne = needs([root, busybox, tool('setsid')]);
const MB = 1 << 20;

/** Prints so many bytes just before the end, as they are. */
const script = (bytes: number) => `stty raw 2>/dev/null; ${printing(bytes)}`;

for (const [mode, size] of [['interactive', 4 * MB] as const, ['pipe', 50 * MB] as const]) {
  it(`--console=${mode}: ${size / MB} MB just before the end`, async () => {
    const { stdout, outcome } = startNspawn(shell(script(size), '-q', `--console=${mode}`), { collected: false });
    const checker = printedChecker();
    stdout.on('data', chunk => checker.check(chunk));
    assert.equal(await outcome, { status: 0, stdout: '', stderr: '' });
    assert.is(checker.total(), size);
  });
}

it('--console=read-only: 50 MB just before the end, through a slow reader', async () => {
  const { stdout, outcome } = startNspawn(shell(script(50 * MB), '-q', '--console=read-only'), { collected: false });
  const checker = printedChecker();
  let chunks = 0;
  for await (const chunk of stdout) {
    checker.check(chunk);
    if (++chunks % 8 === 0) await setTimeout(1);
  }
  assert.equal(await outcome, { status: 0, stdout: '', stderr: '' });
  assert.is(checker.total(), 50 * MB);
});

for (const mode of ['read-only', 'interactive', 'pipe']) {
  it(`--console=${mode}: a reader that pauses holds up the payload, so nothing piles up; and misses nothing`, async () => {
    const command = shell(`echo $$; ${script(2 * MB)}; echo end`, '-q', `--console=${mode}`);
    const { child, stdout } = startNspawn(command, { collected: false });
    await once(stdout, 'readable');
    await setTimeout(500); // Time enough for it to end, if it could.
    assert.is(endOf(child), 'running');
    let text = '';
    for await (const chunk of stdout) text += chunk;
    assert.is(text.length, text.indexOf('\n') + 1 + 2 * MB + 'end\n'.length);
    assert.match(text, /end\n$/);
  });
}

it('a socket for standard output: 4 MB', async () => {
  const [program, ...args] = [...NSPAWN, ...shell(script(4 * MB), '-q')];
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const checker = printedChecker();
  child.stdout.on('data', chunk => checker.check(chunk));
  await once(child, 'close');
  assert.equal([endOf(child), checker.total()], [0, 4 * MB]);
});

atOne('a terminal gets the last words of a payload that ends at once', async () => {
  for (let i = 0; i < 10; i++) {
    await using session = atTerminal([...NSPAWN, ...shell('echo one; echo two >&2; echo three', '-q')]);
    assert.is(await session.ended, 0);
    await session.until('one\r\ntwo\r\nthree\r\n');
  }
});

it('two payloads of a pipeline are two containers', async () => {
  const [bun, main] = NSPAWN;
  const words = shell(script(2 * MB), '-q', '-P').map(word => `'${word}'`);
  const counting = shell('wc -c', '-q', '-P').map(word => `'${word}'`);
  const command = ['sh', '-c', `"$0" "$1" ${words.join(' ')} | "$0" "$1" ${counting.join(' ')}`, bun!, main!];
  assert.equal(await nspawn([], { command }), { status: 0, stdout: `${2 * MB}\n`, stderr: '' });
});

test.run();
