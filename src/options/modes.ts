import type { ConsoleMode, LinkJournal, NetworkMode, ResolvConf, Timezone, VolatileMode } from '../options.ts';
import { takes } from './usage-error.ts';

/** `yes`, `no` or another spelling of systemd's booleans, in any case: see systemd.syntax(7). Throws ValueError. */
export function parseBoolean(text: string): boolean {
  const value = readBoolean(text);
  if (value === undefined) throw takes('yes or no', text);
  return value;
}

/** `no`, `yes`, `state` or `overlay`, or a boolean. Throws ValueError. */
export function parseVolatile(text: string): VolatileMode {
  return parseModeOrBoolean(text, ['no', 'yes', 'state', 'overlay'], 'yes', 'no');
}

/** A --link-journal= mode, or a boolean: yes is auto. Throws ValueError. */
export function parseLinkJournal(text: string): LinkJournal {
  return parseModeOrBoolean(text, ['no', 'auto', 'guest', 'host', 'try-guest', 'try-host'], 'auto', 'no');
}

/** A --resolv-conf= mode, or a boolean: yes is auto. Throws ValueError. */
export function parseResolvConf(text: string): ResolvConf {
  const actions = ['copy', 'replace', 'bind'] as const;
  const files = ['host', 'static', 'uplink', 'stub'] as const;
  const pairs = actions.flatMap(action => files.map(file => `${action}-${file}` as const));
  return parseModeOrBoolean(text, ['auto', 'off', ...pairs, 'delete'], 'auto', 'off');
}

/** A --timezone= mode, or a boolean: yes is auto. Throws ValueError. */
export function parseTimezone(text: string): Timezone {
  return parseModeOrBoolean(text, ['auto', 'off', 'copy', 'bind', 'symlink', 'delete'], 'auto', 'off');
}

/** A --network= mode. Throws ValueError. */
export function parseNetworkMode(text: string): NetworkMode {
  return parseMode(text, ['host', 'private', 'user']);
}

/** A --console= mode. Throws ValueError. */
export function parseConsoleMode(text: string): ConsoleMode {
  return parseMode(text, ['interactive', 'read-only', 'passive', 'pipe']);
}

/** One of `modes`, spelled exactly so. Throws ValueError. */
export function parseMode<Mode extends string>(text: string, modes: readonly Mode[]): Mode {
  const mode = modes.find(each => each === text);
  if (mode === undefined) throw takes(`one of ${modes.join(', ')}`, text);
  return mode;
}

function parseModeOrBoolean<Mode extends string>(text: string, modes: readonly Mode[], yes: Mode, no: Mode): Mode {
  const boolean = readBoolean(text);
  if (boolean === undefined) return parseMode(text, modes);
  return boolean ? yes : no;
}

function readBoolean(text: string): boolean | undefined {
  const lower = text.toLowerCase();
  if (['1', 'yes', 'y', 'true', 't', 'on'].includes(lower)) return true;
  if (['0', 'no', 'n', 'false', 'f', 'off'].includes(lower)) return false;
  return undefined;
}
