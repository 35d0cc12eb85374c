/** Containers on trees that are there for them alone, and copies of trees. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Case, Group } from './cases.ts';

/** Each run takes seconds where all is copied. */
const RUNS = 5;
const NSPAWN = ['dist/nspawn', '-q', '--register=no', '--keep-unit'];
const SYSTEMD = ['systemd-nspawn', '-q', '--register=no', '--keep-unit', '--console=pipe'];

/** A shell script over the words behind it. */
const script = (
  text: string,
  ...words: string[]
): Pick<Case & { tool: string; command: string[] }, 'tool' | 'command'> => ({
  tool: '/bin/sh',
  command: ['sh', '-ec', text, 'sh', ...words],
});

/** `root` is a tree; `scratch` is on the same file system, and `btrfs` a directory on btrfs, if there is one. */
export function treeGroups(root: string, scratch: string, btrfs: string | undefined): Group[] {
  const copy = join(scratch, 'copy');
  const subvolume = btrfs && join(btrfs, 'tree');
  const ephemeral: Case[] = [
    { name: 'nspawn -x', tool: 'dist/nspawn', command: [...NSPAWN, '-x', '-D', root, '/bin/true'] },
    ...(subvolume
      ? [
          {
            name: 'nspawn -x of a btrfs subvolume',
            tool: 'dist/nspawn',
            command: [...NSPAWN, '-x', '-D', subvolume, '/bin/true'],
          },
          {
            name: 'btrfs subvolume snapshot, nspawn, btrfs subvolume delete',
            ...script(
              'btrfs -q subvolume snapshot "$1" "$1-2"; "$2" -q --register=no -D "$1-2" /bin/true; btrfs -q subvolume delete "$1-2"',
              subvolume,
              'dist/nspawn',
            ),
          },
        ]
      : []),
    {
      name: 'cp -a, nspawn, rm -r',
      ...script('cp -a "$1" "$2"; "$3" -q --register=no -D "$2" /bin/true; rm -rf "$2"', root, copy, 'dist/nspawn'),
    },
    {
      name: 'systemd-nspawn -x',
      tool: '/usr/bin/systemd-nspawn',
      command: [...SYSTEMD, '-x', '-D', root, '/bin/true'],
    },
  ];
  const after = ['rm', '-rf', copy];
  const template = ['-D', copy, `--template=${root}`, '/bin/true'];
  const copies: Case[] = [
    { name: 'nspawn --template=, and /bin/true in it', tool: 'dist/nspawn', command: [...NSPAWN, ...template], after },
    { name: 'cp -a', tool: '/bin/cp', command: ['cp', '-a', root, copy], after },
    {
      name: 'systemd-nspawn --template=, and /bin/true in it',
      tool: '/usr/bin/systemd-nspawn',
      command: [...SYSTEMD, ...template],
      after,
    },
  ];
  return [
    { title: '`/bin/true` on a Debian tree of its own with', runs: RUNS, cases: ephemeral },
    { title: 'A Debian tree copied by', runs: RUNS, cases: copies },
  ];
}

/** Makes a subvolume `tree` of `root` in a directory on btrfs. */
export function makeSubvolume(root: string, btrfs: string): void {
  const subvolume = join(btrfs, 'tree');
  execFileSync('btrfs', ['-q', 'subvolume', 'create', subvolume]);
  execFileSync('cp', ['-a', `${root}/.`, subvolume]);
}
