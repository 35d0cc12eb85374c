/** What the verbs of the command line have in common: `nspawn VERB [OPTIONS...] [WORDS...]`. */
import { namingOption, UsageError } from '../../options/usage-error.ts';
import { getopt, optionTitle, type Syntax } from '../getopt.ts';
import { print } from '../print.ts';

/** An option of a verb. */
export interface VerbOption<Draft> extends Syntax {
  help: string;
  /** Changes what has been read, given the value. Throws ValueError. */
  set: (draft: Draft, value: string) => void;
}

export interface Verb<Draft> {
  /** Such as `nspawn list [--json]`. */
  usage: string;
  about: string;
  options: readonly VerbOption<Draft>[];
}

/** Where the descriptions of options begin. */
const COLUMN = 28;

/**
 * Reads the options into `draft`, and returns the other words; undefined when help was asked for and has been printed.
 * Throws UsageError.
 */
export function readWords<Draft>(verb: Verb<Draft>, words: readonly string[], draft: Draft): string[] | undefined {
  let isHelp = false;
  const help: VerbOption<Draft> = { letter: 'h', name: 'help', help: 'Show this help', set: () => (isHelp = true) };
  const given = getopt(words, [help, ...verb.options]);
  let step = given.next();
  for (; !step.done; step = given.next()) {
    const { option, value = 'yes' } = step.value;
    namingOption(optionTitle(option), () => option.set(draft, value));
    if (!isHelp) continue;
    const lines = [help, ...verb.options].map(helpLine);
    print(`${verb.usage}\n\n${verb.about}\n\n${lines.join('\n')}\n`);
    return undefined;
  }
  return step.value;
}

function helpLine({ letter, name, value, help }: VerbOption<never>): string {
  const long = value === undefined ? `--${name}` : `--${name}=${value}`;
  return `  ${letter === undefined ? '  ' : `-${letter}`} ${long}`.padEnd(COLUMN) + help;
}

/** The only word of a verb that takes a container. Throws UsageError. */
export function onlyName(verb: string, words: readonly string[]): string {
  const [name] = words;
  if (name === undefined || words.length > 1)
    throw new UsageError(
      `${verb} takes the name of one container, not ${words.length} words; see nspawn ${verb} --help`,
    );
  return name;
}
