/** Containers with users of their own, side by side with systemd-nspawn's. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import type { SpawnOptions } from '../../src/index.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** A range that nobody else has. */
export const BASE = 0x3a5b0000;

/** Options for a container whose tree is shown as belonging to its users. */
export const mapped = (directory: string): SpawnOptions => ({
  directory,
  volatile: 'overlay',
  privateUsers: { base: BASE, count: 65536 },
  usersOwnership: 'map',
});

const main = join(import.meta.dirname, '../../src/cli/main.ts');

/** What a shell script prints in a container on a tree with these options: with us, or with systemd-nspawn. */
export function show(who: 'ours' | 'theirs', tree: string, options: readonly string[], script: string): string {
  const [command, ...words] =
    who === 'ours'
      ? [process.execPath, main, '-q', '-P']
      : ['systemd-nspawn', '--register=no', '--keep-unit', '-q', '--console=pipe'];
  const off = ['--resolv-conf=off', '--timezone=off'];
  const all = [...words, '-D', tree, ...off, ...options, '--', '/bin/sh', '-c', script];
  const { stdout, stderr, status } = spawnSync(command!, all, { encoding: 'utf8', timeout: 60_000, input: '' });
  if (status !== 0) throw new Error(`${command} ${all.join(' ')}: ended with ${status}: ${stderr}`);
  return stdout;
}

/** A file with the files of a tree on an ext4. */
export function imageOfTree(tree: string): { path: string } & Disposable {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'disk.img');
  const words = ['-q', '-d', tree, path, '64M'];
  const { status, stderr } = spawnSync('mkfs.ext4', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mkfs.ext4 ${words.join(' ')}: ${stderr}`);
  return { path, [Symbol.dispose]: () => directory[Symbol.dispose]() };
}
