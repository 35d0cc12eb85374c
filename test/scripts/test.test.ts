import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryDirectory } from '../support/temporary.ts';

const HEAD = `
  import { spawn } from 'node:child_process';
  import { test } from 'uvu';
  import { needs, tool } from '${resolve('test/support/needs.ts')}';
`;

/** Runs test files, given by name and text, and returns what the runner says. */
function runFiles(files: Record<string, string>, ...args: string[]) {
  using directory = temporaryDirectory();
  symlinkSync(resolve('node_modules'), join(directory.path, 'node_modules'));
  mkdirSync(join(directory.path, 'test/alone'), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory.path, 'test', name), HEAD + text);
  const command = ['scripts/test.ts', `--in=${join(directory.path, 'test')}`, ...args];
  const { status, stdout } = spawnSync(process.execPath, command, { encoding: 'utf8' });
  return { status, stdout, lastLine: stdout.trimEnd().split('\n').at(-1) };
}

const PASSING = `test('passes', () => {}); test.run();`;

test('adds up what passed and was skipped, and names what was skipped with the reason', () => {
  const { status, stdout, lastLine } = runFiles({
    'a.test.ts': PASSING,
    'b.test.ts': `test('one', () => {}); needs([tool('no-such')])('two', () => {}); test.run();`,
    'alone/c.test.ts': PASSING,
  });
  assert.is(lastLine, '3 passed, 0 failed, 1 skipped');
  assert.is(status, 0);
  assert.match(stdout, 'b.test.ts: two  (no-such is not installed)');
});

test('a file that skips a test without its name and the reason has failed', () => {
  const { status, stdout, lastLine } = runFiles({
    'a.test.ts': `test('one', () => {}); test.skip('unnamed', () => {}); test.run();`,
  });
  assert.is(lastLine, '1 passed, 1 failed, 1 skipped');
  assert.is(status, 1);
  assert.match(stdout, 'skipped a test without its name and the reason: use needs()');
});

test('fails when a test fails, and shows its output', () => {
  const { status, stdout, lastLine } = runFiles({
    'a.test.ts': PASSING,
    'b.test.ts': `test('one', () => {}); test('two', () => { throw new Error('the reason'); }); test.run();`,
  });
  assert.is(lastLine, '2 passed, 1 failed, 0 skipped');
  assert.is(status, 1);
  assert.match(stdout, 'the reason');
});

const FAULTY: Record<string, string> = {
  'does not run its tests': `test('one', () => {});`,
  'ends in a test': `test('one', () => process.exit(0)); test.run();`,
  'is killed': `test('one', () => process.kill(process.pid, 'SIGKILL')); test.run();`,
  'throws after its tests': `test('one', () => { setTimeout(() => { throw 1; }, 50); }); test.run();`,
  'does not parse': 'test(',
  'fails in a hook': `test.before(() => { throw new Error(); }); test('one', () => {}); test.run();`,
};

for (const [name, text] of Object.entries(FAULTY)) {
  test(`a file that ${name} has failed`, () => {
    const { status, lastLine } = runFiles({ 'a.test.ts': PASSING, 'b.test.ts': text });
    assert.match(lastLine!, /^\d passed, 1 failed, 0 skipped$/);
    assert.is(status, 1);
  });
}

/** Processes with this word among their arguments. */
const processesWith = (word: string): string[] =>
  readdirSync('/proc').filter(name => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(word);
    } catch {
      return false; // It has ended.
    }
  });

test('a file that takes too long is killed with what it started, and has failed', () => {
  const { lastLine } = runFiles(
    {
      'a.test.ts': `
        test('hangs', async () => {
          spawn('sleep', ['98765'], { detached: true });
          await new Promise(resolve => setTimeout(resolve, 100));
          for (;;);
        });
        test.run();`,
    },
    '--limit=2',
  );
  assert.is(lastLine, '0 passed, 1 failed, 0 skipped');
  assert.equal(processesWith('98765'), []);
});

test('a file that leaves a process behind which holds its output has failed', () => {
  const { lastLine } = runFiles({
    'a.test.ts': `
      test('leaves one', () => { spawn('sleep', ['98766'], { stdio: 'inherit' }).unref(); });
      test.run();`,
  });
  assert.is(lastLine, '1 passed, 1 failed, 0 skipped');
  assert.equal(processesWith('98766'), []);
});

test('fails when nothing ran, and runs only files that the arguments name', () => {
  const files = { 'a.test.ts': PASSING, 'b.test.ts': PASSING };
  assert.is(runFiles(files, 'b.test').lastLine, '1 passed, 0 failed, 0 skipped');
  const { status, lastLine } = runFiles(files, 'c.test');
  assert.is(lastLine, '0 passed, 0 failed, 0 skipped');
  assert.is(status, 1);
});

test.run();
