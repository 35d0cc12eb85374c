/** Ending a process together with all that it started. */
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';

/** Kills a process that leads its own process group, the group, its session and all descendants. */
export function killTree(leader: number): void {
  // Again until none is left: what forks while we look is found the next time.
  for (let tries = 0; tries < 20; tries++) {
    const found = members(leader);
    if (found.length === 0) return;
    for (const pid of found) kill(pid);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as { code?: string }).code !== 'ESRCH') throw error; // Gone meanwhile.
  }
}

/** Living processes that descend from `leader`, or are in its group or session, and itself. */
function members(leader: number): number[] {
  const all = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(name => processStatus(Number(name)) ?? []);
  const found = new Set([leader]);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const { pid, parent, group, session } of all) {
      if (found.has(parent) || group === leader || session === leader) found.add(pid);
    }
  }
  return all.filter(({ pid, state }) => found.has(pid) && state !== 'Z').map(({ pid }) => pid);
}

/** Fields of proc_pid_stat(5), or undefined if there is no such process. */
function processStatus(pid: number) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent, group, session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { pid, state, parent: Number(parent), group: Number(group), session: Number(session) };
  } catch {
    return undefined; // It has ended.
  }
}
