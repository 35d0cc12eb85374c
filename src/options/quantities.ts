/** Units of sizes, each 1024 of the next, down to bytes; one may follow only larger ones, as in `1G 500M`. */
const sizeUnits = ['E', 'P', 'T', 'G', 'M', 'K', 'B', ''];

/** Time units and their microseconds: see systemd.time(7). Both characters for micro are in use. */
const timeUnits: readonly [names: string, microseconds: bigint][] = [
  ['us usec µs μs', 1n],
  ['ms msec', 1_000n],
  ['s sec second seconds', 1_000_000n],
  ['m min minute minutes', 60_000_000n],
  ['h hr hour hours', 3_600_000_000n],
  ['d day days', 86_400_000_000n],
  ['w week weeks', 604_800_000_000n],
  // 30.4375 and 365.25 days.
  ['M month months', 2_629_800_000_000n],
  ['y year years', 31_557_600_000_000n],
];

/** systemd counts in 64 bits, and its highest number means infinity. */
const longest = 2n ** 64n - 1n;

/** A size in bytes, such as `512`, `1.5G` or `1G 500M`, with units to the base of 1024. Undefined when it is none. */
export function parseSize(text: string): bigint | undefined {
  const piece = /[ \t\n\r]*\+?(\d+)(?:\.(\d*))?[ \t\n\r]*([EPTGMKB]?)/y;
  let total = 0n;
  let smallestYet = -1;
  do {
    const [, whole, fraction = '', unit] = piece.exec(text) ?? [];
    if (whole === undefined || unit === undefined) return undefined;
    const rank = sizeUnits.indexOf(unit);
    if (rank <= smallestYet) return undefined;
    smallestYet = rank;
    total += scale(whole, fraction, 1024n ** BigInt(Math.max(0, sizeUnits.indexOf('B') - rank)));
  } while (piece.lastIndex < text.length);
  return total;
}

/**
 * A time span in microseconds, such as `90`, `1.5h` or `1h 30min`. Undefined when it is none.
 * @param defaultUnit - what a number without a unit counts, in microseconds
 */
export function parseTimeSpan(text: string, defaultUnit: bigint): bigint | undefined {
  const piece = /\+?(\d+|(?=\.\d))(?:\.(\d+))?([ \t\n\r]*)([a-zA-Zµμ]*)[ \t\n\r]*/y;
  const trimmed = text.trim();
  let total = 0n;
  do {
    const [, whole, fraction = '', gap, unit] = piece.exec(trimmed) ?? [];
    if (whole === undefined || unit === undefined) return undefined;
    const factor = unit === '' ? defaultUnit : timeUnits.find(([names]) => names.split(' ').includes(unit))?.[1];
    if (factor === undefined) return undefined;
    // Two numbers need a unit or a blank between them: 1.5.5 is none.
    if (unit === '' && gap === '' && piece.lastIndex < trimmed.length) return undefined;
    total += scale(whole, fraction, factor);
  } while (piece.lastIndex < trimmed.length);
  return total < longest ? total : undefined;
}

/** The decimal number `whole.fraction` times `factor`, rounded down. */
function scale(whole: string, fraction: string, factor: bigint): bigint {
  return (BigInt(whole + fraction) * factor) / 10n ** BigInt(fraction.length);
}
