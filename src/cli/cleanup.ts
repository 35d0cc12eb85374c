/** --cleanup: removes what killed runs have left. */
import process from 'node:process';
import { removeLeftovers } from '../trees/hidden-directory.ts';
import type { CommandLineLogger } from './logger.ts';
import type { ParsedCommandLine } from './parse.ts';

/** Where leftovers are when nothing else is said. */
const USUAL = ['/var/lib/machines', '/var/tmp'];

/** Removes what runs with --ephemeral or --template have left in directories. Resolves to nspawn's exit status. */
export async function cleanUp({ options }: ParsedCommandLine, log: CommandLineLogger): Promise<number> {
  const { makeDirectoriesOurs } = process.geteuid!() === 0 ? {} : await import('../users/make-ours.ts');
  using ours = makeDirectoriesOurs?.();
  let status = 0;
  for (const directory of options.command ?? USUAL) {
    try {
      removeLeftovers(directory, log, ours?.make);
    } catch (error) {
      log.error(`looking through ${directory}: ${(error as Error).message}`);
      status = 1;
    }
  }
  return status;
}
