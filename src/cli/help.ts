import { type CAC, cac } from 'cac';
import { version } from '../../package.json';
import { capabilityNames } from '../options/capabilities.ts';
import type { Row } from './options/row.ts';
import { sections } from './options.ts';

const width = 80;
/** Where the descriptions begin. */
const column = 28;

/** Prints the help on standard output. */
export function printHelp(): void {
  commandLine().outputHelp();
}

/** Prints name and version. Not through cac, which takes the version of Node that Bun mimics for Bun's own. */
export function printVersion(): void {
  console.info(`nspawn ${version}`);
}

/** Prints the names of all capabilities, in the order of their numbers. */
export function printCapabilities(): void {
  console.info(capabilityNames.map(name => name.toLowerCase()).join('\n'));
}

/** nspawn's command line as cac knows it. Its parser isn't used: it turns 007 into 7, and reads past the first word. */
function commandLine(): CAC {
  const cli = cac('nspawn').help(helpSections);
  for (const row of sections.flatMap(section => section.rows)) cli.option(declaration(row), row.help);
  return cli;
}

/** The help's parts. */
function helpSections(): { title?: string; body: string }[] {
  const head = [
    'nspawn [OPTIONS...] [COMMAND [ARGUMENTS...]]',
    'nspawn --boot [OPTIONS...] [ARGUMENTS...]',
    'nspawn list|exec|kill|poweroff|wait|inspect [OPTIONS...] ...',
    '',
    'Spawn a command or an operating system in a light-weight container. The verbs',
    'list the containers that run, run commands in them and end them, and show what',
    'a disk image holds: see nspawn VERB --help.',
  ];
  return [
    { body: head.join('\n') },
    ...sections.map(({ title, rows }) => ({ title, body: rows.flatMap(helpLines).join('\n') })),
  ];
}

/** `-D, --directory <PATH>`, as cac wants it. */
function declaration({ letter, name, value, valueOptional }: Row): string {
  const names = [letter && `-${letter}`, name && `--${name}`].filter(each => each !== undefined).join(', ');
  if (value === undefined) return names;
  return valueOptional ? `${names} [${value}]` : `${names} <${value}>`;
}

/** `  -D --directory=PATH       Root directory of the container`, with more lines where it is long. */
function helpLines(row: Row): string[] {
  const left = `  ${synopsis(row)}`.padEnd(column - 1);
  const text = wrap(row.help);
  const beside = left.length < column ? `${left} ${text.shift()}` : left;
  return [beside, ...text.map(line => ' '.repeat(column) + line)];
}

function synopsis({ letter, name, value, valueOptional }: Row): string {
  const short = letter === undefined ? '  ' : `-${letter}`;
  if (name === undefined) return short;
  if (value === undefined) return `${short} --${name}`;
  return `${short} --${name}${valueOptional ? `[=${value}]` : `=${value}`}`;
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= width - column) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
