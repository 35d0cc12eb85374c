/**
 * Runs test files and counts truly:
 *
 *     bun scripts/test.ts [--in=DIRECTORY] [--limit=SECONDS] [PART-OF-FILE-NAME…]
 *
 * Each *.test.ts below DIRECTORY (test) runs in a process of its own, two at a time; those in a directory `alone` run
 * by themselves, after the others. A file that takes longer than the limit is killed with all that it started. The
 * last line is `N passed, N failed, N skipped`; the exit status is 0 only if something passed and nothing failed.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { SKIPPED } from '../test/support/needs.ts';
import { killTree } from '../test/support/processes.ts';

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

/** Seconds that a file's processes may stay after itself. */
const LINGERING = 5;

/** Leaders of the test files that run now. */
const running = new Set<number>();

function testFiles(directory: string, filters: string[]): string[] {
  const files = globSync('**/*.test.ts', { cwd: directory }).map(file => join(directory, file));
  return files.filter(file => filters.length === 0 || filters.some(part => file.includes(part))).sort();
}

async function runAll(files: string[], limit: number): Promise<Outcome[]> {
  const isAlone = (file: string) => /(^|\/)alone\//.test(file);
  const outcomes: Outcome[] = [];
  const work = async (queue: string[]) => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const outcome = await run(file, limit);
      print(outcome);
      outcomes.push(outcome);
    }
  };
  const together = files.filter(file => !isAlone(file));
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, () => work(together)));
  await work(files.filter(isAlone));
  return outcomes;
}

/** Runs one file. `limit` is in seconds. */
function run(file: string, limit: number): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  // Detached: it leads a session and a process group, by which what it leaves behind is found.
  const child = spawn(process.execPath, [file], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const leader = child.pid!;
  running.add(leader);

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
    running.delete(leader);
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
  for (let unnamed = skipped - skips.length; unnamed > 0; unnamed--) skips.push('a test that gives no name and reason');
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
  options: { in: { type: 'string', default: 'test' }, limit: { type: 'string', default: '300' } },
  allowPositionals: true,
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    running.forEach(killTree);
    process.exit(1);
  });
}
process.exitCode = report(await runAll(testFiles(values.in, positionals), Number(values.limit)));
