/**
 * A whole number as strtol(3) with base 0 reads it, which is how systemd reads numbers: decimal, 0x hexadecimal, 0 or 0o
 * octal, 0b binary; with blanks and a sign before it, but nothing after. Undefined when it is none.
 */
export function parseInteger(text: string): bigint | undefined {
  // 0b and 0o are no notations of strtol's, so they stand without blanks and sign.
  if (/^0(b[01]+|o[0-7]+)$/i.test(text)) return BigInt(text);
  const [, sign, digits] = /^[ \t\n\v\f\r]*([+-]?)(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const magnitude = BigInt(/^0[0-7]/.test(digits) ? `0o${digits}` : digits);
  return sign === '-' ? -magnitude : magnitude;
}

/** As parseInteger, and undefined too when the number is outside `lowest` to `highest`. */
export function parseIntegerWithin(text: string, lowest: number, highest: number): number | undefined {
  const value = parseInteger(text);
  return value === undefined || value < lowest || value > highest ? undefined : Number(value);
}
