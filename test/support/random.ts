/** Random numbers that are the same for the same seed: mulberry32. */
export interface Random {
  /** A whole number from 0 up to, and without, `end`. */
  below(end: number): number;
  pick<T>(items: readonly T[]): T;
  /** True in one of `times` cases. */
  oneIn(times: number): boolean;
  uint32(): number;
  uint64(): bigint;
}

export function createRandom(seed: number): Random {
  let state = seed;
  function uint32(): number {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
  const below = (end: number) => Math.floor((uint32() / 2 ** 32) * end);
  return {
    below,
    pick: items => items[below(items.length)]!,
    oneIn: times => below(times) === 0,
    uint32,
    uint64: () => (BigInt(uint32()) << 32n) | BigInt(uint32()),
  };
}

/** Runs a check for one seed, and names the seed if it fails. */
export function withSeed(seed: number, check: (random: Random) => void): void {
  try {
    check(createRandom(seed));
  } catch (error) {
    if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
    throw error;
  }
}
