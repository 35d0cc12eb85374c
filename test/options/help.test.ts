import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printHelp, printVersion } from '../../src/cli/help.ts';
import { sections } from '../../src/cli/options.ts';

/** What `print` writes. */
function written(print: () => void): string {
  const { info } = console;
  let text = '';
  console.info = (line: string) => {
    text += `${line}\n`;
  };
  try {
    print();
  } finally {
    console.info = info;
  }
  return text;
}

const help = written(printHelp);
const lines = help.split('\n');

test('fits a terminal of 80 columns', () => {
  assert.equal(
    lines.filter(line => line.length > 80),
    [],
  );
});

test('shows options in sections, with letter, value and description', () => {
  assert.ok(help.startsWith('nspawn [OPTIONS...] [COMMAND [ARGUMENTS...]]\n'));
  assert.ok(lines.includes('  -D --directory=PATH       Root directory of the container'));
  assert.ok(lines.includes('     --private-network      Give the container a network of its own, with a'));
  assert.ok(lines.some(line => line.startsWith('     --volatile[=MODE]      ')));
  const long = lines.indexOf('     --bind=PATH[:PATH[:OPTIONS]]');
  assert.is(lines[long + 1], '                            Bind mount a file or directory of the host into the');
  assert.ok(lines.indexOf('Execution:') < lines.indexOf('Mounts:'));
});

test('lists each option once', () => {
  const listed = lines.flatMap(line => /^ {2}(-\w| {2}) --([\w-]+)/.exec(line)?.[2] ?? []);
  const missing = sections
    .flatMap(section => section.rows)
    .map(row => row.name)
    .filter(name => name !== undefined && !listed.includes(name));
  assert.is(new Set(listed).size, listed.length);
  assert.equal(missing, []);
});

test('names and letters are each used once', () => {
  const rows = sections.flatMap(section => section.rows);
  const names = rows.flatMap(row => row.name ?? []);
  const letters = rows.flatMap(row => row.letter ?? []);
  assert.is(new Set(names).size, names.length);
  assert.is(new Set(letters).size, letters.length);
  // The seed's letters, and today's.
  for (const letter of 'hDubLMjSZqixEPan') assert.ok(letters.includes(letter), letter);
});

test('the version is one line with name and number', () => {
  assert.match(written(printVersion), /^nspawn \d+\.\d+\.\d+\n$/);
});

test.run();
