/**
 * The library as an embedding program has it: `bun in-process.ts ROOT HELD [users]`. Holds HELD bytes, and for each line
 * on its standard input spawns /bin/true in ROOT, with users of its own if asked, and prints the nanoseconds until it is
 * reaped.
 */
import process from 'node:process';
import { createInterface } from 'node:readline';
import { type SpawnOptions, spawn } from '../src/index.ts';

const [directory = '', held = '0', users] = process.argv.slice(2);
const own: SpawnOptions = users ? { privateUsers: { base: 655360, count: 65536 }, usersOwnership: 'map' } : {};

/** Written to, so that it takes real memory. */
const ballast = new Uint8Array(Number(held)).fill(1);

for await (const _ of createInterface({ input: process.stdin })) {
  const start = process.hrtime.bigint();
  const container = await spawn({ directory, command: ['/bin/true'], register: false, keepUnit: true, ...own });
  await container.exited;
  console.log(String(process.hrtime.bigint() - start));
}
process.exit(ballast.length === Number(held) ? 0 : 1);
