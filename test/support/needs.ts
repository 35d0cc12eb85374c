/**
 * Tests that can't run everywhere: they name what they need, and where it is missing they are skipped by name, with
 * the reason. scripts/test.ts collects the lines that `needs` prints.
 *
 *     needs([root, tool('ip')])('makes a veth pair', () => { … });
 */
import { accessSync, constants } from 'node:fs';
import process from 'node:process';
import { type Test, test } from 'uvu';

/** Tells why a test can't run here, or undefined when it can. */
export type Need = () => string | undefined;

export const isRoot: boolean = process.geteuid?.() === 0;

/** True if an executable of this name is in $PATH, or in one of the directories for system tools. */
export function hasTool(name: string): boolean {
  const directories = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return directories.some(directory => isExecutable(`${directory}/${name}`));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export const root: Need = () => (isRoot ? undefined : 'not root');

export const tool =
  (name: string): Need =>
  () =>
    hasTool(name) ? undefined : `${name} is not installed`;

/** The line of a skipped test. */
const skippedLine = (name: string, reason: string) => `skipped: ${name}  (${reason})`;

/** Finds such lines; the group is name and reason. */
export const SKIPPED = /skipped: (.+ {2}\(.+\))$/gm;

/** Gives uvu's `test` (or a suite's) where all needs are met, else what takes its place: it skips with the reason. */
export function needs(list: readonly Need[], within: Test = test): (name: string, body: Parameters<Test>[1]) => void {
  for (const need of list) {
    const reason = need();
    if (reason === undefined) continue;
    return name => {
      console.log(skippedLine(name, reason));
      within.skip(name);
    };
  }
  return within;
}
