/** What of this machine decides how an image is mounted. */
import process from 'node:process';
import type { Architecture } from '../../gpt/index.ts';
import { readIfThere } from '../host.ts';
import type { Host } from './dissect.ts';

/** By the names that Node has for them. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = { x64: 'x86-64', arm64: 'arm64' };

/** This machine. Its id is left out where there is none yet: machine-id(5). */
export function thisHost(): Host {
  const id = readIfThere('/etc/machine-id')?.toString().trim();
  const architecture = ARCHITECTURES[process.arch] ?? 'x86-64';
  return { architecture, ...(id !== undefined && /^[0-9a-f]{32}$/.test(id) && { machineId: id }) };
}
