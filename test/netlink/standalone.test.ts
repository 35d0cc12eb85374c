/** The folder netlink/ is of use alone: it imports nothing from outside, and runs in any JavaScript runtime. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasTool, needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const project = join(import.meta.dirname, '..', '..');
const sources = readdirSync(join(project, 'netlink')).map(name => ({
  name,
  text: readFileSync(join(project, 'netlink', name), 'utf8'),
}));

/** The codec example, run in a directory where there is nothing but it and the folder: no packages either. */
function runExample(command: string, ...args: string[]): string {
  using directory = temporaryDirectory();
  cpSync(join(project, 'netlink'), join(directory.path, 'netlink'), { recursive: true });
  mkdirSync(join(directory.path, 'examples'));
  cpSync(join(project, 'examples/netlink-codec.ts'), join(directory.path, 'examples/netlink-codec.ts'));
  writeFileSync(join(directory.path, 'package.json'), '{ "type": "module" }');
  return execFileSync(command, [...args, 'examples/netlink-codec.ts'], { cwd: directory.path, encoding: 'utf8' });
}

const EXPECTED = /To create macvlan link mv-web, .* 88 bytes:.*"mode":"bridge".*Unknown device type \(EOPNOTSUPP\)/s;

/** Node runs TypeScript as it is since 22.18. */
const recentNode = () => {
  if (!hasTool('node')) return 'node is not installed';
  const version = execFileSync('node', ['--version'], { encoding: 'utf8' }).trim();
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number);
  return major > 22 || (major === 22 && minor >= 18) ? undefined : `node ${version} is older than 22.18`;
};

test('its files import each other only', () => {
  for (const { name, text } of sources) {
    const modules = [...text.matchAll(/(?:from|import\(|import|require\()\s*'([^']+)'/g)].map(([, module]) => module!);
    for (const module of modules) assert.match(module, /^\.\/[a-z-]+\.ts$/, `${name} imports ${module}`);
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

needs([tool('deno')])('the example runs alone in Deno, with no permissions', () => {
  assert.match(runExample('deno', 'run', '--no-prompt', '--no-remote'), EXPECTED);
});

test.run();
