/** The folder gpt/ is of use alone: it imports nothing from outside, and runs in any JavaScript runtime. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { createContext, runInContext } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeGpt } from '../../gpt/index.ts';
import { hasTool, needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { squashfs } from './crafted.ts';
import { createImage, MIB, writeChunks } from './support.ts';

const project = join(import.meta.dirname, '..', '..');
const sources = readdirSync(join(project, 'gpt'), { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(name => ({ name, text: readFileSync(join(project, 'gpt', name), 'utf8') }));

/** An image with a squashfs in a partition, of which the primary GPT is damaged. */
function createDisk(directory: string): string {
  const path = createImage(join(directory, 'disk.img'), 4 * MIB);
  const partitions = [{ type: 'root-arm64', size: MIB }, { type: 'home' }];
  writeChunks(path, encodeGpt({ size: 4 * MIB, partitions }));
  writeChunks(path, [
    { offset: 520, bytes: Uint8Array.of(9) },
    { offset: MIB, bytes: squashfs() },
  ]);
  return path;
}

/** The example, run in a directory where there is nothing but it, the folder and an image: no packages either. */
function runExample(command: string, ...args: string[]): string {
  using directory = temporaryDirectory();
  cpSync(join(project, 'gpt'), join(directory.path, 'gpt'), { recursive: true });
  mkdirSync(join(directory.path, 'examples'));
  cpSync(join(project, 'examples/gpt-inspect.ts'), join(directory.path, 'examples/gpt-inspect.ts'));
  writeFileSync(join(directory.path, 'package.json'), '{ "type": "module" }');
  const image = createDisk(directory.path);
  return execFileSync(command, [...args, 'examples/gpt-inspect.ts', image], { cwd: directory.path, encoding: 'utf8' });
}

const EXPECTED =
  /gpt .* 512 bytes\n {2}! primary copy: the checksum.*\n {2}1: root-arm64, 1048576 bytes at 1048576: squashfs\n {2}2: home, .*: nothing known\n/;

/** Node runs TypeScript as it is since 22.18. */
const recentNode = () => {
  if (!hasTool('node')) return 'node is not installed';
  const version = execFileSync('node', ['--version'], { encoding: 'utf8' }).trim();
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number);
  return major > 22 || (major === 22 && minor >= 18) ? undefined : `node ${version} is older than 22.18`;
};

test('its files import each other only', () => {
  assert.ok(sources.length > 30);
  for (const { name, text } of sources) {
    const modules = [...text.matchAll(/(?:from|import\(|import|require\()\s*'([^']+)'/g)].map(([, module]) => module!);
    const inside = name.includes('/') ? /^(\.|\.\.)\/[a-z0-9-]+\.ts$/ : /^\.\/(formats\/)?[a-z0-9-]+\.ts$/;
    for (const module of modules) assert.match(module, inside, `${name} imports ${module}`);
  }
});

test('it uses nothing that one runtime only has', () => {
  for (const { name, text } of sources) {
    assert.not.match(text, /\b(Bun|Deno|process|Buffer)\.[a-z]|\brequire\(/i, name);
  }
});

test('the example runs alone', () => {
  assert.match(runExample(process.execPath), EXPECTED);
});

needs([recentNode])('the example runs alone in Node', () => {
  assert.match(runExample('node'), EXPECTED);
});

needs([tool('deno')])('the example runs alone in Deno', () => {
  assert.match(runExample('deno', 'run', '--no-prompt', '--no-remote', '--allow-read'), EXPECTED);
});

test('a bundle for browsers needs nothing but what browsers have', async () => {
  using directory = temporaryDirectory();
  const entry = join(directory.path, 'entry.ts');
  const bundle = join(directory.path, 'bundle.js');
  writeFileSync(
    entry,
    `import { bytesSource, encodeGpt, readPartitionTable } from '${join(project, 'gpt/index.ts')}';
     const disk = new Uint8Array(1 << 20);
     for (const { offset, bytes } of encodeGpt({ size: disk.length, alignment: 512, partitions: [{ type: 'esp', name: 'é' }] })) {
       disk.set(bytes, offset);
     }
     globalThis.done = readPartitionTable(bytesSource(disk)).then(table => table.partitions[0].typeName + ' ' + table.partitions[0].name);`,
  );
  execFileSync(process.execPath, ['build', '--target=browser', '--format=iife', entry, `--outfile=${bundle}`]);
  const browser = createContext({ TextDecoder, TextEncoder, crypto });
  runInContext(readFileSync(bundle, 'utf8'), browser);
  assert.is(await browser['done'], 'esp é');
});

test.run();
