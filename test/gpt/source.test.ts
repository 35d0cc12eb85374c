/** Sources of every kind: memory, a file, ranges over HTTP, parts of one, and some that lie. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ByteSource,
  bytesSource,
  encodeGpt,
  type GptTable,
  readPartitionTable,
  readSuperblock,
  ShortReadError,
  section,
} from '../../gpt/index.ts';
import { squashfs } from './crafted.ts';
import { MIB } from './support.ts';

/** A disk with a squashfs in its second partition. */
function disk(): Uint8Array {
  const bytes = new Uint8Array(4 * MIB);
  const partitions = [
    { type: 'esp', size: MIB },
    { type: 'usr-x86-64', size: MIB },
  ];
  for (const { offset, bytes: chunk } of encodeGpt({ size: bytes.length, partitions })) bytes.set(chunk, offset);
  bytes.set(squashfs(), 2 * MIB);
  return bytes;
}

/** Counts what is read of a source. */
function counted(source: ByteSource): ByteSource & { reads: [offset: number, length: number][] } {
  const reads: [number, number][] = [];
  return {
    size: source.size,
    reads,
    read(offset, length) {
      reads.push([offset, length]);
      return source.read(offset, length);
    },
  };
}

async function readUsr(source: ByteSource): Promise<string | undefined> {
  const table = (await readPartitionTable(source)) as GptTable;
  const { offset, size } = table.partitions.find(({ designator }) => designator === 'usr')!;
  return (await readSuperblock(section(source, offset, size)))?.type;
}

test('memory', async () => {
  assert.is(await readUsr(bytesSource(disk())), 'squashfs');
});

test('ranges over HTTP', async () => {
  const bytes = disk();
  const server = createServer((request, response) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')!;
    response.writeHead(206).end(bytes.subarray(Number(from), Number(to) + 1));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  try {
    const source: ByteSource = {
      size: bytes.length,
      async read(offset, length) {
        const response = await fetch(url, { headers: { range: `bytes=${offset}-${offset + length - 1}` } });
        return new Uint8Array(await response.arrayBuffer());
      },
    };
    assert.is(await readUsr(source), 'squashfs');
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('a table takes one read, and a superblock a few', async () => {
  const source = counted(bytesSource(disk()));
  await readPartitionTable(source);
  assert.equal(source.reads, [[0, 34 * 512]]);
  const partition = counted(section(source, 2 * MIB, MIB));
  await readSuperblock(partition);
  const total = partition.reads.reduce((sum, [, length]) => sum + length, 0);
  assert.ok(partition.reads.length <= 3 && total <= 80 * 1024, JSON.stringify(partition.reads));
});

test('a part of a source ends where the source ends', async () => {
  const source = bytesSource(Uint8Array.from({ length: 100 }, (_, index) => index));
  assert.equal([section(source, 90, 50).size, section(source, 200, 50).size], [10, 0]);
  assert.equal(await section(section(source, 20, 50), 10, 5).read(1, 2), Uint8Array.of(31, 32));
  assert.is(section({ ...source, sectorSize: 4096 }, 0, 10).sectorSize, 4096);
});

test('a source that gives too little is an error', async () => {
  const source: ByteSource = { size: MIB, read: (_, length) => new Uint8Array(length - 1) };
  for (const reader of [readPartitionTable, readSuperblock]) {
    const error = await reader(source).catch(error => error);
    assert.instance(error, ShortReadError);
    assert.match(error.message, /^reading \d+ bytes at 0: \d+ came, though the size is 1048576$/);
  }
});

test("a source's own errors come through", async () => {
  const failure = new Error('the cable is unplugged');
  const source: ByteSource = { size: MIB, read: () => Promise.reject(failure) };
  assert.is(await readPartitionTable(source).catch(error => error), failure);
});

test.run();
