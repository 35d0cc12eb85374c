import { be32, be64bits, text } from '../bytes.ts';
import type { Format } from '../superblock.ts';

/** The first vdev label (OpenZFS, include/sys/vdev_impl.h) has name-value pairs from 16 KiB on. */
const PAIRS = 16 * 1024;
/** nvs_header_t, module/nvpair/nvpair.c: coded by XDR, on a machine of either byte order; version 0, unique names. */
const HEADERS = ['\x01\x01\0\0', '\x01\0\0\0'].map(start => `${start}\0\0\0\0\0\0\0\x01`);
const HEADER_LENGTH = 12;
/** data_type_t, include/sys/nvpair.h. */
const UINT64 = 8;
const STRING = 9;

/** A device of a ZFS pool. */
export const ZFS: Format = {
  /** What is of use comes before the description of the devices, which is long. */
  length: 4096,
  signatures: [{ superblock: PAIRS, at: 0, bytes: HEADERS }],
  read(label) {
    const pairs = decodePairs(label);
    const [version, guid] = [pairs.get('version'), pairs.get('guid')];
    if (version === undefined || guid === undefined) return undefined;
    return { type: 'zfs_member', label: pairs.get('name'), uuid: pairs.get('pool_guid'), deviceUuid: guid, version };
  },
};

/** Numbers in decimal and texts, by name. A pair: its size, unpacked size, name, type, number of values, value. */
function decodePairs(label: Uint8Array): Map<string, string> {
  const pairs = new Map<string, string>();
  for (let at = HEADER_LENGTH, size = 0; at + 12 <= label.length; at += size) {
    size = be32(label, at);
    if (size < 12) break;
    const nameLength = be32(label, at + 8);
    const name = text(label, at + 12, nameLength);
    const value = at + 12 + aligned(nameLength);
    if (name === undefined || value + 12 > label.length) continue;
    const type = be32(label, value);
    if (type === UINT64) pairs.set(name, String(be64bits(label, value + 8)));
    if (type === STRING) pairs.set(name, text(label, value + 12, be32(label, value + 8)) ?? '');
  }
  return pairs;
}

/** XDR fills up to multiples of four bytes: RFC 4506. */
const aligned = (length: number): number => Math.ceil(length / 4) * 4;
