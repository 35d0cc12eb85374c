/** Values and the signatures that say how they are stored: D-Bus specification, "Type System". */
import { MalformedMessageError } from './error.ts';

/** A value of any type, with the signature of that. */
export interface Variant {
  readonly signature: string;
  readonly value: Value;
}

/**
 * 64-bit integers are bigints, byte arrays Uint8Arrays, other arrays and structs lists, dictionaries lists of pairs;
 * strings, object paths and signatures are strings.
 */
export type Value = string | number | bigint | boolean | Uint8Array | Variant | readonly Value[];

/** What basic types take: bytes, which are their alignment as well. */
export const SIZES: Readonly<Record<string, number>> = {
  y: 1,
  n: 2,
  q: 2,
  b: 4,
  i: 4,
  u: 4,
  h: 4,
  x: 8,
  t: 8,
  d: 8,
};
/** Where values of the other types begin: at multiples of this. */
const ALIGNMENTS: Readonly<Record<string, number>> = { s: 4, o: 4, a: 4, g: 1, v: 1, '(': 8, '{': 8 };

export const alignmentOf = (type: string): number => SIZES[type[0]!] ?? ALIGNMENTS[type[0]!]!;

/** "The maximum depth of container type nesting" is 32 arrays and 32 structs. */
const DEEPEST = 64;

/** The complete types that a signature is made of. Throws MalformedMessageError. */
export function splitSignature(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at, 0);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function endOfType(signature: string, at: number, depth: number): number {
  const code = signature[at];
  if (code === undefined || depth > DEEPEST) throw invalid(signature);
  if (code === 'a') return endOfType(signature, at + 1, depth + 1);
  if (code === '(' || code === '{') {
    const close = code === '(' ? ')' : '}';
    let end = at + 1;
    while (signature[end] !== close) end = endOfType(signature, end, depth + 1);
    if (end === at + 1) throw invalid(signature);
    return end + 1;
  }
  if (!(code in SIZES) && !'sogv'.includes(code)) throw invalid(signature);
  return at + 1;
}

const invalid = (signature: string) => new MalformedMessageError(`${JSON.stringify(signature)} is no signature`);
