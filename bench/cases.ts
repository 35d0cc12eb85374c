/** What is compared: a table to add rows to. */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A program to start, and what puts all back after it, which isn't measured; or the library called within a process that
 * holds `held` bytes of memory, in this way, and by whom the words `as` make it.
 */
export type Case = { name: string } & (
  | { tool: string; command: string[]; after?: string[] }
  | { held: number; way?: Way; as?: string[] }
);

/** A container, one with users of its own, or one for code that isn't trusted. */
export type Way = 'spawn' | 'users' | 'sandbox';

/** Cases that do the same. The first one is what the ratios are relative to. */
export interface Group {
  /** What is in the first column. */
  title: string;
  /** Where one takes so long that there are no more than this. */
  runs?: number;
  cases: Case[];
}

/** All groups. `root` is a tree with /bin/true; `scratch` a directory for what the programs need. */
export const groups = (root: string, scratch: string): Group[] => [
  { title: '`/bin/true` with', cases: containers(root, scratch) },
  { title: '`/bin/true` and a veth link with', cases: linked(root) },
  { title: 'A disk image of four partitions shown by', cases: inspections(imagePath(scratch)) },
];

/** The options of nspawn that the others have no other behaviour for. */
const NSPAWN = ['dist/nspawn', '--register=no', '--keep-unit', '-q'];

/** The tree is shown as theirs. */
const USERS = ['--private-users=655360', '--private-users-ownership=map'];

/** An ordinary user, who may look at the tree. */
const ORDINARY = { uid: 73210, gid: 73211 };
const runtimeOf = (scratch: string): string => join(scratch, 'runtime');

/** The words that run a program as that user. */
const ordinary = (scratch: string): string[] => [
  ...['setpriv', `--reuid=${ORDINARY.uid}`, `--regid=${ORDINARY.gid}`, '--clear-groups'],
  ...['env', 'HOME=/nonexistent', `XDG_RUNTIME_DIR=${runtimeOf(scratch)}`],
];

/** Makes the directory where nspawn writes down that user's containers, so that it goes with `scratch`. */
export function makeRuntime(scratch: string): void {
  chmodSync(scratch, 0o711);
  mkdirSync(runtimeOf(scratch));
  chownSync(runtimeOf(scratch), ORDINARY.uid, ORDINARY.gid);
}

