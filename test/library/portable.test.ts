/** The parts that are of use alone, in a project that has the package and nothing it depends on, in each runtime. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const CHECKOUT = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(CHECKOUT, 'README.md'), 'utf8');
const packing = [tool('npm'), tool('make'), tool('tar')];

/** A project in which the package has been installed. */
const project = temporaryDirectory();
test.after(() => project[Symbol.dispose]());
const modules = join(project.path, 'node_modules');

function install(): void {
  if (existsSync(modules)) return;
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: CHECKOUT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const packed = run('npm', 'pack', '--silent', '--pack-destination', project.path).trim().split('\n').at(-1)!;
  mkdirSync(join(modules, 'nspawn'), { recursive: true });
  run('tar', '-xzf', join(project.path, packed), '-C', join(modules, 'nspawn'), '--strip-components=1');
  writeFileSync(join(project.path, 'package.json'), '{ "type": "module" }');
}

/** The program of the README that imports a part, without what only TypeScript understands. */
function program(part: string): string {
  const [, text] = new RegExp(`\`\`\`ts\n(import \\{[^}]*\\} from 'nspawn/${part}';\n.*?)\`\`\``, 's').exec(README)!;
  return text!.replace(', type Filter', '').replace(': Filter', '');
}

const PARTS: Record<string, RegExp> = {
  netlink: /^macvlan\n$/,
  seccomp: /\{ errno: 1 \}\n$|\{\n {2}errno: 1,\n\}\n$/,
  gpt: /^1 933ac7e1-2eb4-4f13-b844-0e14e2aef915 8388608\n$/,
};

const RUNTIMES: [name: string, command: string[]][] = [
  ['Bun', [process.execPath]],
  ['Node', ['node']],
  ['Deno', ['deno', 'run', '--no-prompt', '--no-remote', '--node-modules-dir=manual']],
];
for (const [name, [command = '', ...words]] of RUNTIMES) {
  const it = needs([...packing, ...(name === 'Bun' ? [] : [tool(command)])]);
  for (const [part, expected] of Object.entries(PARTS)) {
    it(`nspawn/${part} in ${name}, as the README has it`, () => {
      install();
      writeFileSync(join(project.path, 'program.js'), program(part));
      const output = execFileSync(command, [...words, 'program.js'], { cwd: project.path, encoding: 'utf8' });
      assert.match(output, expected);
    });
  }
}

needs(packing)('TypeScript knows their types', () => {
  install();
  const lines = [
    "import { newLink } from 'nspawn/netlink';",
    "newLink({ kind: 'macvlan', name: 'a', data: { mode: 'bridge' } }).action.length;",
    '// @ts-expect-error: no such mode',
    "newLink({ kind: 'macvlan', name: 'a', data: { mode: 'ridge' } });",
    "export type { Filter } from 'nspawn/seccomp';",
    "export type { GptPartition } from 'nspawn/gpt';",
  ];
  writeFileSync(join(project.path, 'program.ts'), lines.join('\n'));
  const words = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'esnext', '--types', '', 'program.ts'];
  execFileSync(join(CHECKOUT, 'node_modules/.bin/tsc'), words, { cwd: project.path, encoding: 'utf8' });
});

test.run();
