import { InvalidValueError } from './error.ts';

/** Names for numbers, as a table. */
export type Names = Readonly<Record<string, number>>;
/** A name from a table; a number that has none is written in decimal. */
export type Name<T> = (keyof T & string) | `${number}`;
/** A flag from a table; bits that have no name are written together as one hexadecimal number. */
export type Flag<T> = (keyof T & string) | `0x${string}`;

export function nameOf<T extends Names>(names: T, number: number): Name<T> {
  const name = Object.keys(names).find(key => names[key] === number);
  return (name ?? `${number}`) as Name<T>;
}

export function numberOf<T extends Names>(names: T, name: Name<T>): number {
  const number = Object.hasOwn(names, name) ? names[name] : undefined;
  if (number !== undefined) return number;
  if (/^[0-9]+$/.test(name)) return Number(name);
  throw new InvalidValueError(`"${name}" is none of ${Object.keys(names).join(', ')}`);
}

export function flagsOf<T extends Names>(names: T, bits: number): Flag<T>[] {
  const set = Object.keys(names).filter(name => bits & names[name]!);
  const known = set.reduce((sum, name) => sum | names[name]!, 0);
  const unknown = (bits & ~known) >>> 0;
  return (unknown ? [...set, `0x${unknown.toString(16)}`] : set) as Flag<T>[];
}

export function bitsOf<T extends Names>(names: T, flags: readonly Flag<T>[]): number {
  return flags.reduce((bits, flag) => (bits | bitOf(names, flag)) >>> 0, 0);
}

function bitOf(names: Names, flag: string): number {
  const bit = Object.hasOwn(names, flag) ? names[flag] : undefined;
  if (bit !== undefined) return bit;
  if (/^0x[0-9a-f]{1,8}$/.test(flag)) return Number(flag);
  throw new InvalidValueError(`"${flag}" is none of ${Object.keys(names).join(', ')}`);
}
