import { parseIntegerWithin } from './integers.ts';
import { takes } from './usage-error.ts';

/** Names without SIG, at the place of their numbers, from 1 on; the same on x86 and arm: see signal(7). */
const names = [
  ...[
    'HUP',
    'INT',
    'QUIT',
    'ILL',
    'TRAP',
    'ABRT',
    'BUS',
    'FPE',
    'KILL',
    'USR1',
    'SEGV',
    'USR2',
    'PIPE',
    'ALRM',
    'TERM',
  ],
  ...['STKFLT', 'CHLD', 'CONT', 'STOP', 'TSTP', 'TTIN', 'TTOU', 'URG', 'XCPU', 'XFSZ', 'VTALRM', 'PROF', 'WINCH', 'IO'],
  ...['PWR', 'SYS'],
];

/** The real-time signals that the C library leaves to programs; it keeps 32 and 33 for itself: see signal(7). */
const SIGRTMIN = 34;
export const SIGRTMAX = 64;

/** Number of a signal that is written `SIGTERM`, `TERM`, `RTMIN+3`, `SIGRTMAX-1` or `15`. Throws ValueError. */
export function parseSignal(text: string): number {
  const number = parseIntegerWithin(text, 1, SIGRTMAX) ?? signalByName(text.replace(/^SIG/, ''));
  if (number === undefined) throw takes('a signal such as SIGTERM, RTMIN+3 or 15', text);
  return number;
}

/** Name of a signal, such as SIGTERM or SIGRTMIN+3; SIG and the number for one that has no name. */
export function signalName(number: number): string {
  const name = names[number - 1];
  if (name !== undefined) return `SIG${name}`;
  if (number === SIGRTMIN) return 'SIGRTMIN';
  return number > SIGRTMIN && number <= SIGRTMAX ? `SIGRTMIN+${number - SIGRTMIN}` : `SIG${number}`;
}

function signalByName(name: string): number | undefined {
  const place = names.indexOf(name);
  if (place >= 0) return place + 1;
  const [, end, sign, distanceText = '0'] = /^RT(MIN|MAX)(?:([+-])(\w+))?$/.exec(name) ?? [];
  const distance = parseIntegerWithin(distanceText, 0, SIGRTMAX - SIGRTMIN);
  if (distance === undefined) return undefined;
  if (end === 'MIN' && sign !== '-') return SIGRTMIN + distance;
  if (end === 'MAX' && sign !== '+') return SIGRTMAX - distance;
  return undefined;
}
