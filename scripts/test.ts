/**
 * Runs test files and counts truly:
 *
 *     bun scripts/test.ts [--in=DIRECTORY] [--limit=SECONDS] [--json] [PART-OF-FILE-NAME…]
 *
 * Each *.test.ts below DIRECTORY (test) runs in a process of its own, two at a time; those in a directory `alone` run
 * by themselves, after the others. Those below `vm/NAME` run after these, in the virtual machine NAME. A file that takes
 * longer than the limit is killed with all that it started. The last line is `N passed, N failed, N skipped`; the exit
 * status is 0 only if something passed and nothing failed. --json prints a line for each file instead, an Outcome.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { SKIPPED } from '../test/support/needs.ts';
import { killTree } from '../test/support/processes.ts';
import { canHaveVm } from '../test/support/vm/image.ts';
import { startVm } from '../test/support/vm/machine.ts';
import { inVm, NO_VM } from '../test/support/vm/needs.ts';

interface Outcome {
  file: string;
  passed: number;
  failed: number;
  skipped: number;
  /** `name  (reason)` of the tests that were skipped. */
  skips: string[];
  /** Why the file as a whole has failed, or ''. */
  fault: string;
  output: string;
}

/** What is emulated is slower than this machine by about so much. */
const SLOWER_IN_VM = 2;
/** Seconds that all tests of a virtual machine may take. */
const LONGEST_IN_VM = 1800;

/** How long libsystemd, and nspawn, wait for an answer on a bus there, in seconds: their default is 25. */
const PATIENCE = 'SYSTEMD_BUS_TIMEOUT=300';

/** Seconds that a file's processes may stay after itself. */
const LINGERING = 5;

/** What ends each test file and the virtual machine that run now, with all that is made for them. */
const running = new Set<() => void>();

function testFiles(directory: string, filters: string[]): string[] {
  const files = globSync('**/*.test.ts', { cwd: directory }).map(file => join(directory, file));
  return files.filter(file => filters.length === 0 || filters.some(part => file.includes(part))).sort();
}

/** The virtual machine that a file is for. */
const machineOf = (file: string): string | undefined => /(?:^|\/)vm\/(\w+)\//.exec(file)?.[1];

/** Runs them all; `done` is told of each. */
async function runAll(files: string[], limit: number, done: (outcome: Outcome) => void): Promise<void> {
  const isWanted = inVm() !== undefined && files.some(file => machineOf(file) !== undefined);
  const noVm = isWanted ? canHaveVm() : 'not wanted';
  // Its tests are skipped then, with this reason.
  if (noVm !== undefined) process.env[NO_VM] = noVm;
  const places = Map.groupBy(files, file => (noVm === undefined ? machineOf(file) : undefined));
  await runHere(places.get(undefined) ?? [], limit, done);
  for (const [machine, inside] of places) if (machine !== undefined) await runInVm(machine, inside, limit, done);
}

async function runHere(files: string[], limit: number, done: (outcome: Outcome) => void): Promise<void> {
  const isAlone = (file: string) => /(^|\/)alone\//.test(file);
  const work = async (queue: string[]) => {
    for (let file = queue.shift(); file; file = queue.shift()) done(await run(file, limit));
  };
  const together = files.filter(file => !isAlone(file));
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, () => work(together)));
  await work(files.filter(isAlone));
}

/** Has this runner run files in a virtual machine. One that is not told of has failed. */
async function runInVm(machine: string, files: string[], limit: number, done: (outcome: Outcome) => void) {
  const left = new Set(files);
  let fault = 'the runner in the virtual machine does not know it';
  try {
    // However busy this machine is, nobody there takes a slow answer of systemd's for none: units neither.
    const patience = `systemctl set-environment ${PATIENCE}; export ${PATIENCE}`;
    const runner = `node_modules/.bin/bun scripts/test.ts --json --limit=${limit * SLOWER_IN_VM} ${files.join(' ')}`;
    using vm = startVm(`${patience}; exec ${runner} </dev/null`, machine, LONGEST_IN_VM);
    const end = () => vm[Symbol.dispose]();
    running.add(end);
    for await (const line of createInterface({ input: vm.stdout })) {
      if (!line.startsWith('{')) console.log(line);
      else {
        const outcome: Outcome = JSON.parse(line);
        left.delete(outcome.file);
        done(outcome);
      }
    }
    await vm.ended;
    running.delete(end);
  } catch (error) {
    console.log((error as Error).message);
    [fault = ''] = (error as Error).message.split('\n');
  }
  for (const file of left) done({ file, passed: 0, failed: 1, skipped: 0, skips: [], fault, output: '' });
}

