/** `nspawn inspect`: shows what a disk image holds, and what --image= would do with it. */
import process from 'node:process';
import { type ByteSource, checkGpt, GptError } from '../../gpt/index.ts';
import { SyscallError } from '../../syscalls/syscall.ts';
import { print } from '../cli/print.ts';
import { readDisk } from '../image/disk.ts';
import { dissect } from '../image/dissect.ts';
import { thisHost } from '../image/host.ts';
import { openImageFile } from '../image/image-file.ts';
import { UsageError } from '../options/usage-error.ts';
import { escaped, printableJson } from './escape.ts';
import { type Report, reportOf } from './report.ts';
import { describeReport } from './text.ts';

const HELP = `nspawn inspect [--json] IMAGE

Show what a disk image (a file or a block device) holds, and what --image= would
do with it. Nothing is changed, and nobody needs to be root.

  -h --help                 Show this help
     --json                 Print a JSON object, with sizes in bytes
`;

/** What a terminal can be without the bar losing its shape. */
const NARROWEST = 40;

/** @param words - what stands after `inspect`; options may stand after the image. Throws an Error of one line. */
export async function run(words: readonly string[]): Promise<number> {
  const { isHelp, isJson, path } = parse(words);
  if (isHelp) {
    print(HELP);
    return 0;
  }
  const report = await read(path);
  print(isJson ? `${printableJson(report)}\n` : textOf(report));
  return 0;
}

function parse(words: readonly string[]): { isHelp: boolean; isJson: boolean; path: string } {
  const end = words.indexOf('--');
  const [before, after] = end < 0 ? [words, []] : [words.slice(0, end), words.slice(end + 1)];
  const isOption = (word: string) => word.startsWith('-') && word !== '-';
  const options = before.filter(isOption);
  const paths = [...before.filter(word => !isOption(word)), ...after];
  const unknown = options.find(option => !['-h', '--help', '--json'].includes(option));
  const isHelp = options.includes('-h') || options.includes('--help');
  if (unknown !== undefined) throw new UsageError(`unknown option ${escaped(unknown)}, see nspawn inspect --help`);
  if (paths.length !== 1 && !isHelp) throw new UsageError(`inspect takes one image, not ${paths.length}`);
  return { isHelp, isJson: options.includes('--json'), path: paths[0] ?? '' };
}

async function read(path: string): Promise<Report> {
  try {
    using image = openImageFile(path, { write: false });
    if (image.source.size === 0) throw new Error('it is empty');
    const disk = await readDisk(image.source);
    const faults = disk.table?.kind === 'gpt' ? await faultsOf(image.source) : [];
    return reportOf(path, disk, dissect(disk, thisHost()), faults);
  } catch (error) {
    const why = error instanceof SyscallError ? error.text : (error as Error).message;
    throw new Error(`inspecting ${escaped(path)}: ${why}`, { cause: error });
  }
}

/** What is wrong with the parts of a GPT that nobody needs to read to use it. */
async function faultsOf(source: ByteSource): Promise<string[]> {
  try {
    return await checkGpt(source);
  } catch (error) {
    if (error instanceof GptError) return [error.message];
    throw error;
  }
}

function textOf(report: Report): string {
  const { COLUMNS = '' } = process.env;
  const columns = process.stdout.columns || (/^\d{1,4}$/.test(COLUMNS) && Number(COLUMNS)) || 80;
  return `${describeReport(report, Math.max(NARROWEST, columns)).join('\n')}\n`;
}
