import { dashed, hex } from './bytes.ts';
import { InvalidDescriptionError } from './error.ts';

/**
 * On disk the first three groups of a GUID are little-endian (UEFI 2.10, appendix A): for each byte of the text, where
 * it stands.
 */
const ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

/** The GUID at a place, in lower case. */
export function readGuid(bytes: Uint8Array, at: number): string {
  return dashed(hex(Uint8Array.from(ORDER, place => bytes[at + place] ?? 0)));
}

/** Writes a GUID in either case. @throws InvalidDescriptionError if the text is none. */
export function writeGuid(bytes: Uint8Array, at: number, guid: string): void {
  if (!isGuid(guid)) throw new InvalidDescriptionError(`"${guid}" is not a GUID`);
  const digits = guid.replaceAll('-', '');
  for (const [i, place] of ORDER.entries()) bytes[at + place] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
}

export const isGuid = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

/** A random GUID (RFC 9562, version 4). */
export function randomGuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return dashed(hex(bytes));
}
