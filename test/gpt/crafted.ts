/** Superblocks made here, for which there is no tool, or none that writes to a file. */
import { crc32From } from '../../gpt/crc32.ts';
import { MIB } from './support.ts';

export const UUID = '00112233-4455-6677-8899-aabbccddeeff';
export const DEVICE_UUID = '01020304-0506-0708-090a-0b0c0d0e0f10';
/** Bytes of the device that they are on. */
export const DISK_SIZE = 8 * MIB;

const uuidBytes = (uuid: string): Uint8Array => Uint8Array.fromHex(uuid.replaceAll('-', ''));

/** Numbers and bytes at their places in a block of zeros. */
class Block {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.view = new DataView(this.bytes.buffer);
  }

  u16(at: number, value: number): this {
    this.view.setUint16(at, value, true);
    return this;
  }

  u32(at: number, ...values: number[]): this {
    for (const [index, value] of values.entries()) this.view.setUint32(at + index * 4, value, true);
    return this;
  }

  u64(at: number, value: number): this {
    this.view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  put(at: number, value: string | Uint8Array): this {
    this.bytes.set(typeof value === 'string' ? new TextEncoder().encode(value) : value, at);
    return this;
  }
}

/** struct mdp_superblock_1, of a RAID 1 of one device. */
export function md1(offset: number): Uint8Array {
  const block = new Block(4096).u32(0, 0xa92b4efc, 1).put(16, uuidBytes(UUID)).put(32, 'host:array');
  block
    .u64(64, 1_700_000_000)
    .u32(72, 1)
    .u64(80, 8192)
    .u32(92, 1)
    .u64(128, offset > 8192 ? 0 : 2048)
    .u64(136, 8192);
  block
    .u64(144, offset / 512)
    .put(168, uuidBytes(DEVICE_UUID))
    .u64(192, 1_700_000_000)
    .u32(220, 1);
  const words = Array.from({ length: 64 }, (_, index) => block.view.getUint32(index * 4, true));
  // And the role of the device, 0, in two more bytes.
  return block.u32(216, folded(words)).bytes;
}

/** The checksum of a superblock of MD. */
function folded(words: number[]): number {
  const sum = words.reduce((total, word) => total + word, 0);
  return (sum % 2 ** 32) + Math.floor(sum / 2 ** 32);
}

/** struct mdp_superblock_s, of a RAID 1 of one device of 4 MiB. */
export function md0(bigEndian = false): Uint8Array {
  const block = new Block(4096).u32(0, 0xa92b4efc, 0, 90, 0, 0, 0x00112233, 1_700_000_000, 1, 4096, 1, 1);
  block.u32(52, 0x44556677, 0x8899aabb, 0xccddeeff).u32(128, 1_700_000_000, 1, 1, 1);
  const words = Array.from({ length: 1024 }, (_, index) => block.view.getUint32(index * 4, true));
  block.u32(152, folded(words));
  return bigEndian ? swapped(block.bytes) : block.bytes;
}

function swapped(bytes: Uint8Array): Uint8Array {
  const from = new DataView(bytes.buffer);
  const to = new DataView(new ArrayBuffer(bytes.length));
  for (let at = 0; at < bytes.length; at += 4) to.setUint32(at, from.getUint32(at, true));
  return new Uint8Array(to.buffer);
}

const LVM_ID = 'abcdefGHIJ0123klmnOPQR4567stuvwx';

/** struct label_header and pv_header. */
export function lvmLabel(sector: number): Uint8Array {
  const block = new Block(512).put(0, 'LABELONE').u64(8, sector).u32(20, 32).put(24, 'LVM2 001');
  block.put(32, LVM_ID).u64(64, DISK_SIZE);
  return block.u32(16, crc32From(0xf597a6cf, block.bytes.subarray(20))).bytes;
}

/** The name-value pairs of a vdev label as XDR. */
export function zfsPairs(pairs: Record<string, string | bigint>): Uint8Array {
  const bytes = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  const u32 = (value: number) => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
  const padded = (text: string) => Array.from(text.padEnd(Math.ceil(text.length / 4) * 4, '\0'), c => c.charCodeAt(0));
  for (const [name, value] of Object.entries(pairs)) {
    const coded =
      typeof value === 'string'
        ? [...u32(9), ...u32(1), ...u32(value.length), ...padded(value)]
        : [...u32(8), ...u32(1), ...u32(Number(value >> 32n)), ...u32(Number(value & 0xffff_ffffn))];
    const rest = [...u32(64), ...u32(name.length), ...padded(name), ...coded];
    bytes.push(...u32(rest.length + 4), ...rest);
  }
  return Uint8Array.from([...bytes, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/** struct bch_sb with two devices, this being the second one. */
export function bcachefs(members: 'v1' | 'v2'): Uint8Array {
  const memberSize = members === 'v1' ? 56 : 136;
  const first = members === 'v1' ? 8 : 16;
  const fieldSize = first + 2 * memberSize;
  const block = new Block(4096).u16(16, 1000).put(24, uuidBytes('c68573f6-66ce-90a9-d96a-60cf803df7ef'));
  block.put(40, uuidBytes(DEVICE_UUID)).put(56, uuidBytes(UUID)).put(72, 'bcachefs label').u64(104, 8).u16(120, 8);
  block.put(122, Uint8Array.of(1, 2)).u32(124, (16 + fieldSize) / 8);
  // A field of another type is before the one that counts.
  block.u32(752, 2, 5).u32(768, fieldSize / 8, members === 'v1' ? 1 : 11);
  if (members === 'v2') block.u16(776, memberSize);
  for (const index of [0, 1]) {
    const at = 768 + first + index * memberSize;
    block
      .put(at, uuidBytes(index === 1 ? DEVICE_UUID : UUID))
      .u64(at + 16, 100)
      .u16(at + 26, 256);
  }
  return block.bytes;
}

/** A ring of struct uberblock. ZFS writes them in turn, the first one in the fifth slot; blkid looks for four. */
export function uberblocks(): Uint8Array {
  const ring = new Block(128 * 1024);
  for (let slot = 4; slot < 12; slot++) ring.u64(slot * 1024, 0x00bab10c).u64(slot * 1024 + 8, 5000);
  return ring.bytes;
}

/** struct squashfs_super_block. */
export const squashfs = (): Uint8Array => new Block(96).put(0, 'hsqs').u32(12, 131072).u16(28, 4).u64(40, MIB).bytes;
