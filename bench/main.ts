/**
 * Compares the time from fork to reaped with that of other programs: `bun bench/main.ts [RUNS]`, as root. All cases
 * run in turn, again and again, so that what else the machine does hits them alike. Then netlink's own numbers.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { dirname } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { loopMount, mounted } from '../test/support/loop-mount.ts';
import { hasTool, isRoot } from '../test/support/needs.ts';
import { temporaryDirectory } from '../test/support/temporary.ts';
import { debianTree } from '../test/support/tree.ts';
import { type Case, groups, makeRuntime, writeBundle, writeIdleProgram, writeImage, writeRootImage } from './cases.ts';
import { netlinkTable } from './netlink.ts';
import { spawner } from './spawner.ts';
import { intoMarkers, type Samples, table } from './table.ts';
import { makeSubvolume, treeGroups } from './trees.ts';
import { makeManyFiles, userGroups } from './users.ts';

/** Runs that don't count: caches fill, and just-in-time compilers wake up. */
const WARM_UP = 5;

/** Something that runs a case once and tells the nanoseconds it took. */
type Runner = { run: () => number | Promise<number>; stop: () => void };

type InProcess = Extract<Case, { held: number }>;

const isThere = (entry: Case): boolean =>
  'held' in entry || (entry.tool.includes('/') ? existsSync(entry.tool) : hasTool(entry.tool));

function runnerOf(entry: Case, root: string, measure: (command: readonly string[]) => number): Runner {
  if ('held' in entry) return inProcess(root, entry);
  const { command, after } = entry;
  const run = () => {
    const time = measure(command);
    if (after) execFileSync(after[0]!, after.slice(1));
    return time;
  };
  return { run, stop: () => {} };
}

/** in-process.ts, asked line by line. */
function inProcess(root: string, { held, way = 'spawn', as = [] }: InProcess): Runner {
  const [program, ...words] = [...as, process.execPath, 'bench/in-process.ts', root, String(held), way];
  const child = spawn(program!, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const run = async () => {
    child.stdin.write('\n');
    const { done, value } = await answers.next();
    if (done) throw new Error('bench/in-process.ts ended early');
    return Number(value);
  };
  return { run, stop: () => child.stdin.end() };
}

async function measureAll(entries: readonly Case[], root: string, runs: number, warmUp: number): Promise<Samples> {
  const measure = spawner();
  const runners = new Map(entries.map(entry => [entry.name, runnerOf(entry, root, measure)]));
  const samples: Samples = new Map(entries.map(({ name }) => [name, []]));
  for (let run = -warmUp; run < runs; run++) {
    for (const [name, runner] of runners) {
      const time = await runner.run();
      if (run >= 0) samples.get(name)?.push(time);
    }
  }
  for (const runner of runners.values()) runner.stop();
  return samples;
}

/** What the numbers were measured with, in one sentence. */
function circumstances(runs: number, entries: readonly Case[]): string {
  const versions = entries.flatMap(entry => {
    if ('held' in entry || entry.tool.includes('/')) return [];
    const [, version = '?'] = /(\d[\w.+-]*)/.exec(execFileSync(entry.tool, ['--version'], { encoding: 'utf8' })) ?? [];
    return [`${entry.name.split(',')[0]} ${version}`];
  });
  const { length } = cpus();
  const set = [...new Set(versions)].join(', ');
  return `Wall time from fork to reaped, ${runs} runs in turn (5 where trees are copied); Linux ${release()}, ${length} CPUs, ${set}.`;
}

if (!isRoot) throw new Error('The benchmark compares with programs that need root');
process.chdir(dirname(import.meta.dirname));
const runs = Number(process.argv[2] ?? 50);
const root = debianTree();
using scratch = temporaryDirectory();
makeRuntime(scratch.path);
if (hasTool('runc')) writeBundle(scratch.path, root);
writeImage(scratch.path);
await writeIdleProgram(scratch.path);
writeRootImage(scratch.path, root);
using disk = loopMount('btrfs')() === undefined ? mounted('btrfs', '1G') : undefined;
if (disk) makeSubvolume(root, disk.path);
makeManyFiles(scratch.path, root);
const text: string[] = [];
const measured: Case[] = [];
const all = [
  ...groups(root, scratch.path),
  ...treeGroups(root, scratch.path, disk?.path),
  ...userGroups(root, scratch.path),
];
for (const { title, cases, runs: most = runs } of all) {
  for (const { name } of cases.filter(entry => !isThere(entry))) console.log(`Not installed: ${name}`);
  const entries = cases.filter(isThere);
  text.push(table(title, await measureAll(entries, root, Math.min(runs, most), Math.min(WARM_UP, most - 1))));
  measured.push(...entries);
}
text.push(circumstances(runs, measured), netlinkTable());
console.log(text.join('\n\n'));
intoMarkers('README.md', text.join('\n\n'));
