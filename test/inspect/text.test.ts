/** `nspawn inspect` as people see it: widths, what labels may not do to a terminal, errors, and when it is the verb. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeGpt } from '../../gpt/index.ts';
import { drawBar } from '../../src/inspect/bar.ts';
import { escaped, quoted } from '../../src/inspect/escape.ts';
import { readableSize } from '../../src/inspect/size.ts';
import { F, O } from '../../syscalls/constants.ts';
import { closeFd, owned } from '../../syscalls/fd.ts';
import { readAll } from '../../syscalls/file.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { atTerminal, NSPAWN, nspawn } from '../cli/support.ts';
import { eventually, pipe } from '../console/support.ts';
import { createImage, MIB, runOk, writeChunks } from '../gpt/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { EXT4, gptImage, inspect, reportOn, SMALL } from './support.ts';

const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const at = (name: string): string => join(directory.path, name);

const UUID = '01234567-89ab-cdef-0123-456789abcdef';

needs([tool('mke2fs'), tool('mkfs.vfat')])('a disk, 80 columns wide', async () => {
  const path = gptImage(at('disk'), [
    { type: 'esp', id: UUID, name: 'EFI System', size: 4 * MIB, mkfs: ['mkfs.vfat', '-i', 'c0ffee00', '-n', 'ESP'] },
    { type: 'root-x86', id: UUID, size: 12 * MIB, mkfs: [...EXT4, '-U', UUID, '-L', 'the root'] },
    { type: 'home', id: UUID, attributes: ['noAuto', 'readOnly'] },
  ]);
  const { stdout } = await nspawn(['inspect', 'disk'], { cwd: directory.path, env: { COLUMNS: '' } });
  const { table } = await reportOn(path);
  assert.is(
    stdout,
    `disk: 23 MiB (24117248 bytes), GPT ${table!.id}, sectors
  of 512 bytes

┌──────────────┬──────────────────────────────────────┬──────────────┬─────────┐
│1 esp         │2 root-x86                            │3 home        │         │
│4 MiB         │12 MiB                                │4 MiB         │free     │
└──────────────┴──────────────────────────────────────┴──────────────┴─────────┘

#  Type       Start    Size  Contents  Mounted at
1  esp        1 MiB   4 MiB  vfat      /efi or /boot
   partition UUID ${UUID}, "EFI System"
   vfat FAT12, "ESP", UUID C0FF-EE00
2  root-x86   5 MiB  12 MiB  ext4      /
   partition UUID ${UUID}
   ext4 1.0, "the root", UUID ${UUID}
3  home      17 MiB   4 MiB  -         -
   partition UUID ${UUID}
   marked readOnly, noAuto
   not mounted: it is marked as not to be mounted (no-auto)

warning: more than one partition has the GUID
  ${UUID}
nspawn -i disk: the root is partition 2 (ext4), for x86, with /efi
`,
  );
});

needs([tool('mke2fs')])('no line is wider than the terminal', async () => {
  const path = gptImage(at('wide'), [
    { type: 'root-loongarch64-verity-sig', name: 'a'.repeat(36) },
    { type: 'microsoft-storage-spaces' },
    { type: 'root-x86-64', mkfs: EXT4, attributes: ['readOnly', 'growFileSystem'] },
    { type: 'usr-x86-64' },
  ]);
  for (const columns of [60, 80, 100, 200]) {
    const { stdout } = await nspawn(['inspect', path], { env: { COLUMNS: String(columns) } });
    const lines = stdout.split('\n');
    const widths = lines.map(line => line.length);
    assert.ok(Math.max(...widths) <= columns, stdout);
    assert.is(lines.find(line => line.startsWith('┌'))!.length, columns);
  }
  for (const strange of ['0', '-5', '1e9', 'Infinity', 'x']) {
    const { stdout, status } = await nspawn(['inspect', path], { env: { COLUMNS: strange } });
    const bar = stdout.split('\n').find(line => line.startsWith('┌'))!;
    assert.equal([status, bar.length], [0, 80], strange);
  }
});

needs([tool('setsid')])('a terminal tells its width', async () => {
  const path = gptImage(at('on-terminal'), [{ type: 'home' }]);
  await using session = atTerminal([...NSPAWN, 'inspect', path]);
  assert.is(await session.ended, 0);
  await session.until(`┌${'─'.repeat(40)}`);
  const bar = session
    .screen()
    .split('\r\n')
    .find(line => line.startsWith('┌'))!;
  assert.is(bar.length, 100);
});

test('a bar has the width that it is to have, whatever is in it', () => {
  const box = (offset: number, size: number) => ({ offset, size, lines: ['1 some type', '9 MiB'] as const });
  for (const segments of [
    [],
    [box(0, 100)],
    [box(10, 20), box(30, 1), box(50, 50)],
    // Overlapping, one within another, empty.
    [box(0, 60), box(50, 20), box(10, 5), box(99, 0)],
    Array.from({ length: 128 }, (_, index) => box(index, 1)),
  ]) {
    for (const width of [40, 41, 80, 133]) {
      const lines = drawBar(segments, 100, width);
      assert.equal(
        lines.map(line => line.length),
        [width, width, width, width],
      );
    }
  }
});

test('boxes have their share', () => {
  const [top] = drawBar(
    [
      { offset: 0, size: 25e6, lines: ['a', ''] },
      { offset: 25e6, size: 50e6, lines: ['b', ''] },
    ],
    100e6,
    79,
  );
  assert.equal(
    top!
      .slice(1, -1)
      .split('┬')
      .map(line => line.length),
    [20, 36, 19],
  );
});

test('what overlaps is drawn once', () => {
  const box = (offset: number, size: number) => ({ offset, size, lines: ['', ''] as const });
  // 60 of the first one, 10 more of the second one, and 30 that are free.
  const [top] = drawBar([box(0, 60e6), box(50e6, 20e6)], 100e6, 104 - 9);
  assert.equal(
    top!
      .slice(1, -1)
      .split('┬')
      .map(line => line.length),
    [52, 11, 28],
  );
});

test('sizes', () => {
  for (const [bytes, text] of [
    [0, '0 bytes'],
    [512, '512 bytes'],
    [1024, '1 KiB'],
    [17408, '17 KiB'],
    [1024 * 1024 - 1, '1023 KiB'],
    [1.5 * MIB, '1.5 MiB'],
    [1.379 * 1024 * MIB, '1.37 GiB'],
    [99.99 * MIB, '99.9 MiB'],
    [2 ** 60, '1 EiB'],
  ] as const) {
    assert.is(readableSize(bytes), text);
  }
});

const HOSTILE = '\x1b[31m\x07\r\n\x7f\x9b2J\u202e\u200b\u2028"\\';

test('nothing of a label reaches the terminal that is not a visible character', () => {
  assert.is(quoted(HOSTILE), String.raw`"\u001b[31m\u0007\r\n\u007f\u009b2J\u202e\u200b\u2028\"\\"`);
  assert.is(escaped('\x1b\n'), String.raw`\u001b\u000a`);
  assert.is(quoted('Grüße, 世界 🙂'), '"Grüße, 世界 🙂"');
  assert.is(quoted('\ud800\u{e0001}'), String.raw`"\ud800\udb40\udc01"`);
});

needs([tool('mke2fs')])('so it is in both kinds of output, and in messages', async () => {
  const name = 'evil\x1b]0;x\x07\n.img';
  const partitions = [{ type: 'root-x86-64', name: HOSTILE, mkfs: [...EXT4, '-L', '\x1b[2J\x9b\x07'] }];
  const path = gptImage(at(name), partitions);
  const bare = createImage(at('bare'), SMALL);
  runOk([...EXT4, '-L', '\x1b[2J\x07', bare]);
  const missing = at('no\x1b\nfile');
  for (const args of [[path], ['--json', path], [bare], [missing], ['--\x1b']]) {
    const { stdout, stderr } = await inspect(...args);
    assert.not.match(stdout + stderr, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u200b\u2028]/);
    assert.ok((stdout + stderr).includes('\\u001b'), args.join(' '));
  }
  const report = await reportOn(path);
  assert.equal([report.path, report.partitions[0]!.label], [path, HOSTILE], 'a program gets what it is');
});

for (const [what, path, message] of [
  ['a missing file', 'missing', 'no such file'],
  ['a directory', '.', 'it is a directory, and an image is a regular file or a block device'],
  ['an empty file', 'empty', 'it is empty'],
  [
    'a device that is no disk',
    '/dev/null',
    'it is a character device, and an image is a regular file or a block device',
  ],
] as const) {
  test(`${what} is refused in one line`, async () => {
    createImage(at('empty'), 0);
    const { status, stdout, stderr } = await nspawn(['inspect', path], { cwd: directory.path });
    assert.equal([status, stdout, stderr], [1, '', `inspecting ${path}: ${message}\n`]);
  });
}

needs([root, tool('setpriv')])(
  'a file that may not be read is refused, and nobody needs to be root for others',
  async () => {
    const closed = createImage(at('closed'), MIB);
    runOk(['chown', '1:1', closed]);
    runOk(['chmod', '600', closed]);
    // Root, with nothing left of what makes it more than others.
    const command = ['setpriv', '--bounding-set=-all', ...NSPAWN];
    const refused = await nspawn(['inspect', closed], { command });
    assert.equal([refused.status, refused.stderr], [1, `inspecting ${closed}: Permission denied\n`]);
    const open = createImage(at('open'), MIB);
    assert.is((await nspawn(['inspect', open], { command })).status, 0);
  },
);

test('mistakes and help', async () => {
  const lines: [string[], string][] = [
    [[], 'inspect takes one image, not 0\n'],
    [['a', 'b'], 'inspect takes one image, not 2\n'],
    [['--jsn', 'a'], 'unknown option --jsn, see nspawn inspect --help\n'],
  ];
  for (const [args, message] of lines) {
    const { status, stdout, stderr } = await inspect(...args);
    assert.equal([status, stdout, stderr], [1, '', message]);
  }
  for (const args of [['--help'], ['-h', 'some', 'more']]) {
    const { status, stdout, stderr } = await inspect(...args);
    assert.equal([status, stderr], [0, '']);
    assert.match(stdout, /^nspawn inspect \[--json\] IMAGE\n/);
  }
  assert.match((await nspawn(['--help'])).stdout, /^nspawn list\|.*\|inspect /m);
});

test('options may stand after the image; after -- nothing is one', async () => {
  const path = createImage(at('--json'), MIB);
  mkdirSync(at('elsewhere'));
  const run = (...args: string[]) => nspawn(['inspect', ...args], { cwd: directory.path });
  assert.is(JSON.parse((await run(path, '--json')).stdout).size, MIB);
  assert.match((await run('--', '--json')).stdout, /^--json: 1 MiB/);
});

test('it is a verb as the first word only', async () => {
  for (const before of [
    ['-D', '/nowhere'],
    ['--quiet', '-D', '/nowhere'],
    ['-D/nowhere', '--'],
  ]) {
    const { status, stderr } = await nspawn([...before, 'inspect', '--help']);
    assert.is(status, 1);
    assert.match(stderr, /nowhere|root/);
  }
});

test('output that cannot be written is an error, output that nobody reads is none', async () => {
  const path = createImage(at('zeros'), MIB);
  const shell = (script: string) => nspawn(['-c', script, 'sh', ...NSPAWN, 'inspect', path], { command: ['/bin/sh'] });
  const full = await shell('"$@" >/dev/full');
  assert.equal([full.status, full.stderr], [1, 'writing to standard output: No space left on device\n']);
  const unread = await shell('{ "$@"; echo "status $?" >&2; } | true');
  assert.equal(unread.stderr, 'status 0\n');
});

test('all of a long output comes, however slowly it is read', async () => {
  const path = createImage(at('many'), 260 * MIB);
  const partitions = Array.from({ length: 256 }, () => ({ type: 'home', size: MIB }));
  writeChunks(path, encodeGpt({ size: 260 * MIB, partitions }));
  const { read, write } = pipe();
  // Then it takes as much as there is room for.
  syscall('fcntl', write, F.SETFL, O.NONBLOCK);
  const [program, ...args] = [...NSPAWN, 'inspect', '--json', path];
  const child = spawn(program!, args, { stdio: ['ignore', write, 'inherit'] });
  closeFd(write);
  const [[status]] = await Promise.all([
    once(child, 'exit'),
    eventually('the pipe is full', () => isFull(read)).then(() => {
      using output = owned(read);
      const text = readAll(output.fd, MIB).toString();
      assert.ok(text.length > PIPE_SIZE);
      assert.is(JSON.parse(text).partitions.length, 256);
    }),
  ]);
  assert.is(status, 0);
});

/** pipe(7) */
const PIPE_SIZE = 65536;
const FIONREAD = 0x541b;

/** As full as writes of whole pages make it. */
function isFull(fd: number): boolean {
  const count = new Int32Array(1);
  syscall('ioctl', fd, FIONREAD, { out: new Uint8Array(count.buffer) });
  return count[0]! > PIPE_SIZE - 4096;
}

test.run();
