/** The console in a real terminal emulator, with a user at a shell prompt. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { eventually } from './support.ts';

const FIXTURE = join(import.meta.dirname, 'fixture.ts');

/** A tmux server of our own, with a shell in its only window. */
function openTmux(directory: string) {
  const tmux = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(
      'tmux',
      ['-S', join(directory, 'socket'), '-f', '/dev/null', ...args],
      {
        encoding: 'utf8',
        env: { ...process.env, TERM: 'xterm', ENV: '' },
      },
    );
    assert.is(status, 0, stderr);
    return stdout;
  };
  tmux('new-session', '-d', '-x', '90', '-y', '25', 'sh');
  return {
    enter: (line: string) => tmux('send-keys', line, 'Enter'),
    shows: (text: string) => eventually(`the screen shows ${text}`, () => tmux('capture-pane', '-p').includes(text)),
    resize: (columns: number, rows: number) => tmux('resize-window', '-x', `${columns}`, '-y', `${rows}`),
    [Symbol.dispose]: () => tmux('kill-server'),
  };
}

needs([tool('tmux')])('a session: keys, sizes, and the terminal as before after each kind of end', async () => {
  using directory = temporaryDirectory();
  using tmux = openTmux(directory.path);
  const file = (name: string) => join(directory.path, name);
  const settings = async (name: string) => {
    tmux.enter(`stty -g > ${file(name)}; mv ${file(name)} ${file(name)}.done`);
    await eventually('stty has run', () => existsSync(`${file(name)}.done`));
    return readFileSync(`${file(name)}.done`, 'utf8');
  };
  writeFileSync(file('run'), `echo $$ > ${file('pid')}; exec ${process.execPath} ${FIXTURE} interactive "$1"`);
  const run = (command: string) => tmux.enter(`sh ${file('run')} '${command}'; echo back with $?.`);
  const send = (signal: NodeJS.Signals) => process.kill(Number(readFileSync(file('pid'), 'utf8')), signal);

  const before = await settings('before');
  run('echo size $(stty size); read line; echo got $line; read line; echo size $(stty size)');
  await tmux.shows('size 25 90');
  tmux.enter('hello');
  await tmux.shows('got hello');
  tmux.resize(100, 30);
  tmux.enter('');
  await tmux.shows('size 30 100');
  await tmux.shows('back with 0.');
  assert.is(await settings('end'), before);

  for (const [signal, status] of [
    ['SIGTERM', 143],
    ['SIGUSR1', 1],
  ] as const) {
    run(`echo $((6 * 7)) for ${signal}; read line`);
    await tmux.shows(`42 for ${signal}`);
    send(signal);
    await tmux.shows(`back with ${status}.`);
    assert.is(await settings(signal), before);
  }
});

test.run();
