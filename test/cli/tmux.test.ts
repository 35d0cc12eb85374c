/** A user in a terminal emulator, at the prompt of a shell in a container. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually } from '../console/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { NSPAWN, onBusybox } from './support.ts';

interface Tmux extends Disposable {
  /** Sends keys by tmux's names for them. */
  keys(...keys: string[]): void;
  /** Waits until the screen has this line, written by a program: what was typed stands behind a prompt. */
  shows(line: string): Promise<void>;
  resize(columns: number, rows: number): void;
}

/** A tmux server of our own, with a shell in its only window. */
function openTmux(directory: string): Tmux {
  const startFile = join(directory, 'start');
  writeFileSync(startFile, `PS1='outside> '; before=$(stty -g)\n`);
  const env = { ...process.env, TERM: 'xterm', ENV: startFile };
  const tmux = (...args: string[]): string => {
    const command = ['-S', join(directory, 'socket'), '-f', '/dev/null', ...args];
    const { status, stdout, stderr } = spawnSync('tmux', command, { encoding: 'utf8', env });
    assert.is(status, 0, stderr);
    return stdout;
  };
  tmux('new-session', '-d', '-x', '200', '-y', '40', 'sh');
  const screen = () => tmux('capture-pane', '-p', '-J').split('\n');
  return {
    keys: (...keys) => void tmux('send-keys', ...keys),
    shows: line =>
      eventually(`the screen has the line ${line}`, () => screen().some(shown => shown.trimEnd() === line)).catch(
        error => assert.unreachable(`${error.message}; it has:\n${screen().join('\n').trimEnd()}`),
      ),
    resize: (columns, rows) => void tmux('resize-window', '-x', `${columns}`, '-y', `${rows}`),
    [Symbol.dispose]: () => void tmux('kill-server'),
  };
}

needs([root, busybox, tool('tmux')])('a session at the prompt of a shell', async () => {
  using directory = temporaryDirectory();
  using tmux = openTmux(directory.path);
  const type = (line: string) => tmux.keys('-l', `${line}\n`);

  await tmux.shows('outside>');

  const enter = [...NSPAWN, ...onBusybox(), '--setenv=PS1=inside:\\$ '].map(word => `'${word}'`).join(' ');
  type(`clear; ${enter}`);
  await tmux.shows('Press ^] three times within 1s to kill container.');
  await tmux.shows('inside:#');
  type('stty size; tty; echo process $$');
  await tmux.shows('40 200');
  await tmux.shows('/dev/console');
  await tmux.shows('process 1');

  // Job control: ^C ends the foreground job and not the shell, ^Z stops it, and it can be gone on with.
  type(`sh -c 'echo "now sleeping"; exec sleep 1000'`);
  await tmux.shows('now sleeping');
  tmux.keys('C-c');
  await tmux.shows('^C');
  type(`sh -c 'while read line; do echo "got $line"; done'`);
  type('one');
  await tmux.shows('got one');
  tmux.keys('C-z');
  type('jobs | sed "s/.*Stopped.*/one is stopped/"');
  await tmux.shows('one is stopped');
  type('fg');
  type('two');
  await tmux.shows('got two');
  tmux.keys('C-d');
  type('echo "the shell is still process $$"');
  await tmux.shows('the shell is still process 1');

  tmux.resize(100, 30);
  type('stty size');
  await tmux.shows('30 100');

  tmux.keys('C-]', 'C-]', 'C-]');
  // Behind the prompt, which has no newline.
  await tmux.shows('inside:# Container box terminated by signal KILL.');
  await tmux.shows('outside>');
  type('echo "status $?"; test "$(stty -g)" = "$before" && echo as before');
  await tmux.shows('status 1');
  await tmux.shows('as before');

  // And once more: the shell ends by itself.
  type(`clear; ${enter}`);
  await tmux.shows('inside:#');
  type('exit 5');
  await tmux.shows('Container box failed with error code 5.');
  await tmux.shows('outside>');
  type('echo "status $?"; test "$(stty -g)" = "$before" && echo as before');
  await tmux.shows('status 5');
});

test.run();
