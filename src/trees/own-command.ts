/** How this program is started again by another process, to clean up after it. */
import { join } from 'node:path';
import process from 'node:process';

/** Defined by scripts/build.ts: this is the executable of the command. */
declare const NSPAWN_EXECUTABLE: boolean | undefined;

/**
 * The words that start the command nspawn, of which the first stands for this process's own executable. Undefined where
 * that can't: another runtime than Bun, or another program's executable with the library in it.
 */
export function ownCommand(): string[] | undefined {
  if (typeof NSPAWN_EXECUTABLE !== 'undefined' && NSPAWN_EXECUTABLE) return ['nspawn'];
  const isEmbedded = import.meta.dirname.startsWith('/$bunfs/');
  if (isEmbedded || !process.versions['bun']) return undefined;
  return [process.execPath, join(import.meta.dirname, '../cli/main.ts')];
}
