/** What is compared: a table to add rows to. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A program to start, or the library called within a process that holds `held` bytes of memory. */
export type Case = { name: string } & ({ tool: string; command: string[] } | { held: number });

/**
 * The cases, all with /bin/true in the tree `root`, in fresh mount, uts, ipc and pid namespaces. The first one is what
 * the ratios are relative to. `scratch` is a directory for what the programs need.
 */
export const cases = (root: string, scratch: string): Case[] => [
  {
    name: 'nspawn',
    tool: 'dist/nspawn',
    command: ['dist/nspawn', '--register=no', '--keep-unit', '-q', '-D', root, '/bin/true'],
  },
  { name: 'nspawn, the library', held: 0 },
  { name: 'nspawn, the library, in a process that holds 2 GB', held: 2 ** 31 },
  {
    name: 'systemd-nspawn',
    tool: 'systemd-nspawn',
    command: ['systemd-nspawn', '--register=no', '--keep-unit', '-q', '-D', root, '/bin/true'],
  },
  {
    name: 'bubblewrap',
    tool: 'bwrap',
    command: [
      ...['bwrap', '--bind', root, '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/run', '--tmpfs', '/tmp'],
      ...['--unshare-uts', '--unshare-ipc', '--unshare-pid', '--hostname', 'bench', '/bin/true'],
    ],
  },
  {
    name: 'runc',
    tool: 'runc',
    command: ['runc', '--root', join(scratch, 'state'), 'run', '--bundle', scratch, 'nspawn-bench'],
  },
  { name: 'no container', tool: '/bin/true', command: ['/bin/true'] },
];

/** Makes `bundle` an OCI bundle: runc's own default, with /bin/true in `root` and the namespaces of the others. */
export function writeBundle(bundle: string, root: string): void {
  execFileSync('runc', ['spec', '--bundle', bundle]);
  const path = join(bundle, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8'));
  config.root = { path: root, readonly: false };
  config.process.terminal = false;
  config.process.args = ['/bin/true'];
  config.linux.namespaces = ['mount', 'uts', 'ipc', 'pid'].map(type => ({ type }));
  writeFileSync(path, JSON.stringify(config));
}
