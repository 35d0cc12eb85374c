/** Node streams of raw descriptors. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { pipeline } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FdReadable, readableFrom } from '../../src/streams/readable.ts';
import { writableTo } from '../../src/streams/writable.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { openPty } from '../../syscalls/tty.ts';
import { endingOf, eventually, openDescriptors, pipe, printedChecker, printing, runOn, textOf } from './support.ts';

const MB = 1_000_000;

/** Reads what `printing` prints, slowly; returns by how much memory grew meanwhile. */
async function readSlowly(stream: AsyncIterable<Uint8Array>, bytes: number): Promise<number> {
  const checker = printedChecker();
  const before = process.memoryUsage.rss();
  let growth = 0;
  for await (const chunk of stream) {
    checker.check(chunk);
    await setTimeout(1);
    growth = Math.max(growth, process.memoryUsage.rss() - before);
  }
  assert.is(checker.total(), bytes);
  return growth;
}

test('a pipe: 50 MB through a slow reader, whole, in bounded memory', async () => {
  const { read, write } = pipe();
  const child = spawn('sh', ['-c', printing(50 * MB)], { stdio: ['ignore', write, 'inherit'] });
  closeFd(write);
  const growth = await readSlowly(readableFrom(read), 50 * MB);
  assert.ok(growth < 50 * MB, `memory grew by ${growth} bytes`);
  assert.is(await endingOf(child), 0);
});

test('a pseudo-terminal: 50 MB through a slow reader, and finish() while much is left', async () => {
  const { master, slave } = openPty();
  const child = runOn(slave.fd, `stty raw; ${printing(50 * MB)}`);
  const stream = readableFrom(master.fd);
  child.on('exit', () => stream.finish());
  const growth = await readSlowly(stream, 50 * MB);
  assert.ok(growth < 50 * MB, `memory grew by ${growth} bytes`);
  slave[Symbol.dispose]();
});

test('nobody reads: the writer has to wait', async () => {
  const { read, write } = pipe();
  const child = spawn('sh', ['-c', printing(2 * MB)], { stdio: ['ignore', write, 'inherit'] });
  closeFd(write);
  const stream = readableFrom(read);
  await once(stream, 'readable');
  await setTimeout(200); // Time enough for it to end, if it could.
  assert.is(child.exitCode, null);
  const checker = printedChecker();
  for await (const chunk of stream) checker.check(chunk);
  assert.is(checker.total(), 2 * MB);
});

test('a piece of a few bytes holds no large buffer, or many of them would fill the memory', async () => {
  const { read, write } = pipe();
  const stream = readableFrom(read);
  writeSync(write, 'x');
  const [piece] = (await once(stream, 'data')) as [Buffer];
  stream.destroy();
  closeFd(write);
  assert.is(piece.length, 1);
  assert.ok(piece.buffer.byteLength <= Buffer.poolSize, `${piece.buffer.byteLength} bytes are held`);
});

test('a console that is closed and opened again goes on, until finish()', async () => {
  const { master, slave } = openPty();
  const stream = readableFrom(master.fd);
  const text = textOf(stream);
  for (const word of ['one', 'two', 'three']) assert.is(await endingOf(runOn(slave.fd, `echo ${word}`)), 0);
  stream.finish();
  assert.is(await text, 'one\r\ntwo\r\nthree\r\n');
  slave[Symbol.dispose]();
});

test('finish() ends a pipe that somebody still holds open, after what is in it', async () => {
  const { read, write } = pipe();
  const stream = readableFrom(read);
  writeSync(write, 'left');
  stream.finish();
  assert.is(await textOf(stream), 'left');
  closeFd(write);
});

test('fifty idle streams occupy nothing that others need, and each gets what is its own', async () => {
  const pipes = Array.from({ length: 50 }, pipe);
  const texts = pipes.map(({ read }) => textOf(readableFrom(read)));
  await setTimeout(20);
  assert.ok((await readFile('/proc/self/stat')).length > 0, 'the thread pool is free');
  const writers = pipes.map(({ write }) => writableTo(write));
  for (const i of pipes.keys()) writers[(i * 7) % 50]!.end(`number ${(i * 7) % 50}`);
  assert.equal(
    await Promise.all(texts),
    pipes.map((_, i) => `number ${i}`),
  );
});

test('a writer: 50 MB into a slow reader, whole', async () => {
  const { read, write } = pipe();
  const child = spawn(
    'sh',
    ['-c', 'while dd bs=1M count=4 iflag=fullblock 2>/dev/null | grep -c ""; do sleep 0.01; done'],
    {
      stdio: [read, 'pipe', 'inherit'],
    },
  );
  closeFd(read);
  const lines = Buffer.from(
    'a line of sixteen'
      .slice(0, 15)
      .concat('\n')
      .repeat(MB / 16),
  );
  let highest = 0;
  async function* input() {
    for (let i = 0; i < 50; i++) {
      yield lines;
      highest = Math.max(highest, writer.writableLength);
    }
  }
  const writer = writableTo(write);
  const counts = textOf(child.stdout!);
  await pipeline(input, writer);
  const total = (await counts).split('\n').reduce((sum, count) => sum + Number(count), 0);
  assert.is(total, 50 * (MB / 16));
  assert.ok(highest <= 2 * MB, `${highest} bytes were queued`);
});

test('writing what nobody reads any more fails with EPIPE', async () => {
  const { read, write } = pipe();
  closeFd(read);
  const writer = writableTo(write);
  writer.write('x');
  const [error] = await once(writer, 'error');
  assert.is(error.code, 'EPIPE');
});

test('keys written to a master reach the program on its console', async () => {
  const { master, slave } = openPty();
  const child = runOn(slave.fd, 'stty -echo; read line; echo "got $line"');
  const writer = writableTo(master.fd);
  writer.write('hello\n');
  assert.is(await endingOf(child), 0);
  // It may come in pieces, and after an echo: the keys can be faster than stty.
  let output = '';
  const buffer = Buffer.alloc(64);
  while (!output.includes('got hello')) output += buffer.toString('utf8', 0, readSync(master.fd, buffer));
  writer.destroy();
  slave[Symbol.dispose]();
});

test('a stream closes its descriptor once, however it ends, and leaves nothing behind', async () => {
  const before = openDescriptors();
  const ways: ((stream: FdReadable, write: number) => void)[] = [
    (_, write) => closeFd(write),
    stream => stream.finish(),
    stream => stream.destroy(),
    stream => stream.destroy(new Error('enough')),
  ];
  for (const end of ways) {
    const { read, write } = pipe();
    const stream = readableFrom(read).resume();
    const closed = new Promise(resolve => {
      stream.on('error', () => {}).on('close', resolve);
    });
    await setTimeout(1);
    end(stream, write);
    await closed;
    // The number is free again: whatever gets it now must not be closed by the old stream.
    const other = pipe();
    assert.is(other.read, read);
    stream.destroy();
    stream.finish();
    await setTimeout(1);
    assert.is(writeSync(other.write, 'x'), 1);
    closeFd(other.read);
    closeFd(other.write);
    if (end !== ways[0]) closeFd(write);
  }
  await eventually('all is closed', () => openDescriptors().length <= before.length);
  assert.equal(openDescriptors(), before);
});

test.run();
