/** The way out of a container's console: ^] three times within one second. */

/** ^] */
const ESCAPE = 0x1d;
const TIMES = 3;
const WITHIN_MS = 1000;

/**
 * Finds the third ^] within a second of the first, with nothing else between them, in input that may come in pieces.
 * `now` is a monotonic clock in milliseconds.
 */
export function escapeDetector(now: () => number): (bytes: Uint8Array) => boolean {
  let count = 0;
  let first = 0;
  return bytes => {
    for (const byte of bytes) {
      if (byte !== ESCAPE) {
        count = 0;
        continue;
      }
      const time = now();
      if (count === 0 || time > first + WITHIN_MS) {
        first = time;
        count = 1;
      } else if (++count === TIMES) {
        return true;
      }
    }
    return false;
  };
}
