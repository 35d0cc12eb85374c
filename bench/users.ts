/** Containers with users of their own: trees that are given to them, and trees that are only shown so. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Case, Group } from './cases.ts';

const RUNS = 5;
const NSPAWN = ['dist/nspawn', '-q', '--register=no', '--keep-unit'];
const SYSTEMD = ['systemd-nspawn', '-q', '--register=no', '--keep-unit', '--console=pipe'];
/** Of nobody, and a multiple of 65536. */
const BASE = 0x7000_0000 - 0x100_0000;

const OTHERS = 100_000;
const FILES_IN_DIRECTORY = 100;

const manyPath = (scratch: string): string => join(scratch, 'many');

/** Makes a copy of `root`, a tree, in `scratch`, with 100,000 more files. */
export function makeManyFiles(scratch: string, root: string): void {
  execFileSync('cp', ['-a', root, manyPath(scratch)]);
  for (let directory = 0; directory < OTHERS / FILES_IN_DIRECTORY; directory++) {
    const path = join(manyPath(scratch), 'srv', String(directory % 32), String(directory));
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < FILES_IN_DIRECTORY; file++) writeFileSync(join(path, String(file)), '');
  }
}

/** `root` is a tree of root's; makeManyFiles() has made another in `scratch`. */
export function userGroups(root: string, scratch: string): Group[] {
  const many = manyPath(scratch);
  const programs: [name: string, command: string[], tool: string][] = [
    ['nspawn', NSPAWN, 'dist/nspawn'],
    ['systemd-nspawn', SYSTEMD, '/usr/bin/systemd-nspawn'],
  ];
  const start = (how: string, tree: string, words: string[]) =>
    programs.map(([name, command, tool]): Case => {
      const users = [`--private-users=${BASE}`, `--private-users-ownership=${how}`];
      return { name: [name, ...words].join(', '), tool, command: [...command, '-D', tree, ...users, '/bin/true'] };
    });
  const after = ['chown', '-hR', '0:0', many];
  return [
    {
      title: 'More than 100,000 files given to the users of a container by',
      runs: RUNS,
      cases: start('chown', many, []).map(each => ({ ...each, after })),
    },
    {
      title: '`/bin/true` on an idmapped mount with',
      cases: [...start('map', root, []), ...start('map', many, ['100,000 files more'])],
    },
  ];
}
