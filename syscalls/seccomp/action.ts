/**
 * What a filter can decide, and the words it returns for that: <linux/seccomp.h>, SECCOMP_RET_*.
 */

import { FilterError } from './errors.ts';

/**
 * The outcome of a filter, see seccomp(2).
 * - allow: the call goes on; log: it goes on and is logged
 * - { errno }: the call fails with this error (0 to 4095; 0 makes it return 0) without being carried out
 * - trap: the thread gets a SIGSYS
 * - { trace }: a tracer is told, with this number (0 to 65535); without one the call fails with ENOSYS
 * - notify: a supervisor is asked through the filter's listener; without one the call fails with ENOSYS
 */
export type Action =
  | 'allow'
  | 'log'
  | 'notify'
  | 'trap'
  | 'kill-thread'
  | 'kill-process'
  | { errno: number }
  | { trace: number };

type PlainAction = Extract<Action, string>;

const PLAIN_ACTIONS: Readonly<Record<PlainAction, number>> = {
  'kill-process': 0x8000_0000,
  'kill-thread': 0x0000_0000,
  trap: 0x0003_0000,
  notify: 0x7fc0_0000,
  log: 0x7ffc_0000,
  allow: 0x7fff_0000,
};
const ERRNO = 0x0005_0000;
const TRACE = 0x7ff0_0000;

/** SECCOMP_RET_ACTION_FULL: the action; the lower half, SECCOMP_RET_DATA, is its number. */
const ACTION_MASK = 0xffff_0000;
const DATA_MASK = 0x0000_ffff;

/** Larger ones are no errors to the kernel, which takes this one instead: MAX_ERRNO in its include/linux/err.h. */
const MAX_ERRNO = 4095;

/** The word that a filter returns for an action. Throws FilterError for an unknown one or a number out of range. */
export function encodeAction(action: Action): number {
  if (typeof action === 'string') {
    if (!Object.hasOwn(PLAIN_ACTIONS, action)) throw new FilterError(`seccomp filter: unknown action ${action}`);
    return PLAIN_ACTIONS[action];
  }
  if (typeof action !== 'object' || action === null) throw new FilterError(`seccomp filter: unknown action ${action}`);
  if ('errno' in action) return ERRNO | inRange('errno', action.errno, MAX_ERRNO);
  return TRACE | inRange('trace', action.trace, DATA_MASK);
}

/** What the kernel does on a word that a filter returned: one that it does not know kills the process. */
export function decodeAction(word: number): Action {
  const kind = (word & ACTION_MASK) >>> 0;
  const data = word & DATA_MASK;
  if (kind === ERRNO) return { errno: Math.min(data, MAX_ERRNO) };
  if (kind === TRACE) return { trace: data };
  for (const [action, value] of Object.entries(PLAIN_ACTIONS)) if (value === kind) return action as PlainAction;
  return 'kill-process';
}

function inRange(name: string, value: number, maximum: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= maximum) return value;
  throw new FilterError(`seccomp filter: action ${name} ${value} is not a whole number from 0 to ${maximum}`);
}
