/** Damaged and invented disks: reading them ends, with a result or an error of ours, and takes little memory and few reads. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32 } from '../../gpt/crc32.ts';
import {
  type ByteSource,
  bytesSource,
  checkGpt,
  encodeGpt,
  findSuperblocks,
  GptError,
  readPartitionTable,
  readSuperblock,
} from '../../gpt/index.ts';
import { hasTool } from '../support/needs.ts';
import { createRandom, type Random } from '../support/random.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { bcachefs, lvmLabel, md0, md1, squashfs, zfsPairs } from './crafted.ts';
import { createImage, fileSource, MIB, runOk } from './support.ts';

const ROUNDS = 4000;
const SIZE = 2 * MIB;

/** The most that one call may do: much more than any real disk takes. */
const MOST_READS = 2500;
const MOST_BYTES = 48 * MIB;

const place = (blocks: Record<number, Uint8Array>, size = SIZE): Uint8Array => {
  const bytes = new Uint8Array(size);
  for (const [offset, block] of Object.entries(blocks)) bytes.set(block, Number(offset));
  return bytes;
};

const gpt = (sectorSize: number, entrySize: number): Uint8Array => {
  const partitions = [{ type: 'root-x86-64', name: 'root', size: MIB / 2 }, { type: 'esp' }];
  const chunks = encodeGpt({ size: SIZE, sectorSize, entrySize, partitions, alignment: 65536 });
  return place(Object.fromEntries(chunks.map(({ offset, bytes }) => [offset, bytes])));
};

/** An MBR with a chain of three logical partitions. */
function mbr(): Uint8Array {
  const link = (...entries: number[][]) => {
    const bytes = new Uint8Array(512);
    for (const [index, [type = 0, start = 0, sectors = 0]] of entries.entries()) {
      bytes.set(
        [0, 0, 0, 0, type, 0, 0, 0, start & 0xff, start >> 8, 0, 0, sectors & 0xff, sectors >> 8],
        446 + index * 16,
      );
    }
    bytes.set([0x55, 0xaa], 510);
    return bytes;
  };
  const first = link([0x83, 8, 80], [5, 100, 900]);
  return place({
    0: first,
    51200: link([0x83, 1, 9], [5, 100, 50]),
    102400: link([0x82, 1, 9], [5, 200, 50]),
    153600: link([0x83, 1, 9]),
  });
}

/** What real tools make, where they are installed. */
const TOOLS: [size: number, ...command: string[]][] = [
  [SIZE, 'mke2fs', '-q', '-F', '-t', 'ext4'],
  [SIZE, 'mkfs.vfat', '-n', 'LABEL'],
  [40 * MIB, 'mkfs.vfat', '-F', '32', '-n', 'LABEL'],
  [4 * MIB, 'mkfs.exfat', '-L', 'label'],
  [4 * MIB, 'mkntfs', '-q', '-F', '-Q', '-s', '512', '-L', 'label'],
  [SIZE, 'mkudffs', '--label=label'],
  [SIZE, 'mkswap', '-q'],
];

function madeByTools(): Uint8Array[] {
  return TOOLS.filter(([, command]) => hasTool(command!)).map(([size, ...command]) => {
    using directory = temporaryDirectory();
    const path = createImage(join(directory.path, 'image'), size);
    runOk([...command, path]);
    return fileSource(path).read(0, size) as Uint8Array;
  });
}

const CORPUS: Uint8Array[] = [
  gpt(512, 128),
  gpt(512, 256),
  gpt(4096, 128),
  mbr(),
  place({ 0: md1(0), 8192: squashfs() }),
  place({ [SIZE - 65536]: md0(), [SIZE - 8192]: md1(SIZE - 8192) }),
  place({ 512: lvmLabel(1), 4096: bcachefs('v2'), 16384: zfsPairs({ version: 5000n, name: 'tank', guid: 1n }) }),
  place({ 4096: bcachefs('v1') }),
  ...madeByTools(),
];

/** For each of them, the sectors with something in them: most of the rest is zeros, where damage tells little. */
const USED = CORPUS.map(bytes =>
  Array.from({ length: bytes.length / 512 }, (_, sector) => sector * 512).filter(at =>
    bytes.subarray(at, at + 512).some(byte => byte !== 0),
  ),
);

const NASTY = [
  0, 1, 2, 3, 5, 7, 8, 0x0f, 0x10, 0x7f, 0x80, 0xff, 0xee, 0x55, 0x100, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
];

/** A copy of the sectors that change, on top of the bytes. */
class DamagedDisk implements ByteSource {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #changed = new Map<number, Uint8Array>();
  reads = 0;
  total = 0;

  constructor(bytes: Uint8Array, size: number) {
    this.#bytes = bytes;
    this.size = size;
  }