/** All with /bin/true in `root`, or an image of it, in fresh mount, uts, ipc and pid namespaces. */
const containers = (root: string, scratch: string): Case[] => [
  {
    name: 'nspawn',
    tool: 'dist/nspawn',
    command: [...NSPAWN, '-D', root, '/bin/true'],
  },
  {
    name: 'nspawn, from a disk image',
    tool: 'dist/nspawn',
    command: [...NSPAWN, '-i', rootImagePath(scratch), '/bin/true'],
  },
  {
    name: 'nspawn, from a disk image, read-only',
    tool: 'dist/nspawn',
    command: [...NSPAWN, '-i', rootImagePath(scratch), '--read-only', '/bin/true'],
  },
  {
    name: 'nspawn, with users of its own',
    tool: 'dist/nspawn',
    command: [...NSPAWN, '-D', root, ...USERS, '/bin/true'],
  },
  {
    name: 'nspawn, without root',
    tool: 'dist/nspawn',
    command: [...ordinary(scratch), 'dist/nspawn', '-q', '-D', root, '--read-only', '/bin/true'],
  },
  { name: 'nspawn, the library', held: 0 },
  { name: 'nspawn, the library, with users of its own', held: 0, way: 'users' },
  { name: 'nspawn, the library, in a process that holds 2 GB', held: 2 ** 31 },
  {
    name: 'systemd-nspawn',
    tool: 'systemd-nspawn',
    command: ['systemd-nspawn', '--register=no', '--keep-unit', '-q', '-D', root, '/bin/true'],
  },
  {
    name: 'systemd-nspawn, with users of its own',
    tool: 'systemd-nspawn',
    command: ['systemd-nspawn', '--register=no', '--keep-unit', '-q', '-D', root, ...USERS, '/bin/true'],
  },
  { name: 'nspawn, the library, sandbox()', held: 0, way: 'sandbox' },
  { name: 'nspawn, the library, sandbox() without root', held: 0, way: 'sandbox', as: ordinary(scratch) },
  {
    name: 'bubblewrap, without root',
    tool: 'bwrap',
    command: [
      ...[...ordinary(scratch), 'bwrap', '--unshare-user', '--uid', '0', '--gid', '0', '--ro-bind', root, '/'],
      ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/run', '--tmpfs', '/tmp'],
      ...['--unshare-uts', '--unshare-ipc', '--unshare-pid', '--hostname', 'bench', '/bin/true'],
    ],
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
  { name: 'no container, a Bun program that does nothing', tool: idlePath(scratch), command: [idlePath(scratch)] },
  { name: 'no container', tool: '/bin/true', command: ['/bin/true'] },
];

const idlePath = (scratch: string): string => join(scratch, 'idle');

/** Makes a program of Bun that does nothing, an executable as dist/nspawn is: nothing made with Bun starts faster. */
export async function writeIdleProgram(scratch: string): Promise<void> {
  const source = `${idlePath(scratch)}.js`;
  writeFileSync(source, 'process.exit(0);');
  await Bun.build({
    entrypoints: [source],
    minify: true,
    bytecode: true,
    compile: { outfile: idlePath(scratch), autoloadDotenv: false, autoloadBunfig: false },
  });
}

/** The others tell of the table, or of what one partition holds; systemd-dissect mounts the file systems, too. */
const inspections = (image: string): Case[] => [
  { name: 'nspawn inspect', tool: 'dist/nspawn', command: ['dist/nspawn', 'inspect', '--json', image] },
  { name: 'sfdisk, the table only', tool: 'sfdisk', command: ['sfdisk', '--json', image] },
  {
    name: 'blkid, one partition only',
    tool: 'blkid',
    command: ['blkid', '-p', '-O', String(ROOT_START), '-S', String(8 << 20), image],
  },
  { name: 'systemd-dissect', tool: 'systemd-dissect', command: ['systemd-dissect', '--json=short', image] },
];

const rootImagePath = (scratch: string): string => join(scratch, 'root.raw');

/** Makes an image of `root` in `scratch`: an ext4. */
export function writeRootImage(scratch: string, root: string): void {
  execFileSync('mkfs.ext4', ['-q', '-d', root, rootImagePath(scratch), '256M']);
}

const imagePath = (scratch: string): string => join(scratch, 'image');
/** Where sfdisk puts the first partition. */
const ROOT_START = 1 << 20;
/** Partition types of root-x86-64, home and srv. */
const TYPES = [
  '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
  '933ac7e1-2eb4-4f13-b844-0e14e2aef915',
  '3b8f8425-20e0-4f3b-907f-1a25a76f98e8',
];

/** Makes the image in `scratch`: three file systems and an empty swap. */
export function writeImage(scratch: string): void {
  const image = imagePath(scratch);
  writeFileSync(image, '');
  truncateSync(image, 64 << 20);
  const script = [...TYPES, 'swap'].map(type => `size=8M, type=${type}`).join('\n');
  execFileSync('sfdisk', ['--quiet', image], { input: `label: gpt\n${script}\n` });
  for (const index of TYPES.keys()) {
    const offset = ROOT_START + index * (8 << 20);
    execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-E', `offset=${offset}`, image, '8192']);
  }
}

/** The same, and a network namespace with one end of a veth link. */
const linked = (root: string): Case[] =>
  [
    { name: 'nspawn', tool: 'dist/nspawn' },
    { name: 'systemd-nspawn', tool: 'systemd-nspawn' },
  ].map(({ name, tool }) => ({
    name,
    tool,
    command: [tool, '--register=no', '--keep-unit', '-q', '-D', root, '-M', 'bench', '-n', '/bin/true'],
  }));

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
