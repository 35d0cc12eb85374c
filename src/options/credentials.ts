import type { Credential } from '../options.ts';
import type { Environment } from './environment.ts';
import { takes, ValueError } from './usage-error.ts';

/** The longest name of a file, NAME_MAX in linux/limits.h: each credential becomes one. */
const LONGEST_ID = 255;

/** Name of a credential: see systemd.exec(5). Throws ValueError. */
export function parseCredentialId(text: string): string {
  const isName = /^[ -~]+$/.test(text) && !/[:/]/.test(text) && text.length <= LONGEST_ID;
  if (isName && text !== '.' && text !== '..') return text;
  throw takes(`an ID of up to ${LONGEST_ID} ASCII characters, without colon and slash`, text);
}

/** `ID:VALUE`, with escapes as in C in the value. Throws ValueError, which does not tell the value. */
export function parseSetCredential(text: string): Credential {
  const { id, rest } = splitId(text, 'ID:VALUE');
  return { id, value: unescapeC(rest, id) };
}

/**
 * `ID:PATH`. A relative path is one in the directory with the credentials of nspawn's own, as a service manager passes
 * them in `environment`. Throws ValueError.
 */
export function parseLoadCredential(text: string, environment: Environment): Credential {
  const { id, rest: path } = splitId(text, 'ID:PATH');
  if (path === '') throw takes('ID:PATH', text);
  if (path.startsWith('/')) return { id, path };
  const directory = environment['CREDENTIALS_DIRECTORY'] ?? '';
  if (directory.startsWith('/')) return { id, path: `${directory}/${path}` };
  throw new ValueError(
    `takes a relative path such as ${JSON.stringify(path)} only where nspawn has been passed credentials itself: $CREDENTIALS_DIRECTORY is no absolute path`,
  );
}

/** Path of a credential's file on the host. Throws ValueError. */
export function parseCredentialPath(text: string): string {
  if (!text.startsWith('/')) throw takes('an absolute path', text);
  return text;
}

function splitId(text: string, what: string): { id: string; rest: string } {
  const colon = text.indexOf(':');
  // Without a colon, all of it may be a secret.
  if (colon < 0) throw new ValueError(`takes ${what}, with a colon`);
  return { id: parseCredentialId(text.slice(0, colon)), rest: text.slice(colon + 1) };
}

/** The escapes of one character. */
const ESCAPED: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  s: ' ',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

/** A backslash with what belongs to it; two and three digits stand for a byte, four and eight for a character. */
const ESCAPE = /\\(?:x([\dA-Fa-f]{2})|([0-3][0-7]{2})|u([\dA-Fa-f]{4})|U([\dA-Fa-f]{8})|(.?))/gsu;

/** The bytes of a text with escapes as C has them, and `\s` for a space: those of systemd.syntax(7). Throws ValueError. */
function unescapeC(text: string, id: string): Uint8Array {
  const parts: Buffer[] = [];
  let from = 0;
  for (const match of text.matchAll(ESCAPE)) {
    const [all, hexadecimal, octal, short, long, character = ''] = match;
    parts.push(Buffer.from(text.slice(from, match.index)));
    from = match.index + all.length;
    if (hexadecimal !== undefined) parts.push(Buffer.of(Number.parseInt(hexadecimal, 16)));
    else if (octal !== undefined) parts.push(Buffer.of(Number.parseInt(octal, 8)));
    else {
      const code = short ?? long;
      const decoded = code === undefined ? ESCAPED[character] : fromCodePoint(Number.parseInt(code, 16));
      if (decoded === undefined) {
        throw new ValueError(
          `takes escapes as in C, such as \\n, \\x00 or \\\\, but the value of ${id} has ${JSON.stringify(all).slice(2, -1)}`,
        );
      }
      parts.push(Buffer.from(decoded));
    }
  }
  parts.push(Buffer.from(text.slice(from)));
  return Buffer.concat(parts);
}

/** Undefined for what is no character: surrogates, and what is beyond Unicode. */
function fromCodePoint(code: number): string | undefined {
  const isSurrogate = code >= 0xd800 && code <= 0xdfff;
  return code > 0x10ffff || isSurrogate ? undefined : String.fromCodePoint(code);
}
