/** Values of the options that limit what a container may use. */
import process from 'node:process';
import type { IoMax } from '../options.ts';
import { parseIntegerWithin } from './integers.ts';
import { parseSize, parseTimeSpan } from './quantities.ts';
import { takes } from './usage-error.ts';

/** A share of what the machine has. */
export type Percentage = `${number}%`;

const HIGHEST = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Bytes such as 64M, or a share of the machine's memory such as 25%. Undefined for `infinity`, which takes a limit back.
 * Throws ValueError.
 */
export const parseMemory = (text: string): number | Percentage | undefined => parseBytes(text, 1n);

/** As parseMemory; none at all is fine, too. Throws ValueError. */
export const parseSwap = (text: string): number | Percentage | undefined => parseBytes(text, 0n);

function parseBytes(text: string, lowest: bigint): number | Percentage | undefined {
  if (text === 'infinity') return undefined;
  const bytes = parsePercentage(text) ?? parseSize(text);
  if (bytes === undefined || (typeof bytes === 'bigint' && (bytes < lowest || bytes > HIGHEST))) {
    throw takes("bytes such as 64M or 1.5G, a share of the machine's memory such as 25%, or infinity", text);
  }
  return typeof bytes === 'bigint' ? Number(bytes) : bytes;
}

/** A number of tasks, or a share of how many the machine can have. Undefined for `infinity`. Throws ValueError. */
export function parseTasks(text: string): number | Percentage | undefined {
  if (text === 'infinity') return undefined;
  const tasks = parsePercentage(text) ?? parseIntegerWithin(text, 1, MOST_TASKS);
  if (tasks === undefined) throw takes('a number of tasks, a share such as 10%, or infinity', text);
  return tasks;
}
/** PID_MAX_LIMIT in the kernel's linux/threads.h */
const MOST_TASKS = 4 << 20;

function parsePercentage(text: string): Percentage | undefined {
  const [, number] = /^(\d+(?:\.\d{1,2})?)%$/.exec(text) ?? [];
  return number !== undefined && Number(number) > 0 && Number(number) <= 100 ? `${Number(number)}%` : undefined;
}

/** How many CPUs' time, such as 1.5; also as systemd's CPUQuota= has it, 150%. Throws ValueError. */
export function parseCpus(text: string): number {
  const [, number, percent] = /^(\d*\.?\d+)(%?)$/.exec(text) ?? [];
  const cpus = Number(number) / (percent ? 100 : 1);
  // The shortest quota is a millisecond of each 100: min_cfs_quota_period in kernel/sched/core.c
  if (!(cpus >= 0.01 && cpus <= 8192)) throw takes('a number of CPUs such as 0.5 or 2, or 50%', text);
  return cpus;
}

/** 1 to 10000, 100 being what others have. Throws ValueError. */
export function parseWeight(text: string): number {
  const weight = parseIntegerWithin(text, 1, 10_000);
  if (weight === undefined) throw takes('a number from 1 to 10000', text);
  return weight;
}

/** As parseWeight, or `idle`: only what others leave. Throws ValueError. */
export function parseCpuWeight(text: string): number | 'idle' {
  if (text === 'idle') return text;
  const weight = parseIntegerWithin(text, 1, 10_000);
  if (weight === undefined) throw takes('a number from 1 to 10000, or idle', text);
  return weight;
}

const RATES = ['rbps', 'wbps', 'riops', 'wiops'] as const;
const IO_MAX =
  'a path and one or more of rbps=, wbps= (bytes a second), riops= and wiops= (operations a second), such as "/dev/sda wbps=10M"';

/**
 * A device, or what is on it, and rates, as `/dev/sda rbps=10M wiops=100`; with commas or blanks between. Units are to
 * the base of 1000, as with systemd. Throws ValueError.
 */
export function parseIoMax(text: string): IoMax {
  const [, path = '', list = ''] = /^(.*?)((?:[\s,]+[rw](?:bps|iops)=[^\s,]*)+)$/.exec(text) ?? [];
  if (path === '') throw takes(IO_MAX, text);
  const max: IoMax = { path: path.startsWith('/') ? path : `${process.cwd()}/${path}` };
  for (const assignment of list.split(/[\s,]+/).filter(Boolean)) {
    const [name = '', value = ''] = assignment.split('=');
    const rate = parseRate(value);
    if (rate === undefined) throw takes(IO_MAX, text);
    max[RATES.find(each => each === name)!] = rate;
  }
  return max;
}

function parseRate(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(text) ?? [];
  const rate = Math.floor(Number(number) * 1000 ** ['', 'K', 'M', 'G', 'T'].indexOf(unit));
  return rate >= 1 && rate <= Number.MAX_SAFE_INTEGER ? rate : undefined;
}

/** The text that parseIoMax() reads it from. */
export const ioMaxText = (max: IoMax): string =>
  [max.path, ...RATES.flatMap(rate => (max[rate] === undefined ? [] : [`${rate}=${max[rate]}`]))].join(' ');

/** A time such as 30s, 5min or 1h 30min, in milliseconds. Undefined for `infinity`. Throws ValueError. */
export function parseTimeout(text: string): number | undefined {
  if (text === 'infinity') return undefined;
  const span = parseTimeSpan(text, 1_000_000n);
  if (!span || span > HIGHEST) throw takes('a time such as 30s or 1h 30min, or infinity', text);
  return Number((span + 999n) / 1000n);
}

/** Milliseconds, for programs. Throws ValueError. */
export function checkMilliseconds(text: string): void {
  if (!(Number(text) > 0 && Number(text) <= Number.MAX_SAFE_INTEGER)) throw takes('milliseconds', text);
}
