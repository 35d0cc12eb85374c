/**
 * Writes syscalls/tables/*.ts: syscall numbers from the kernel headers that Debian ships, systemd's groups of syscalls,
 * and nspawn's default filter as a program. Run it with
 *
 *     bun scripts/syscall-tables.ts
 *
 * on a Debian machine with cpp and the packages linux-libc-dev, linux-libc-dev-arm64-cross, linux-libc-dev-armhf-cross
 * and systemd. The C preprocessor does the reading: it alone knows which of a header's numbers hold for
 * an architecture (arm64's come from asm-generic/unistd.h, with its 32-bit variants and __NR3264_ indirections).
 */

import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { compile } from '../syscalls/seccomp/compile.ts';
import { disassemble } from '../syscalls/seccomp/disassemble.ts';
import { type HostArchitecture, nspawnFilter } from '../syscalls/seccomp/nspawn-filter.ts';

/** Where an architecture's numbers come from. */
export interface TableSource {
  /** Name of the table, of its file and of the constant in it. */
  name: string;
  /** Debian package with the headers. */
  package: string;
  /** Include directories, the one with asm/unistd.h first. */
  include: string[];
  /** What the compiler for that architecture predefines, as far as <asm/unistd.h> asks for it. */
  defines: string[];
  /** The headers that hold the numbers, for the comment in the generated file. */
  headers: string;
}

const X86_INCLUDE = ['/usr/include/x86_64-linux-gnu', '/usr/include'];

export const SOURCES: readonly TableSource[] = [
  {
    name: 'x86_64',
    package: 'linux-libc-dev',
    include: X86_INCLUDE,
    defines: ['__x86_64__', '__LP64__'],
    headers: '/usr/include/x86_64-linux-gnu/asm/unistd_64.h',
  },
  {
    name: 'i386',
    package: 'linux-libc-dev',
    include: X86_INCLUDE,
    defines: ['__i386__'],
    headers: '/usr/include/x86_64-linux-gnu/asm/unistd_32.h',
  },
  {
    name: 'x32',
    package: 'linux-libc-dev',
    include: X86_INCLUDE,
    defines: ['__x86_64__', '__ILP32__'],
    headers: '/usr/include/x86_64-linux-gnu/asm/unistd_x32.h; the numbers include __X32_SYSCALL_BIT (0x40000000)',
  },
  {
    name: 'arm64',
    package: 'linux-libc-dev-arm64-cross',
    include: ['/usr/aarch64-linux-gnu/include'],
    defines: ['__aarch64__', '__LP64__'],
    headers: '/usr/aarch64-linux-gnu/include/asm-generic/unistd.h',
  },
  {
    name: 'arm',
    package: 'linux-libc-dev-armhf-cross',
    include: ['/usr/arm-linux-gnueabihf/include'],
    defines: ['__arm__', '__ARM_EABI__'],
    headers: '/usr/arm-linux-gnueabihf/include/asm/unistd-eabi.h and unistd.h (the ARM private calls, 0xf0001 and up)',
  },
];

/** `__NR_read` and the ARM private `__ARM_NR_cacheflush`. Uppercase ones are bases and masks. */
const SYSCALL_MACRO = /^#define (__(?:ARM_)?NR_(_?[a-z]\w*)) /gm;

/** Lowercase macros that are counts or bases. */
const NOT_SYSCALLS = new Set(['syscalls', 'arch_specific_syscall']);

/** Columns of a line in a generated file. */
const LINE_WIDTH = 120;

/**
 * Why a table cannot be generated here, or undefined if it can.
 */
export function missingFor(source: TableSource): string | undefined {
  if (spawnSync('cpp', ['--version']).status !== 0) return 'no C preprocessor (cpp)';
  if (!existsSync(`${source.include[0]}/asm/unistd.h`)) return `package ${source.package} is not installed`;
  return undefined;
}

/** Version of an installed Debian package. Throws where dpkg does not know it. */
export function packageVersion(name: string): string {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own syntax
  return run('dpkg-query', ['-W', '-f', '${Version}', name], '').trim();
}

/** An architecture's syscall numbers by name, in the order of the numbers, as the installed headers have them. */
export function readTable(source: TableSource): [name: string, number: number][] {
  const macros = preprocess(source, ['-dM'], '#include <asm/unistd.h>\n');
  const found = [...macros.matchAll(SYSCALL_MACRO)].filter(([, , name]) => !NOT_SYSCALLS.has(name!));

  // A second run expands the macros, one a line: @read (0x40000000 + 0)
  const expanded = preprocess(
    source,
    ['-P'],
    `#include <asm/unistd.h>\n${found.map(([, macro, name]) => `@"${name}" ${macro}\n`).join('')}`,
  );
  const entries = [...expanded.matchAll(/^@"(\w+)" (.*)$/gm)].map(([, name, expression]): [string, number] => [
    name!,
    sum(expression!),
  ]);
  if (entries.length !== found.length) throw new Error(`${source.headers}: not every syscall macro could be expanded`);
  return entries.sort(([nameA, a], [nameB, b]) => a - b || (nameA < nameB ? -1 : 1));
}

