import type { Rlimit } from '../options.ts';
import { parseInteger } from './integers.ts';
import { parseSize, parseTimeSpan } from './quantities.ts';
import { takes, ValueError } from './usage-error.ts';

/** How the value of a limit is written. */
interface Kind {
  takes: string;
  /** The value in setrlimit(2)'s unit; undefined when the text is none. */
  parse: (text: string) => bigint | undefined;
  /** It can't be turned off: the word infinity is no value. */
  bounded?: true;
}

const count: Kind = { takes: 'a number or infinity', parse: parseInteger };
const bytes: Kind = { takes: 'bytes such as 512 or 1.5G, or infinity,', parse: parseSize };
const seconds: Kind = { takes: 'a time such as 90 or 1h 30min, or infinity,', parse: parseSeconds };
const microseconds: Kind = {
  takes: 'a time such as 500 or 10ms, or infinity,',
  parse: text => parseTimeSpan(text, 1n),
};
const nice: Kind = { takes: 'a nice level from -20 to +19, or 0 to 40,', parse: parseNiceCeiling, bounded: true };

/** The limits, by their names without RLIMIT_: see setrlimit(2), and Limit* in systemd.exec(5) for how each is written. */
const kinds: Record<string, Kind> = {
  AS: bytes,
  CORE: bytes,
  CPU: seconds,
  DATA: bytes,
  FSIZE: bytes,
  LOCKS: count,
  MEMLOCK: bytes,
  MSGQUEUE: bytes,
  NICE: nice,
  NOFILE: count,
  NPROC: count,
  RSS: bytes,
  RTPRIO: count,
  RTTIME: microseconds,
  SIGPENDING: count,
  STACK: bytes,
};

/** RLIM_INFINITY, the first number that is no limit: see <bits/resource.h>. */
const infinity = 2n ** 64n - 1n;

/** `LIMIT=VALUE` or `LIMIT=SOFT:HARD`, where LIMIT is such as NOFILE or RLIMIT_NOFILE. Throws ValueError. */
export function parseRlimit(text: string): Rlimit {
  const equals = text.indexOf('=');
  if (equals < 0) throw takes('LIMIT=VALUE or LIMIT=SOFT:HARD', text);
  const name = text.slice(0, equals).replace(/^(RLIMIT_|Limit)/, '');
  const values = text.slice(equals + 1);
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (!kind) throw takes(`a limit of ${Object.keys(kinds).join(', ')}`, text.slice(0, equals));

  const [softText = '', hardText = softText, ...more] = values.split(':');
  const soft = parseLimit(kind, softText);
  const hard = parseLimit(kind, hardText);
  if (soft === undefined || hard === undefined || more.length > 0) {
    throw takes(`${kind.takes} for ${name}, or two with a colon between`, values);
  }
  if (hard !== 'infinity' && (soft === 'infinity' || soft > hard)) {
    throw new ValueError(`takes a soft limit no higher than the hard one, unlike ${JSON.stringify(text)}`);
  }
  return { name, soft, hard };
}

/** As text for checkRlimit. */
export const rlimitText = ({ name, soft, hard }: Rlimit): string => `${name}=${soft}:${hard}`;

/** Refuses a limit that parseRlimit would not make, or not under that name. Throws ValueError. */
export function checkRlimit(text: string): void {
  const { name } = parseRlimit(text);
  if (!text.startsWith(`${name}=`)) throw takes(`the name ${name}`, text.slice(0, text.indexOf('=')));
}

/** The limits with one more, in place of an earlier one of the same name. */
export function withRlimit(limits: readonly Rlimit[], limit: Rlimit): Rlimit[] {
  return [...limits.filter(each => each.name !== limit.name), limit];
}

function parseLimit(kind: Kind, text: string): bigint | 'infinity' | undefined {
  if (text.trim() === 'infinity' && !kind.bounded) return 'infinity';
  const value = kind.parse(text);
  return value !== undefined && value >= 0n && value < infinity ? value : undefined;
}

function parseSeconds(text: string): bigint | undefined {
  const span = parseTimeSpan(text, 1_000_000n);
  return span === undefined ? undefined : (span + 999_999n) / 1_000_000n;
}

/** With a sign it is a nice level, as in nice(1); without one it is the kernel's own number, 20 minus that level. */
function parseNiceCeiling(text: string): bigint | undefined {
  const number = parseInteger(text);
  if (number === undefined) return undefined;
  const ceiling = /^[+-]/.test(text) ? 20n - number : number;
  // Level 20 would be a ceiling of 0, but there is no such level: see getpriority(2).
  const lowest = /^[+-]/.test(text) ? 1n : 0n;
  return ceiling >= lowest && ceiling <= 40n ? ceiling : undefined;
}
