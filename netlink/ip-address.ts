import { InvalidValueError } from './error.ts';

/** Address families, as `ip -j` names them. AF_INET and AF_INET6: linux/socket.h */
export const FAMILIES = { inet: 2, inet6: 10 } as const;
export type Family = keyof typeof FAMILIES;

/** An address with the length of its network part in bits. */
export interface Prefix {
  readonly family: Family;
  readonly address: string;
  readonly prefixLength: number;
}

const DECIMAL_BYTE = /^(0|[1-9][0-9]{0,2})$/;
const HEX_GROUP = /^[0-9a-fA-F]{1,4}$/;

/** The bytes of an IPv4 (4) or IPv6 (16) address in text form. */
export function parseIp(text: string): Uint8Array {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** The text of 4 bytes as an IPv4 address, or of 16 as an IPv6 address; undefined for any other number of bytes. */
export function formatIp(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return formatIpv4(bytes);
  return bytes.length === 16 ? formatIpv6(bytes) : undefined;
}

export function familyOf(address: string): Family {
  return address.includes(':') ? 'inet6' : 'inet';
}

/** Reads `10.0.0.1/8` or `2001:db8::1/64`; an address without a length stands for itself alone (32 or 128 bits). */
export function parsePrefix(text: string): Prefix {
  const [address = '', length, ...rest] = text.split('/');
  const bytes = parseIp(address);
  const bits = bytes.length * 8;
  const prefixLength = length === undefined ? bits : Number(length);
  if (rest.length > 0 || (length !== undefined && !DECIMAL_BYTE.test(length)) || prefixLength > bits) {
    throw new InvalidValueError(`"${text}" is not an address with a prefix length from 0 to ${bits}`);
  }
  return { family: familyOf(address), address: formatIp(bytes)!, prefixLength };
}

/** Reads four decimal numbers; octal, hexadecimal and shortened forms are refused, as inet_pton(3) does. */
export function parseIpv4(text: string): Uint8Array {
  const parts = text.split('.');
  const bytes = parts.map(part => (DECIMAL_BYTE.test(part) ? Number(part) : 256));
  if (bytes.length !== 4 || bytes.some(byte => byte > 255)) {
    throw new InvalidValueError(`"${text}" is not an IPv4 address`);
  }
  return Uint8Array.from(bytes);
}

function formatIpv4(bytes: Uint8Array): string {
  return bytes.join('.');
}

/** Reads every form of RFC 4291 section 2.2: full, shortened with `::`, and with an IPv4 address at the end. */
export function parseIpv6(text: string): Uint8Array {
  const invalid = () => new InvalidValueError(`"${text}" is not an IPv6 address`);
  const halves = text.split('::');
  if (halves.length > 2) throw invalid();
  const [head = [], tail] = halves.map((half, index) => {
    const groups = groupsOf(half, index === halves.length - 1);
    if (!groups) throw invalid();
    return groups;
  });
  const given = head.length + (tail?.length ?? 0);
  // "::" stands for one group or more.
  if (tail ? given > 7 : given !== 8) throw invalid();
  const groups = tail ? [...head, ...new Array<number>(8 - given).fill(0), ...tail] : head;
  return Uint8Array.from(groups.flatMap(group => [group >> 8, group & 0xff]));
}

/** The 16-bit groups of one side of `::`, or undefined if it is malformed. IPv4 may end the last side only. */
function groupsOf(half: string, isLast: boolean): number[] | undefined {
  if (half === '') return [];
  const parts = half.split(':');
  const dotted = isLast && parts.at(-1)?.includes('.') ? parts.pop()! : undefined;
  if (!parts.every(part => HEX_GROUP.test(part))) return undefined;
  const groups = parts.map(part => Number.parseInt(part, 16));
  if (dotted === undefined) return groups;
  const [a, b, c, d] = dotted.split('.').map(part => (DECIMAL_BYTE.test(part) ? Number(part) : 256));
  if (dotted.split('.').length !== 4 || Math.max(a!, b!, c!, d!) > 255) return undefined;
  return [...groups, (a! << 8) | b!, (c! << 8) | d!];
}

/** Writes the one form of RFC 5952: lower case, no leading zeros, `::` for the first longest run of zero groups. */
function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  // Section 5: IPv4-mapped addresses, ::ffff:0:0/96, end in dotted decimal.
  const mapped = groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff;
  if (mapped) return `::ffff:${formatIpv4(bytes.subarray(12))}`;

  const run = longestZeroRun(groups);
  const hex = (part: number[]) => part.map(group => group.toString(16)).join(':');
  // Section 4.2.2: a single zero group is not shortened.
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}

/** Reads the colon-separated hexadecimal bytes of a link-layer address: six for a MAC address, others have other lengths. */
export function parseLinkAddress(text: string): Uint8Array {
  const parts = text.split(':');
  if (!parts.every(part => /^[0-9a-fA-F]{1,2}$/.test(part))) {
    throw new InvalidValueError(`"${text}" is not a link-layer address such as 02:00:00:00:00:01`);
  }
  return Uint8Array.from(parts, part => Number.parseInt(part, 16));
}

export function formatLinkAddress(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(':');
}
