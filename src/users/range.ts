/** Which 65536 user ids of the host a container gets, as systemd-nspawn chooses them. */
import { sipHash24 } from '../plan/siphash.ts';
import { type Lease, takeLease } from './lease.ts';
import { overlaps, takenIds } from './taken.ts';

/** So many ids, and the multiple that the first one is of: the upper half of an id tells the container. */
export const RANGE = 0x10000;

/** Where ranges are picked: systemd's UIDS-GIDS.md, "container UIDs". */
const FIRST = 0x80000;
const LAST = 0x6fff0000;

/** The key of systemd-nspawn's hash of machine names. */
const HASH_KEY = 'e156e0f04af041af9641cf413394ff72';
const MOST_TRIES = 100;

/** What a tree whose owners are being shifted belongs to: no range. systemd's UID_BUSY_BASE. */
export const BUSY_BASE = 0xfffe0000;

export interface Owner {
  uid: number;
  gid: number;
}

/** The first id of the range that a tree belongs to, by the owner of its root directory. Throws an Error. */
export function baseOfTree({ uid, gid }: Owner): number {
  const base = baseOf(uid);
  if (base !== baseOf(gid)) {
    throw new Error(
      `finding out the user ids of the tree: its root directory belongs to the user ${uid} and the group ${gid}, which are not in the same range of ${RANGE}`,
    );
  }
  return base;
}

/** The same, for who will not change the tree. Throws an Error also for one that was left half given away. */
export function settledBaseOfTree(owner: Owner): number {
  const base = baseOfTree(owner);
  if (base !== BUSY_BASE) return base;
  throw new Error(
    'finding out the user ids of the tree: giving its files to others was broken off; start it with -U or --private-users=BASE, and --private-users-ownership=chown, to finish that',
  );
}

const baseOf = (id: number): number => id - (id % RANGE);

/** The id of the range from `base` on that is what `id` is in its own. */
export const shiftedId = (id: number, base: number): number => base + (id % RANGE);

/**
 * Picks a range that nobody else has, and holds it: the one that the tree belongs to already, else that of the machine's
 * name, else any. Throws an Error when none is found.
 */
export function pickRange(machine: string, owner: Owner): Lease {
  const taken = takenIds();
  for (const base of candidates(machine, baseOfTree(owner))) {
    if (base < FIRST || base > LAST || overlaps(base, RANGE, taken)) continue;
    const lease = takeLease(base);
    if (lease) return lease;
  }
  throw new Error(
    `picking user ids for ${machine}: ${MOST_TRIES} ranges of ${RANGE} from ${FIRST} to ${LAST} were tried, and others have them`,
  );
}

function* candidates(machine: string, ofTree: number): Generator<number> {
  yield ofTree;
  const hash = sipHash24(new TextEncoder().encode(machine), Uint8Array.fromHex(HASH_KEY));
  yield within(Number(BigInt.asUintN(32, hash)));
  for (let tries = 2; tries < MOST_TRIES; tries++) yield within(crypto.getRandomValues(new Uint32Array(1))[0]!);
}

const within = (number: number): number => baseOf((number % (LAST - FIRST)) + FIRST);
