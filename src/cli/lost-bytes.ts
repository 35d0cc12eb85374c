import { isUtf8 } from 'node:buffer';
import process from 'node:process';
import { UsageError } from '../options/usage-error.ts';

/**
 * Refuses a command line that isn't UTF-8. The runtime hands it over with U+FFFD in place of the bytes that it can't
 * decode, and the payload would get words that nobody typed. Throws UsageError.
 * @param words - the words after `nspawn`
 * @param commandLine - reads the bytes that were typed: see proc_pid_cmdline(5)
 */
export function refuseLostBytes(words: readonly string[], commandLine: () => Uint8Array = readCommandLine): void {
  const word = words.find(each => each.includes('\uFFFD'));
  if (word === undefined || isUtf8(commandLine())) return;
  throw new UsageError(`${JSON.stringify(word)} can't be passed on: the command line is not valid UTF-8`);
}

/** Rarely needed, and node:fs would be loaded at every start. */
const readCommandLine = () => process.getBuiltinModule('node:fs').readFileSync('/proc/self/cmdline');
