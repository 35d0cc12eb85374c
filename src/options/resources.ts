import { parseIntegerWithin } from './integers.ts';
import { takes } from './usage-error.ts';

/** -1000 to 1000: see proc_pid_oom_score_adj(5). Throws ValueError. */
export function parseOomScoreAdjust(text: string): number {
  const value = parseIntegerWithin(text, -1000, 1000);
  if (value === undefined) throw takes('a number from -1000 to 1000', text);
  return value;
}

/** The highest CPU number that a kernel can be built for: NR_CPUS goes up to 8192. */
const lastCpu = 8191;

/**
 * CPU numbers of a list such as `0,2-4`, with commas or blanks between, sorted and each once. Undefined for an empty
 * list, which resets it. Throws ValueError.
 */
export function parseCpuList(text: string): number[] | undefined {
  const cpus = new Set<number>();
  for (const word of text.split(/[\s,]+/).filter(each => each !== '')) {
    const [first, last] = parseCpuRange(word);
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return cpus.size === 0 ? undefined : [...cpus].sort((a, b) => a - b);
}

function parseCpuRange(word: string): [first: number, last: number] {
  const [first, last, ...more] = word.split('-').map(text => parseIntegerWithin(text, 0, lastCpu));
  const end = word.includes('-') ? last : first;
  if (first === undefined || end === undefined || end < first || more.length > 0) {
    throw takes(`CPU numbers and ranges such as 0,2-4, up to ${lastCpu}`, word);
  }
  return [first, end];
}
