/** The messages that `ip` sends, seen through strace. */
import { spawnSync } from 'node:child_process';
import type { Namespace } from './namespace.ts';

/** A line of strace's hexadecimal dumps: ` | 00010  00 00 …  text |`. */
const DUMP_LINE = /^ \| ([0-9a-f]{5}) {2}((?:[0-9a-f]{2} {1,2})+)/;

/**
 * The last message of a type that `ip` sends for these arguments; whether the kernel takes it does not matter. What
 * `ip` sends behind the message, of the struct that it was made in, is cut off.
 */
export function requestOfIp(namespace: Namespace, args: string, type: number): Uint8Array {
  const command = ['strace', '-e', 'trace=sendto,sendmsg', '-e', 'write=all', 'ip', ...args.split(' ')];
  const { stderr } = spawnSync('nsenter', [`--net=${namespace.path}`, ...command], { encoding: 'utf8' });
  const messages: Uint8Array[] = dumps(stderr).map(hex => Uint8Array.from(hex, byte => Number.parseInt(byte, 16)));
  const message = messages.findLast(bytes => bytes[4] === type);
  if (!message) throw new Error(`"ip ${args}" sends no message of type ${type}: ${stderr}`);
  return message.subarray(0, new DataView(message.buffer).getUint32(0, true));
}

/** The hexadecimal dumps in what strace writes, each as a list of bytes. */
function dumps(output: string): string[][] {
  const found: string[][] = [];
  for (const line of output.split('\n')) {
    const [, offset, hex] = DUMP_LINE.exec(line) ?? [];
    if (offset === '00000') found.push([]);
    if (hex !== undefined) found.at(-1)!.push(...hex.trim().split(/ +/));
  }
  return found;
}

/** A message in hexadecimal, eight bytes a line, with sequence number 0. */
export function comparable(message: Uint8Array): string {
  const bytes = [...message].map((byte, index) => (index >= 8 && index < 12 ? 0 : byte));
  const lines = Array.from({ length: Math.ceil(bytes.length / 8) }, (_, line) => bytes.slice(line * 8, line * 8 + 8));
  return lines.map(line => line.map(byte => byte.toString(16).padStart(2, '0')).join(' ')).join('\n');
}
