import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { getopt } from '../../src/cli/getopt.ts';
import { UsageError } from '../../src/options/usage-error.ts';

const table = [
  { letter: 'q', name: 'quiet' },
  { letter: 'b', name: 'boot' },
  { letter: 'D', name: 'directory', value: 'PATH' },
  { name: 'volatile', value: 'MODE', valueOptional: true as const },
  { name: 'overlay', value: 'PATHS' },
  { name: 'overlay-ro', value: 'PATHS' },
  { name: 'overview' },
  { letter: 'j' },
];

/** The options as `name=value`, and the words that are left. */
function read(words: string[]): [given: string[], rest: string[]] {
  const given: string[] = [];
  const reader = getopt(words, table);
  let step = reader.next();
  for (; !step.done; step = reader.next()) {
    const { option, value } = step.value;
    given.push((option.name ?? option.letter) + (value === undefined ? '' : `=${value}`));
  }
  return [given, step.value];
}

const readings: [words: string[], given: string[], rest: string[]][] = [
  [[], [], []],
  [['--directory=/x'], ['directory=/x'], []],
  [['--directory', '/x'], ['directory=/x'], []],
  [['--directory', '--quiet'], ['directory=--quiet'], []],
  [['--directory='], ['directory='], []],
  [['--directory=a=b'], ['directory=a=b'], []],
  [['-D', '/x'], ['directory=/x'], []],
  [['-D/x'], ['directory=/x'], []],
  [['-D=/x'], ['directory==/x'], []],
  [['-D', ''], ['directory='], []],
  [['-D', '--'], ['directory=--'], []],
  [['-qbD/x'], ['quiet', 'boot', 'directory=/x'], []],
  [['-qbD', '/x'], ['quiet', 'boot', 'directory=/x'], []],
  [['-jq'], ['j', 'quiet'], []],
  [['--dir=/x', '--q'], ['directory=/x', 'quiet'], []],
  [['--overlay=/a:/b'], ['overlay=/a:/b'], []],
  [['--overlay-=/a:/b'], ['overlay-ro=/a:/b'], []],
  [['--volatile', 'state'], ['volatile'], ['state']],
  [['--volatile=state'], ['volatile=state'], []],
  [['--volatile='], ['volatile='], []],
  [['-q', 'ls', '-b', '--nonsense'], ['quiet'], ['ls', '-b', '--nonsense']],
  [['-q', '--', '-b', '--', 'x'], ['quiet'], ['-b', '--', 'x']],
  [['--'], [], []],
  [['-', '-q'], [], ['-', '-q']],
  [['', '-q'], [], ['', '-q']],
  [['007', '1e3', 'true', '--x=0x10'], [], ['007', '1e3', 'true', '--x=0x10']],
  [['-D007'], ['directory=007'], []],
];

for (const [words, given, rest] of readings) {
  test(`reads ${JSON.stringify(words)}`, () => assert.equal(read(words), [given, rest]));
}

const refusals: [words: string[], line: string][] = [
  [['--bogus'], 'unknown option --bogus, see nspawn --help'],
  [['--bogus=1'], 'unknown option --bogus, see nspawn --help'],
  [['--=x'], 'unknown option --, see nspawn --help'],
  [['--quiety'], 'unknown option --quiety, see nspawn --help'],
  [['-y'], 'unknown option -y, see nspawn --help'],
  [['-q=1'], 'unknown option -=, see nspawn --help'],
  [['-q😀'], 'unknown option -😀, see nspawn --help'],
  [['--over'], '--over is ambiguous, it can be --overlay, --overlay-ro, --overview'],
  [['--quiet=yes'], '--quiet takes no value'],
  [['--quiet='], '--quiet takes no value'],
  [['--directory'], '--directory= needs a value, PATH'],
  [['-q', '-D'], '--directory= needs a value, PATH'],
];

for (const [words, line] of refusals) {
  test(`refuses ${JSON.stringify(words)}`, () => {
    assert.throws(
      () => read(words),
      (error: unknown) => error instanceof UsageError && error.message === line,
    );
  });
}

test('reads an option only when it is asked for', () => {
  const reader = getopt(['-q', '--bogus'], table);
  assert.is(reader.next().done, false);
  assert.throws(() => reader.next(), /unknown option --bogus/);
});

test.run();