  sector(at: number): Uint8Array {
    const start = Math.floor(at / 512) * 512;
    const known = this.#changed.get(start);
    if (known) return known;
    const sector = new Uint8Array(512);
    sector.set(this.#bytes.subarray(start, start + 512));
    this.#changed.set(start, sector);
    return sector;
  }

  read(offset: number, length: number): Uint8Array {
    assert.ok(Number.isSafeInteger(offset) && Number.isSafeInteger(length), `read ${length} at ${offset}`);
    assert.ok(
      offset >= 0 && length >= 0 && offset + length <= this.size,
      `read ${length} at ${offset} of ${this.size}`,
    );
    this.reads++;
    this.total += length;
    assert.ok(this.reads <= MOST_READS && this.total <= MOST_BYTES, `${this.reads} reads of ${this.total} bytes`);
    const bytes = new Uint8Array(length);
    bytes.set(this.#bytes.subarray(offset, offset + length));
    for (const [start, sector] of this.#changed) {
      const from = Math.max(start, offset);
      const to = Math.min(start + 512, offset + length);
      if (from < to) bytes.set(sector.subarray(from - start, to - start), from - offset);
    }
    return bytes;
  }
}

function damaged(random: Random): DamagedDisk {
  const which = random.below(CORPUS.length);
  const bytes = CORPUS[which]!;
  const size = random.oneIn(8) ? random.below(bytes.length + 65536) : bytes.length;
  const disk = new DamagedDisk(bytes, size);
  for (let times = random.below(6); times > 0; times--) {
    const sector = disk.sector(random.pick(USED[which]!));
    const view = new DataView(sector.buffer);
    const at = random.oneIn(3) ? random.below(508) : random.below(120);
    const kind = random.below(4);
    if (kind === 0) sector[at] = random.below(256);
    else if (kind === 1) view.setUint16(at & ~1, random.pick(NASTY), true);
    else if (kind === 2) view.setUint32(at & ~3, random.oneIn(2) ? random.pick(NASTY) : random.uint32(), true);
    else view.setBigUint64(at & ~7, random.oneIn(2) ? random.uint64() : BigInt(random.pick(NASTY)), true);
  }
  // With a checksum that is right, what the header of a GPT says is believed.
  if (random.oneIn(2)) for (const at of [512, 4096, SIZE - 512, SIZE - 4096]) sign(disk, at);
  return disk;
}

function sign(disk: DamagedDisk, at: number): void {
  const sector = disk.sector(at);
  if (String.fromCharCode(...sector.subarray(0, 8)) !== 'EFI PART') return;
  const view = new DataView(sector.buffer);
  view.setUint32(16, 0, true);
  view.setUint32(16, crc32(sector.subarray(0, 92)), true);
}

const READERS = [readPartitionTable, checkGpt, findSuperblocks, readSuperblock];

/** The results, or the messages of our errors. Other errors are raised. */
async function readAll(disk: DamagedDisk): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const reader of READERS) {
    disk.reads = 0;
    disk.total = 0;
    try {
      results.push(await reader(disk));
    } catch (error) {
      if (!(error instanceof GptError)) throw error;
      assert.match(error.message, /^[^\n]{10,}$/, 'one line');
      results.push(error);
    }
  }
  return results;
}

async function forSeeds(rounds: number, check: (random: Random) => Promise<void>): Promise<void> {
  for (let seed = 1; seed <= rounds; seed++) {
    try {
      await check(createRandom(seed));
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
}

test('damaged disks are read, or refused by an error of ours, within bounds', async () => {
  let refused = 0;
  let read = 0;
  await forSeeds(ROUNDS, async random => {
    for (const result of await readAll(damaged(random))) {
      if (result instanceof Error) refused++;
      else if (result !== undefined) read++;
    }
  });
  assert.ok(refused > ROUNDS / 2 && read > ROUNDS / 2, `both happen: ${refused} refused, ${read} read`);
});

test('so are bytes by chance, behind each signature', async () => {
  await forSeeds(ROUNDS / 10, async random => {
    const bytes = Uint8Array.from({ length: 72 * 1024 }, () => random.below(256));
    const which = random.below(CORPUS.length);
    for (let times = 3; times > 0; times--) {
      const at = random.pick(USED[which]!);
      if (at + 512 <= bytes.length) bytes.set(CORPUS[which]!.subarray(at, at + random.below(512)), at);
    }
    await readAll(new DamagedDisk(bytes, random.oneIn(2) ? bytes.length : random.below(bytes.length)));
  });
});

test('partitions and superblocks that are read lie within the disk', async () => {
  await forSeeds(ROUNDS / 4, async random => {
    const disk = damaged(random);
    const table = await readPartitionTable(disk).catch(() => undefined);
    for (const { offset, size } of table?.partitions ?? []) {
      assert.ok(offset >= 0 && size > 0 && offset + size <= disk.size, `${size} bytes at ${offset} of ${disk.size}`);
    }
    for (const { offset, label, uuid } of await findSuperblocks(disk)) {
      assert.ok(offset >= 0 && offset < disk.size);
      assert.ok((label?.length ?? 0) <= 512 && (uuid?.length ?? 0) <= 40, `${label} ${uuid}`);
    }
  });
});

test('what is around the bytes in memory does not change what is read', async () => {
  await forSeeds(100, async random => {
    const bytes = random.pick(CORPUS);
    const around = new Uint8Array(bytes.length + 64).fill(0xa5);
    around.set(bytes, 32);
    const inside = bytesSource(around.subarray(32, 32 + bytes.length));
    assert.equal(await readPartitionTable(inside), await readPartitionTable(bytesSource(bytes)));
    assert.equal(await findSuperblocks(inside), await findSuperblocks(bytesSource(bytes)));
  });
});

test.run();
