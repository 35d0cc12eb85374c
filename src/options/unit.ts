import { takes } from './usage-error.ts';

/** A unit property, `NAME=VALUE`, as in systemctl set-property. Throws ValueError. */
export function parseProperty(text: string): string {
  if (!/^[A-Za-z]+=/.test(text)) throw takes('NAME=VALUE', text);
  return text;
}

/** A unit name or a label that only others can judge. Throws ValueError. */
export function parseNonEmpty(text: string): string {
  if (text === '') throw takes('a name', text);
  return text;
}
