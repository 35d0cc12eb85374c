import type { Bind, BindIdmap, Overlay, Tmpfs } from '../options.ts';
import { parseMountSource } from './paths.ts';
import { takes } from './usage-error.ts';

/**
 * `PATH[:PATH[:OPTIONS]]`: source, destination (else the same path) and mount options, with `\:` for a colon in a path.
 * See --bind= in systemd-nspawn(1). Throws ValueError.
 */
export function parseBind(text: string, readOnly: boolean): Bind {
  const { words, rest } = splitAtColons(text, 2);
  const [sourceText = '', destination = sourceText.replace(/^\+/, '')] = words ?? [];
  const source = sourceText === '' ? '' : parseMountSource(sourceText);
  if (source === undefined || !destination.startsWith('/')) {
    throw takes('PATH[:PATH[:OPTIONS]] with an absolute path in the container', text);
  }
  return { source, destination, readOnly, ...parseBindOptions(rest) };
}

/** `PATH[:OPTIONS]`, where the options are those of mount(8) for a tmpfs, else mode=0755. Throws ValueError. */
export function parseTmpfs(text: string): Tmpfs {
  const { words, rest } = splitAtColons(text, 1);
  const path = words?.[0];
  if (!path?.startsWith('/')) throw takes('PATH[:OPTIONS] with an absolute path in the container', text);
  return { path, options: rest || 'mode=0755' };
}

/**
 * `LOWER[:LOWER…]:UPPER:DESTINATION`, or `LOWER:UPPER` where the upper path is the destination too. See --overlay= in
 * systemd-nspawn(1). Throws ValueError.
 */
export function parseOverlay(text: string, readOnly: boolean): Overlay {
  const { words } = splitAtColons(text);
  const problem = () => takes('LOWER[:LOWER…]:UPPER:DESTINATION or LOWER:UPPER, with an absolute destination', text);
  if (!words || words.length < 2) throw problem();

  const destinationText = words.length > 2 ? words.pop() : undefined;
  const upperText = words.pop();
  const upper = upperText === '' && destinationText !== undefined ? '' : parseMountSource(upperText ?? '');
  const lower = words.map(parseMountSource).filter(source => source !== undefined);
  const destination = destinationText ?? upper?.replace(/^\+/, '');
  if (upper === undefined || lower.length < words.length || !destination?.startsWith('/')) throw problem();
  return readOnly ? { lower: [...lower, upper], destination, readOnly } : { lower, upper, destination, readOnly };
}

/** What the words of a bind mean. */
const BIND_OPTIONS: Readonly<Record<string, { recursive?: boolean; idmap?: BindIdmap | undefined }>> = {
  '': {},
  rbind: { recursive: true },
  norbind: { recursive: false },
  noidmap: { idmap: undefined },
  idmap: { idmap: 'idmap' },
  rootidmap: { idmap: 'rootidmap' },
  owneridmap: { idmap: 'owneridmap' },
};

/** Later words win. */
function parseBindOptions(text: string): Pick<Bind, 'recursive' | 'idmap'> {
  const changes = text.split(',').map(option => {
    if (!Object.hasOwn(BIND_OPTIONS, option)) {
      throw takes('the options rbind, norbind, noidmap, idmap, rootidmap and owneridmap', option);
    }
    return BIND_OPTIONS[option];
  });
  const { recursive, idmap } = Object.assign({ recursive: true, idmap: undefined }, ...changes);
  return idmap ? { recursive, idmap } : { recursive };
}

/**
 * Splits at colons, where a backslash takes the meaning from the next character. After `limit` words, `rest` is what
 * follows the colon, untouched. No words when a backslash stands at the end.
 */
function splitAtColons(text: string, limit = Number.POSITIVE_INFINITY): { words?: string[]; rest: string } {
  const words: string[] = [];
  let word = '';
  for (let at = 0; at < text.length; at++) {
    if (text[at] === ':') {
      words.push(word);
      word = '';
      if (words.length === limit) return { words, rest: text.slice(at + 1) };
      continue;
    }
    if (text[at] === '\\') at++;
    if (at === text.length) return { rest: '' };
    word += text[at];
  }
  return { words: [...words, word], rest: '' };
}
