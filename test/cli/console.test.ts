/** --console= and --pipe: what the payload has for a console, and what becomes of keys and output. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { atTerminal, NSPAWN, nspawn, shell, startNspawn } from './support.ts';

const it = needs([root, busybox]);
const atOne = needs([root, busybox, tool('setsid')]);

/** Tells of each standard stream whether it is a terminal. */
const STREAMS = 'for fd in 0 1 2; do test -t $fd && echo "$fd is a terminal" || echo "$fd is none"; done';
const ALL_TERMINALS = '0 is a terminal\r\n1 is a terminal\r\n2 is a terminal\r\n';

atOne('on a terminal the console is interactive', async () => {
  await using session = atTerminal([...NSPAWN, ...shell(`${STREAMS}; echo ready; read line; echo "got $line"`, '-q')]);
  await session.until(`${ALL_TERMINALS}ready\r\n`);
  session.type('some words\r');
  await session.until('got some words\r\n');
  assert.is(await session.ended, 0);
});

for (const redirection of ['</dev/null', '| cat']) {
  atOne(`with ${redirection} the console is read-only`, async () => {
    const command = shell('echo ready; read -t 1 line || echo nothing');
    await using session = atTerminal([...NSPAWN, ...command], redirection);
    const before = session.settings();
    await session.until('ready\r');
    assert.is(session.settings(), before);
    session.type('words\r');
    await session.until('nothing\r');
    assert.is(await session.ended, 0);
    assert.not.match(session.screen(), 'Press ^]');
  });
}

it('with pipes the console is read-only: all is a terminal in the container, and no input comes', async () => {
  const ended = await nspawn(shell(`${STREAMS}; read -t 1 line || echo nothing`, '-q'), { input: 'words\n' });
  assert.equal(ended, { status: 0, stdout: `${ALL_TERMINALS}nothing\r\n`, stderr: '' });
});

atOne('--console=read-only on a terminal: it is no more than shown what is printed', async () => {
  const command = shell('echo ready; read -t 1 line || echo nothing', '-q', '--console=read-only');
  await using session = atTerminal([...NSPAWN, ...command]);
  const before = session.settings();
  await session.until('ready\r\r\n');
  assert.is(session.settings(), before);
  session.type('words\r');
  await session.until('nothing\r\r\n');
  assert.is(await session.ended, 0);
});

it('--console=passive: a terminal that is connected to nothing; what it holds is printed at the end', async () => {
  const script = `test -t 0 && test -t 1 && test -c /dev/console || exit 1; echo out; read -t 1 line && exit 2; exit 5`;
  const ended = await nspawn(shell(script, '-q', '--console=passive'), { input: 'words\n' });
  assert.equal(ended, { status: 5, stdout: 'out\r\n', stderr: '' });
});

it('--console=interactive with pipes: input is typed on the console', async () => {
  const script = 'stty -echo; echo ready; read line; echo "got $line"';
  const { child, outcome, until } = startNspawn(shell(script, '-q', '--console=interactive'));
  await until('ready');
  child.stdin!.write('words\n');
  assert.equal(await outcome, { status: 0, stdout: 'ready\r\ngot words\r\n', stderr: '' });
});

for (const option of ['-P', '--pipe', '--console=pipe']) {
  it(`${option}: the caller's streams as they are`, async () => {
    const script = 'wc -c; echo err >&2; test -t 0 || test -t 1 || test -t 2 || test -e /dev/console || exit 6';
    const ended = await nspawn(shell(script, '-q', option), { input: 'x\n'.repeat(100_000) });
    assert.equal(ended, { status: 6, stdout: '200000\n', stderr: 'err\n' });
  });
}

it('where there is no terminal, $COLUMNS and $LINES give the size, or it is 80 by 24', async () => {
  const size = async (env: Record<string, string>) => (await nspawn(shell('stty size', '-q'), { env })).stdout;
  assert.is(await size({ COLUMNS: '111', LINES: '33' }), '33 111\r\n');
  assert.is(await size({ COLUMNS: '', LINES: '' }), '24 80\r\n');
});

atOne("the console has the terminal's size, follows its changes, and the payload is told", async () => {
  const script = "stty size; trap 'stty size' WINCH; while :; do sleep 0.05; done";
  await using session = atTerminal([...NSPAWN, ...shell(script, '-q')]);
  await session.until('30 100\r\n');
  session.resize(120, 40);
  await session.until('40 120\r\n');
  session.resize(80, 25);
  await session.until('25 80\r\n');
});

atOne('^] three times kills the container', async () => {
  await using session = atTerminal([...NSPAWN, ...shell('stty raw; echo ready; exec cat')]);
  await session.until('Press ^] three times within 1s to kill container.\r\n');
  await session.until('ready\n');
  session.type('\x1d\x1d');
  session.type('x');
  await session.until('x');
  session.type('\x1d\x1d\x1d');
  await session.until('Container box terminated by signal KILL.\r\n');
  assert.is(await session.ended, 1);
});

atOne(
  'lines of nspawn itself begin at the left while the terminal is raw, and in a file they are as always',
  async () => {
    using directory = temporaryDirectory();
    const file = join(directory.path, 'log');
    const asked = 'Trying to halt container. Send SIGTERM again to trigger immediate termination.';
    const script = "trap 'exit 4' USR2; echo ready; while :; do sleep 0.02; done";
    const command = [...NSPAWN, ...shell(script, '-q', '--kill-signal=USR2')];
    for (const redirection of ['', `2>${file}`]) {
      await using session = atTerminal(command, redirection);
      await session.until('ready\r\n');
      session.child.kill('SIGTERM');
      assert.is(await session.ended, 4);
      if (!redirection) await session.until(`${asked}\r\n`);
    }
    assert.is(readFileSync(file, 'utf8'), `${asked}\n`);
  },
);

atOne('^C reaches the payload, not nspawn', async () => {
  await using session = atTerminal([...NSPAWN, ...shell("trap 'echo caught; exit 4' INT; echo ready; cat", '-q')]);
  await session.until('ready\r\n');
  session.type('\x03');
  await session.until('caught\r\n');
  assert.is(await session.ended, 4);
});

it('a console that the payload closes and opens again goes on', async () => {
  const script = `
    for i in 1 2 3; do
      echo "round $i"
      exec 0<&- 1>&- 2>&-; sleep 0.1; exec 0</dev/console 1>/dev/console 2>&1
    done
    echo end`;
  const { status, stdout } = await nspawn(shell(script, '-q'));
  assert.equal([status, stdout], [0, 'round 1\r\nround 2\r\nround 3\r\nend\r\n']);
});

it('when nobody reads the output any more the container is killed', async () => {
  const { stdout, outcome, until } = startNspawn(shell('echo ready; while echo line; do sleep 0.1; done', '-q'));
  await until('ready');
  stdout.destroy();
  assert.equal(await outcome.then(({ status, stderr }) => [status, stderr]), [
    1,
    'Container box terminated by signal KILL.\n',
  ]);
});

test.run();
