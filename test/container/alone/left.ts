/** What containers have left on the host. */
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { difference, type HostState, hostState } from '../../support/host-state.ts';

/**
 * What has come since, or has gone, but for what others do meanwhile: of processes those count that are our children,
 * or have `tree` mounted. The runtime closes descriptors of its own when it likes.
 */
export async function leftSince(before: HostState, tree: string): Promise<string[]> {
  for (let tries = 1; ; tries++) {
    const left = difference(before, hostState()).filter(line => !NOT_OURS.test(line));
    left.push(...processesOf(tree));
    if (left.length === 0 || tries === MOST_TRIES) return left;
    await setTimeout(50);
  }
}
/** The kernel takes some things away only a moment after the last process. */
const MOST_TRIES = 60;

const NOT_OURS = /^(processes: |descriptors: went: .*anon_inode|\/tmp: came: (?!nspawn)|.*came: .*nspawn-test-)/;

/** Our children but the janitor, and processes in whose mount table the tree is. */
function processesOf(tree: string): string[] {
  return readdirSync('/proc').filter(pid => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const isChild = Number(parent) === process.pid && !stat.includes('(nspawn-janitor)');
      return isChild || readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(tree);
    } catch {
      return false; // No process, or one that has ended.
    }
  });
}