/** Runs one file. `limit` is in seconds. */
function run(file: string, limit: number): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  // Detached: it leads a session and a process group, by which what it leaves behind is found.
  const child = spawn(process.execPath, [file], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const leader = child.pid!;
  const end = () => killTree(leader);
  running.add(end);

  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (output += text));

  let fault = '';
  const stop = (seconds: number, reason: string) =>
    setTimeout(() => {
      fault = reason;
      killTree(leader);
      child.stdout.destroy();
      child.stderr.destroy();
    }, seconds * 1000);
  let timer = stop(limit, `took longer than ${limit} s`);
  child.on('exit', (code, signal) => {
    clearTimeout(timer);
    if (code !== 0) fault ||= `ended with ${signal ?? `status ${code}`}`;
    // The output ends now, unless somebody still holds it.
    timer = stop(LINGERING, 'left a process behind');
  });
  child.on('close', () => {
    clearTimeout(timer);
    running.delete(end);
    resolve(count(file, output, fault));
  });
  return promise;
}

/** Reads uvu's summary. `fault` tells what was wrong with the process, if anything was. */
function count(file: string, output: string, fault: string): Outcome {
  const plain = stripVTControlCharacters(output);
  const skips = [...plain.matchAll(SKIPPED)].map(([, skip]) => skip!);
  const summaries = [...plain.matchAll(/^ {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)\n/gm)];
  const [, total = 0, passed = 0, skipped = 0] = (summaries.at(-1) ?? []).map(Number);
  if (summaries.length === 0) fault ||= 'printed no summary: is test.run() missing?';
  if (skipped !== skips.length) fault ||= 'skipped a test without its name and the reason: use needs()';
  // uvu ends well when a hook fails: what has not passed has failed. A faulty file is at least one failure.
  return { file, passed, failed: Math.max(total - passed, fault ? 1 : 0), skipped, skips, fault, output };
}

function print(outcome: Outcome): void {
  if (outcome.failed === 0) console.log(`ok    ${summary(outcome)}`);
  else console.log(`${outcome.output.trimEnd()}\nFAIL  ${summary(outcome)}`);
}

const summary = ({ file, passed, failed, skipped, fault }: Outcome): string =>
  `${file}: ${passed} passed, ${failed} failed, ${skipped} skipped${fault && `; ${fault}`}`;

/** Prints what was skipped and what failed, then the counts. Returns the exit status. */
function report(outcomes: Outcome[]): number {
  const skips = outcomes.flatMap(({ file, skips }) => skips.map(skip => `  ${file}: ${skip}`));
  const failures = outcomes.filter(({ failed }) => failed > 0).map(outcome => `  ${summary(outcome)}`);
  if (skips.length) console.log(`\nSkipped:\n${skips.join('\n')}`);
  if (failures.length) console.log(`\nFailed:\n${failures.join('\n')}`);
  const sum = (key: 'passed' | 'failed' | 'skipped') => outcomes.reduce((total, outcome) => total + outcome[key], 0);
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  return sum('passed') > 0 && sum('failed') === 0 ? 0 : 1;
}

const { values, positionals } = parseArgs({
  options: {
    in: { type: 'string', default: 'test' },
    limit: { type: 'string', default: '600' },
    json: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const end of running) end();
    process.exit(1);
  });
}
const outcomes: Outcome[] = [];
await runAll(testFiles(values.in, positionals), Number(values.limit), outcome => {
  if (values.json) console.log(JSON.stringify(outcome));
  else print(outcome);
  outcomes.push(outcome);
});
process.exitCode = values.json ? 0 : report(outcomes);
