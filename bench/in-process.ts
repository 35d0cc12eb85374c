/**
 * The library as an embedding program has it that has run for a while: `bun in-process.ts ROOT HELD WAY`. Holds HELD
 * bytes, and for each line on its standard input runs /bin/true in ROOT in one of WAYS, and prints the nanoseconds
 * until it is reaped.
 */
import { openSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { type SpawnOptions, sandbox, spawn } from '../src/index.ts';
import type { Way } from './cases.ts';

const [directory = '', held = '0', way = 'spawn'] = process.argv.slice(2);

/** Containers that are run before: by then the engine has compiled what is used each time. */
const EARLIER = 300;

/** The other programs have it for standard streams, too. */
const nothing = openSync('/dev/null', 'r+');

async function container(options: SpawnOptions): Promise<void> {
  const common = {
    directory,
    command: ['/bin/true'],
    register: false,
    stdio: [nothing, nothing, nothing] as const,
    keepUnit: true,
  };
  const { exited } = await spawn({ ...common, ...options });
  await exited;
}

const WAYS: Record<Way, () => Promise<unknown>> = {
  spawn: () => container({}),
  users: () => container({ privateUsers: { base: 655360, count: 65536 }, usersOwnership: 'map' }),
  sandbox: () => sandbox({ directory, command: ['/bin/true'], keepUnit: true }),
};

/** Written to, so that it takes real memory. */
const ballast = new Uint8Array(Number(held)).fill(1);

let earlier = 0;
for await (const _ of createInterface({ input: process.stdin })) {
  // Not before it is asked: one tree has one container at a time.
  for (; earlier < EARLIER; earlier++) await WAYS[way as Way]();
  const start = process.hrtime.bigint();
  await WAYS[way as Way]();
  console.log(String(process.hrtime.bigint() - start));
}
process.exit(ballast.length === Number(held) ? 0 : 1);