/** The text of a generated table file. */
export function tableText(source: TableSource, version: string, entries: readonly [string, number][]): string {
  // Numbers over a base (x32's bit, the ARM private calls) are only readable in hexadecimal.
  const lines = wrapped(
    ' ',
    entries.map(([name, number]) => `${name}: ${number > 0xffff ? `0x${number.toString(16)}` : number},`),
  );
  return [
    '// Generated by scripts/syscall-tables.ts: do not edit.',
    `// Source: Debian package ${source.package} ${version},`,
    `// ${source.headers}`,
    '',
    `/** Syscall numbers of ${source.name} by name. */`,
    `export const ${source.name}: Readonly<Record<string, number>> = {`,
    ...lines,
    '};',
    '',
  ].join('\n');
}

/** Words in lines of LINE_WIDTH at most, each of which starts with `indent`, and with a blank before each word. */
function wrapped(indent: string, words: readonly string[]): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of words) {
    if (line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line);
      line = indent;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

/** A group of syscalls: its name, such as @clock, and the calls and other groups in it. */
export interface SyscallGroup {
  name: string;
  members: string[];
}

/** The groups that the installed systemd knows. Throws where there is none. */
export function readGroups(): SyscallGroup[] {
  const analyze = (...groups: string[]) => run('systemd-analyze', ['--no-pager', 'syscall-filter', ...groups], '');
  const names = [...analyze().matchAll(/^@\S+/gm)].map(([name]) => name);
  // Without names it also tells what is in no group.
  return analyze(...names)
    .split(/\n(?=@)/)
    .map(text => {
      const [name, ...lines] = text.split('\n').map(line => line.trim());
      return { name: name!, members: lines.filter(line => line !== '' && !line.startsWith('#')) };
    });
}

/** The text of syscall-groups.ts. */
export function groupsText(version: string, groups: readonly SyscallGroup[]): string {
  return [
    '// Generated by scripts/syscall-tables.ts: do not edit.',
    `// Source: systemd-analyze syscall-filter, Debian package systemd ${version}`,
    '',
    "/** systemd's groups of syscalls: calls and other groups, with blanks between. See systemd.exec(5). */",
    'export const SYSCALL_GROUPS: Readonly<Record<string, string>> = {',
    ...groups.flatMap(({ name, members }) => [`  '${name}': \``, ...wrapped('   ', members), '  `,']),
    '};',
    '',
  ].join('\n');
}

/** The text of nspawn-program.ts: the programs of nspawn's default filters, each instruction as two 32-bit words. */
export function programsText(): string {
  const hosts: readonly HostArchitecture[] = ['x86_64', 'arm64'];
  const lines = [
    '// Generated by scripts/syscall-tables.ts from syscalls/seccomp/nspawn-filter.ts: do not edit.',
    '',
    "/** nspawn's default seccomp filter by host architecture: struct sock_filter as little-endian 32-bit words. */",
    'export const NSPAWN_PROGRAM = {',
  ];
  for (const host of hosts) {
    const program = compile(nspawnFilter(host));
    const view = new DataView(program.buffer);
    lines.push(`  ${host}: [`);
    for (const [at, text] of disassemble(program).trimEnd().split('\n').entries()) {
      const words = [view.getUint32(8 * at, true), view.getUint32(8 * at + 4, true)];
      lines.push(`    ${words.map(word => `0x${word.toString(16).padStart(8, '0')}`).join(', ')}, // ${text}`);
    }
    lines.push('  ],');
  }
  return [...lines, '} as const;', ''].join('\n');
}

/** Value of a constant C expression that is a number or a sum of numbers, the only kinds that the headers use. */
function sum(expression: string): number {
  const terms = expression.replace(/[()\s]/g, '').split('+');
  if (!terms.every(term => /^(0x[0-9a-f]+|\d+)$/i.test(term))) throw new Error(`not a sum of numbers: ${expression}`);
  return terms.map(Number).reduce((a, b) => a + b);
}

function preprocess(source: TableSource, flags: string[], input: string): string {
  const include = source.include.map(directory => `-I${directory}`);
  const defines = source.defines.map(name => `-D${name}=1`);
  // -undef and -nostdinc: nothing of the machine that this runs on takes part.
  return run('cpp', ['-undef', '-nostdinc', ...include, ...defines, ...flags, '-'], input);
}

function run(command: string, args: string[], input: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: 'utf8' });
  if (error !== undefined) throw new Error(`cannot run ${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${stderr.trim()}`);
  return stdout;
}

function write(name: string, text: string): void {
  writeFileSync(new URL(`../syscalls/tables/${name}.ts`, import.meta.url), text);
}

if (import.meta.main) {
  for (const source of SOURCES) {
    const missing = missingFor(source);
    if (missing !== undefined) throw new Error(`cannot generate the syscall table of ${source.name}: ${missing}`);
    write(source.name, tableText(source, packageVersion(source.package), readTable(source)));
  }
  write('syscall-groups', groupsText(packageVersion('systemd'), readGroups()));
  write('nspawn-program', programsText());
}
