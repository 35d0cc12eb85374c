/** A program that spawns thousands of containers stays as small as it was. */
import { openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Container, spawn } from '../../src/index.ts';
import { shell } from '../library/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';

const CONTAINERS = 5000;
const WARM_UP = 500;
const AT_A_TIME = 5;
const MB = 1 << 20;

const command = ['/bin/true'];
const nothing = openSync('/dev/null', 'r+');

async function toItsEnd(container: Container): Promise<void> {
  container.stdout?.resume();
  container.stderr?.resume();
  assert.equal(await container.exited, { exitStatus: 0 });
}

/** What programs do with containers, in turn. */
const USES: (() => Promise<unknown>)[] = [
  async () => toItsEnd(await spawn(shell('', { command }))),
  async () => toItsEnd(await spawn(shell('', { command, stdio: [nothing, nothing, nothing] }))),
  async () => toItsEnd(await spawn(shell('', { command, stdio: 'pty' }))),
  // Nobody reads what it prints.
  async () => await (await spawn(shell('echo out; echo err >&2'))).exited,
  async () => await (await spawn(shell('', { command, stdio: 'pty' }))).exited,
  async () => {
    await using _ = await spawn(shell('', { command: ['/bin/sleep', '1000'] }));
  },
  () => spawn(shell('', { command: ['/no/such/program'] })).catch(() => {}),
];

async function spawnMany(count: number): Promise<void> {
  let next = 0;
  const some = async () => {
    while (next < count) await USES[next++ % USES.length]!();
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, some));
}

const isArena = (kind: string) => kind.includes('nspawn-arena');

interface Size {
  descriptors: string[];
  mappings: number;
  memory: number;
  listeners: number;
}

/** This process's size once all is quiet. */
async function size(): Promise<Size> {
  await setTimeout(200);
  Bun.gc(true);
  await setTimeout(200);
  Bun.gc(true);
  return {
    // Numbers and inodes differ from one to the next.
    descriptors: readdirSync('/proc/self/fd').map(kindOf).sort(),
    mappings: readFileSync('/proc/self/maps', 'utf8').split('\n').length,
    memory: process.memoryUsage.rss(),
    listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
  };
}

function kindOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, 'N');
  } catch {
    return '/proc/N/fd'; // The one that has read the directory.
  }
}

needs([root, busybox])(
  `${CONTAINERS} containers leave no descriptor, no listener, no mapping and no memory`,
  async () => {
    await spawnMany(WARM_UP);
    const before = await size();
    await spawnMany(CONTAINERS);
    const after = await size();
    const others = ({ descriptors }: Size) => descriptors.filter(each => !isArena(each));
    assert.equal(others(after), others(before));
    // Up to four are kept for other agents, and the janitor has one: arena.ts.
    assert.ok(after.descriptors.filter(isArena).length <= 5, after.descriptors.join());
    assert.is(after.listeners, before.listeners);
    // The runtime's own heap comes and goes: a page for each container is 20 MB.
    const grown = (after.memory - before.memory) / MB;
    assert.ok(grown < 20, `memory has grown by ${grown.toFixed(1)} MB from ${(before.memory / MB).toFixed(1)} MB`);
    assert.ok(after.mappings < before.mappings + 100, `from ${before.mappings} to ${after.mappings} mappings`);
    if (process.env['SHOW']) console.log(before, after);
  },
);

test.run();
