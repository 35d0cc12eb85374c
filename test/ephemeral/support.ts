/** Trees to run from in a directory of their own, and what is hidden there. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { busyboxTree } from '../support/tree.ts';

export interface Place extends TemporaryDirectory {
  /** A copy of the busybox tree, named `tree`. */
  tree: string;
  /** What is hidden beside the tree now. */
  hidden(): string[];
}

export function place(): Place {
  const directory = temporaryDirectory();
  const tree = join(directory.path, 'tree');
  execFileSync('cp', ['--archive', busyboxTree(), tree]);
  return {
    ...directory,
    tree,
    hidden: () => hiddenIn(directory.path),
    [Symbol.dispose]: () => directory[Symbol.dispose](),
  };
}

export const hiddenIn = (directory: string): string[] => readdirSync(directory).filter(name => name.startsWith('.#'));

/** All that can be told of a tree by names, types, modes, owners, sizes and times of change. */
export const fingerprint = (tree: string): string =>
  execFileSync('find', [tree, '-printf', '%P %y %m %U %G %s %T@ %l\n'], { encoding: 'utf8' });
