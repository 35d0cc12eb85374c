import type { ContainerOptions, PrivateUsers, UsersOwnership } from '../options.ts';
import { parseBoolean, parseMode } from './modes.ts';
import { takes, ValueError } from './usage-error.ts';

/** How many ids a container has unless it is said: so many that the lower half of an id tells them apart. */
export const USUAL_COUNT = 65536;
/** uid_t and gid_t have 32 bits; the last id means none, see chown(2). */
const NO_ID = 0xffffffff;

/**
 * `no`, `yes`, `pick`, `identity`, or `BASE[:COUNT]`: the first id of the host's, and how many there are. A number is
 * never a boolean. See --private-users= in systemd-nspawn(1). Throws ValueError.
 */
export function parsePrivateUsers(text: string): PrivateUsers {
  if (text === 'pick' || text === 'identity') return text;
  const range = /^(\d+)(?::(\d+))?$/.exec(text);
  if (range) return checkRange({ base: Number(range[1]), count: Number(range[2] ?? USUAL_COUNT) });
  try {
    return parseBoolean(text) ? 'yes' : 'no';
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw takes('yes, no, pick, identity or BASE[:COUNT]', text);
  }
}

/** Returns a range that can be. Throws ValueError. */
export function checkRange(range: { base: number; count: number }): { base: number; count: number } {
  const { base, count } = range;
  const isWhole = Number.isInteger(base) && Number.isInteger(count);
  if (isWhole && base >= 0 && count > 0 && base + count <= NO_ID) return range;
  throw takes(`BASE:COUNT with a COUNT of 1 or more and no id above ${NO_ID - 1}`, `${base}:${count}`);
}

/** `off`, `chown`, `map` or `auto`. Throws ValueError. */
export const parseOwnership = (text: string): UsersOwnership => parseMode(text, ['off', 'chown', 'map', 'auto']);

/** How the tree comes to belong to the users that these options ask for, wherever in them that was said. */
export const ownershipOf = ({ privateUsers, usersOwnership }: ContainerOptions): UsersOwnership =>
  usersOwnership ?? (privateUsers === 'pick' ? 'auto' : 'off');
