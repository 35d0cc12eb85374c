/** `nspawn list`: the containers that run. */
import { addressesOf } from '../../container/addresses.ts';
import { type ContainerRecord, listedContainers } from '../../container/record.ts';
import { UsageError } from '../../options/usage-error.ts';
import { print } from '../print.ts';
import { readWords, type Verb } from './verb.ts';

interface Draft {
  isJson: boolean;
}

const VERB: Verb<Draft> = {
  usage: 'nspawn list [--json]',
  about: 'Show the containers that run.',
  options: [
    {
      name: 'json',
      help: 'Print a JSON array, with times in milliseconds since 1970',
      set: draft => (draft.isJson = true),
    },
  ],
};

export async function run(words: readonly string[]): Promise<number> {
  const draft = { isJson: false };
  const rest = readWords(VERB, words, draft);
  if (!rest) return 0;
  if (rest.length > 0) throw new UsageError('list takes no words; see nspawn list --help');
  const containers = listedContainers().map(({ filter: _, ...record }) => ({
    ...record,
    addresses: addressesOf(record.pid),
  }));
  const lines = draft.isJson ? [JSON.stringify(containers, null, 2)] : table(containers);
  print(`${lines.join('\n')}\n`);
  return 0;
}

function table(containers: readonly (ContainerRecord & { addresses: string[] })[]): string[] {
  const rows = containers.map(({ machine, pid, root, since, addresses }) => {
    // Local time, to the second: 2026-01-31 12:00:00.
    const time = new Date(since).toLocaleString('sv');
    return [machine, `${pid}`, printable(root), time, addresses.join(' ')];
  });
  const all = [['NAME', 'PID', 'ROOT', 'SINCE', 'ADDRESSES'], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map(row => row[column]!.length)));
  return all.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

/** A path may have anything in it. */
const printable = (path: string): string => path.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
