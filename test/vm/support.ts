/** The host that a virtual machine is, seen by its shell; and containers on it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { type Need, needs } from '../support/needs.ts';
import { inVm } from '../support/vm/needs.ts';

/** A test that runs in a virtual machine, and is skipped elsewhere. */
export const inMachine = (...more: Need[]) => needs([inVm, ...more]);

/** What a shell command prints, without the newline at its end. Throws with what it has said when it fails. */
export const sh = (command: string): string =>
  execFileSync('bash', ['-c', command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).replace(/\n$/, '');

/** How a shell command ends. */
export function ends(command: string): { status: number | string; stdout: string; stderr: string } {
  const { status, signal, stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' });
  return { status: status ?? `${signal}`, stdout, stderr };
}
