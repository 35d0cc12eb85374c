/**
 * The library as an embedding program has it: `bun in-process.ts ROOT HELD`. Holds HELD bytes, and for each line on
 * its standard input spawns /bin/true in ROOT, and prints the nanoseconds until it is reaped.
 */
import process from 'node:process';
import { createInterface } from 'node:readline';
import { spawn } from '../src/index.ts';

const [directory = '', held = '0'] = process.argv.slice(2);

/** Written to, so that it takes real memory. */
const ballast = new Uint8Array(Number(held)).fill(1);

for await (const _ of createInterface({ input: process.stdin })) {
  const start = process.hrtime.bigint();
  const container = await spawn({ directory, command: ['/bin/true'], register: false, keepUnit: true });
  await container.exited;
  console.log(String(process.hrtime.bigint() - start));
}
process.exit(ballast.length === Number(held) ? 0 : 1);
