/**
 * Tells what an image file holds: its partition table, and what is in each partition; or the file system it is.
 *
 *     bun examples/gpt-inspect.ts disk.img
 */
import { fstatSync, openSync, readSync } from 'node:fs';
import process from 'node:process';
import { type ByteSource, readPartitionTable, readSuperblock, section } from '../gpt/index.ts';

const [path] = process.argv.slice(2);
if (path === undefined) throw new Error('Which file? Give its path.');
const file = openSync(path, 'r');
const image: ByteSource = {
  size: fstatSync(file).size,
  read(offset, length) {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
  },
};

async function contents(source: ByteSource): Promise<string> {
  try {
    const { type = 'nothing known', label = '', uuid = '' } = (await readSuperblock(source)) ?? {};
    return [type, label && `"${label}"`, uuid].filter(Boolean).join(' ');
  } catch (error) {
    return (error as Error).message;
  }
}

const table = await readPartitionTable(image);
if (!table) console.log(`${path}: ${await contents(image)}`);
if (table) console.log(`${path}: ${table.kind} ${table.id}, sectors of ${table.sectorSize} bytes`);
for (const fault of table?.faults ?? []) console.log(`  ! ${fault}`);
for (const { number, offset, size, typeName = 'of a type without a name' } of table?.partitions ?? []) {
  console.log(`  ${number}: ${typeName}, ${size} bytes at ${offset}: ${await contents(section(image, offset, size))}`);
}
