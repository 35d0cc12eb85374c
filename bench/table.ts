/** Numbers as a Markdown table, and its place in the README. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Nanoseconds of each run, by the name of the case. */
export type Samples = Map<string, number[]>;

/** The sample that a share of all samples (0 to 1) lies below; 0.5 gives the median. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** A row for each case; the ratios are those of the medians to the first case's. */
export function table(title: string, samples: Samples): string {
  const [base = []] = samples.values();
  const rows = [...samples].map(([name, times]) => {
    const milliseconds = [0.5, 0.9].map(share => (quantile(times, share) / 1e6).toFixed(1));
    const ratio = quantile(times, 0.5) / quantile(base, 0.5);
    return `| ${name} | ${milliseconds.join(' | ')} | ${ratio.toFixed(2)} |`;
  });
  return [`| ${title} | median, ms | 90 % below, ms | ratio |`, '| --- | ---: | ---: | ---: |', ...rows].join('\n');
}

/** Puts text between the markers `<!-- bench -->` and `<!-- /bench -->` of a file, if it has them. */
export function intoMarkers(path: string, text: string): void {
  if (!existsSync(path)) return;
  const before = readFileSync(path, 'utf8');
  const after = before.replace(
    /(<!-- bench -->\n).*(<!-- \/bench -->)/s,
    (_, open, close) => `${open}${text}\n${close}`,
  );
  if (after !== before) writeFileSync(path, after);
}
