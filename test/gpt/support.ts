/** Image files, read as nspawn and the examples do, and the tools to compare with. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import process from 'node:process';
import type { ByteSource, Chunk } from '../../gpt/index.ts';

export const MIB = 1024 * 1024;

/** A file as a source. It is opened for each read, so that there is nothing to close. */
export function fileSource(path: string): ByteSource {
  return {
    size: statSync(path).size,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      const file = openSync(path, 'r');
      const count = readSync(file, bytes, 0, length, offset);
      closeSync(file);
      return bytes.subarray(0, count);
    },
  };
}

/** A new sparse file of that size. */
export function createImage(path: string, size: number): string {
  writeFileSync(path, '');
  truncateSync(path, size);
  return path;
}

/** Overwrites parts of a file. */
export function writeChunks(path: string, chunks: readonly Chunk[]): void {
  const file = openSync(path, 'r+');
  for (const { offset, bytes } of chunks) writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a tool with the system's own directories in $PATH, in English, and with nothing that changes from run to run. */
export function runTool(command: readonly string[], input = ''): Outcome {
  const { status, stdout, stderr, error } = spawnSync(command[0]!, command.slice(1), {
    encoding: 'utf8',
    input,
    timeout: 60_000,
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, LC_ALL: 'C.UTF-8' },
  });
  if (error) throw error;
  return { status: status ?? -1, stdout, stderr };
}

/** Like runTool; what fails throws. */
export function runOk(command: readonly string[], input = ''): string {
  const { status, stdout, stderr } = runTool(command, input);
  if (status !== 0) throw new Error(`${command.join(' ')} failed (${status}): ${stderr}${stdout}`);
  return stdout;
}

/** What blkid finds in a file, by its names: TYPE, UUID, …; AMBIVALENT if it refuses to tell, as there are two things. */
export function blkid(path: string): Record<string, string> {
  // The output for udev is the only one that is exact: it writes unsafe bytes as \xNN, and that under names with _ENC.
  const { stdout } = runTool(['blkid', '-p', '-o', 'udev', path]);
  const lines = stdout.matchAll(/^ID_FS_(\w+)=(.*)$/gm);
  const tags = Object.fromEntries(Array.from(lines, ([, name, value]) => [name!, unescapeUdev(value!)]));
  for (const name of ['LABEL', 'UUID', 'UUID_SUB']) {
    const encoded = tags[`${name}_ENC`];
    if (encoded !== undefined) tags[name] = encoded;
  }
  return tags;
}

const unescapeUdev = (text: string): string =>
  text.replace(/\\x([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
