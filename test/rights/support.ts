/** The same on a Debian tree with systemd-nspawn and with us. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import * as assert from 'uvu/assert';
import { debianTree } from '../support/tree.ts';

export const main = join(import.meta.dirname, '../../src/cli/main.ts');

export interface Shown {
  stdout: string;
  stderr: string;
  status: number | null;
}

function show(command: string, words: string[]): Shown {
  const { stdout, stderr, status } = spawnSync(command, words, { encoding: 'utf8', timeout: 60_000, input: '' });
  return { stdout, stderr, status };
}

export const ours = (...words: string[]): Shown => show(process.execPath, [main, '-q', '-P', ...words]);
export const theirs = (...words: string[]): Shown =>
  show('systemd-nspawn', ['--register=no', '--keep-unit', '-q', '--console=pipe', ...words]);

/** What a shell script prints with these options, which must be the same with both, as must the exit status. */
export function same(options: string[], script: string, tree = debianTree()): string {
  const words = ['-D', tree, '--volatile=overlay', ...options, '--', '/bin/sh', '-c', script];
  const [mine, its] = [ours(...words), theirs(...words)];
  assert.equal(mine.stdout, its.stdout);
  assert.is(mine.status, its.status, mine.stderr);
  return mine.stdout;
}
