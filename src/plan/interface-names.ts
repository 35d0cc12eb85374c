/**
 * The names and addresses that systemd-nspawn gives to network interfaces: the same for the same machine name on the
 * same host, so that other programs can be set up for them.
 */
import { formatLinkAddress } from '../../netlink/index.ts';
import { readHostFile } from '../host.ts';
import { sipHash24 } from './siphash.ts';

/** Keys of systemd-nspawn's hashes, one for each use. */
const KEYS = {
  vethHost: '1a376fc746ec450bada3d53106605db1',
  vethContainer: 'c3c4f919b557b21ce6cf1427039ceea2',
  extraVethHost: '48c7f6b7ea9d4c9eb728d4de91d5bf66',
  extraVethContainer: 'af501761cef94d35840d2b2054bece59',
  macvlan: '00136dbc66834481bb0cf9511f24a66f',
  longName: 'e190a404a8ef4b518cccc33a9f11fca2',
} as const;
type Key = keyof typeof KEYS;

const keyBytes = (key: Key) => Uint8Array.fromHex(KEYS[key]);
const encoder = new TextEncoder();

/** IFNAMSIZ of linux/if.h, without the NUL */
const LONGEST_NAME = 15;
/** So many characters at the end of a name that was too long are its hash. */
const HASH_LENGTH = 4;
/** RFC 4648, section 5 */
const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** A name that the kernel takes: one that is too long has its end replaced by a hash. */
export function shortName(name: string): string {
  if (name.length <= LONGEST_NAME) return name;
  const hash = Number(sipHash24(encoder.encode(name), keyBytes('longName')) & 0xff_ffffn);
  const digits = Array.from({ length: HASH_LENGTH }, (_, i) => BASE64URL[(hash >> (18 - 6 * i)) & 0x3f]);
  return name.slice(0, LONGEST_NAME - HASH_LENGTH) + digits.join('');
}

/**
 * The MAC address of a machine's interface for some use; `index` is its place among those of the same use, from 0.
 * `hostId` has 32 hexadecimal digits.
 */
export function macAddress(use: Exclude<Key, 'longName'>, machine: string, hostId: string, index = 0): string {
  const place = new Uint8Array(new BigUint64Array(index > 0 ? [BigInt(index)] : []).buffer);
  const identity = new Uint8Array([...Uint8Array.fromHex(hostId), ...encoder.encode(machine), ...place]);
  const hash = new Uint8Array(new BigUint64Array([sipHash24(identity, keyBytes(use))]).buffer);
  // Not a multicast address, and one of those that anyone may give: IEEE 802c.
  hash[0] = (hash[0]! & 0xfe) | 0x02;
  return formatLinkAddress(hash.subarray(0, 6));
}

const MACHINE_ID = '/etc/machine-id';

/** The host's id: machine-id(5). Throws an Error where it has none. */
export function readHostId(): string {
  const text = readHostFile(MACHINE_ID).toString().trim();
  if (/^[0-9a-f]{32}$/.test(text)) return text;
  throw new Error(`working out MAC addresses: ${MACHINE_ID} has no machine id; systemd-machine-id-setup(1) makes one`);
}
