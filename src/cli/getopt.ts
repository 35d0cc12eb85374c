import { UsageError } from '../options/usage-error.ts';

/** How an option is written. */
export interface Syntax {
  /** One character, such as `D`. */
  letter?: string;
  /** Long name without its dashes. */
  name?: string;
  /** What messages call the value, such as PATH; absent when the option takes none. */
  value?: string;
  /** The value may be left out, and stands only after `=`. */
  valueOptional?: true;
}

/** An option as it was given, with the value as it was typed. */
export interface Given<Option> {
  option: Option;
  value?: string;
}

/**
 * Reads options as getopt_long(3) does with `+`: up to the first word that is none, or `--`. So `--dir=/x`, `--dir /x`,
 * `-D/x`, `-D /x` and `-qbD/x` are the same directory; long names may be cut short while they stay unambiguous. Each
 * option is read when it is asked for, so nothing after a --help can fail. Returns the words that are left. Throws
 * UsageError.
 */
export function* getopt<Option extends Syntax>(
  words: readonly string[],
  options: readonly Option[],
): Generator<Given<Option>, string[]> {
  let next = 0;
  while (next < words.length) {
    const word = words[next] ?? '';
    if (!word.startsWith('-') || word === '-') break;
    next++;
    if (word === '--') break;

    if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const name = word.slice(2, equals < 0 ? undefined : equals);
      const option = options.find(each => each.name === name) ?? findAbbreviated(options, name);
      if (equals >= 0) yield { option, value: onlyIfTaken(option, word.slice(equals + 1)) };
      else if (option.value === undefined || option.valueOptional) yield { option };
      else yield { option, value: words[next++] ?? missingValue(option) };
      continue;
    }

    let letters = word.slice(1);
    while (letters !== '') {
      const option = options.find(({ letter }) => letter === letters[0]) ?? unknownLetter(letters);
      letters = letters.slice(1);
      if (option.value === undefined) {
        yield { option };
        continue;
      }
      yield { option, value: letters || (words[next++] ?? missingValue(option)) };
      break;
    }
  }
  return words.slice(next);
}

/** An option as messages call it: `--directory=`, `--boot`, `-j`. */
export function optionTitle(option: Syntax): string {
  if (option.name === undefined) return `-${option.letter}`;
  return option.value === undefined ? `--${option.name}` : `--${option.name}=`;
}

function findAbbreviated<Option extends Syntax>(options: readonly Option[], name: string): Option {
  const matches = name === '' ? [] : options.filter(option => option.name?.startsWith(name));
  const [only, another] = matches;
  if (!only) throw new UsageError(`unknown option --${name}, see nspawn --help`);
  if (another) {
    throw new UsageError(`--${name} is ambiguous, it can be ${matches.map(option => `--${option.name}`).join(', ')}`);
  }
  return only;
}

function unknownLetter(letters: string): never {
  throw new UsageError(`unknown option -${String.fromCodePoint(letters.codePointAt(0) ?? 0)}, see nspawn --help`);
}

function onlyIfTaken(option: Syntax, value: string): string {
  if (option.value === undefined) throw new UsageError(`${optionTitle(option)} takes no value`);
  return value;
}

function missingValue(option: Syntax): never {
  throw new UsageError(`${optionTitle(option)} needs a value, ${option.value}`);
}
