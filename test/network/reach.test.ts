/** Containers reach each other over the links that they are given. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deleteLink, dumpLinks, getLink, newLink, setLinkUp } from '../../netlink/index.ts';
import type { Container, SpawnOptions } from '../../src/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { host, hostLinks, inside, isGone, linksInside, machineId, reaches, setUp, start, unique } from './support.ts';

const it = needs([root, busybox, machineId, tool('ping'), tool('nsenter')]);

/** Names of a container's own interfaces, in their order. */
const namesInside = (container: Container) =>
  linksInside(container)
    .map(({ name }) => name)
    .sort();

/** Starts two containers, which reach each other by interfaces of these names. */
async function reachEachOther(options: SpawnOptions, name: string): Promise<void> {
  await using first = await start({ ...options, machine: unique('m1') });
  await using second = await start({ ...options, machine: unique('m2') });
  setUp(first, name, 1);
  setUp(second, name, 2);
  reaches(first, 2);
  reaches(second, 1);
}

it('on a bridge', async () => {
  using connection = host();
  const bridge = unique('br');
  connection.execute(newLink({ kind: 'bridge', name: bridge, up: true }));
  try {
    await reachEachOther({ networkBridge: bridge }, 'host0');
    assert.not.ok(isGone(bridge), 'it is not ours to remove');
  } finally {
    connection.execute(deleteLink(bridge));
  }
});

it('in a zone, whose bridge comes and goes with them', async () => {
  const zone = unique('z');
  await reachEachOther({ networkZone: zone }, 'host0');
  assert.ok(isGone(`vz-${zone}`));

  const first = await start({ networkZone: zone, machine: unique('m1') });
  const second = await start({ networkZone: zone, machine: unique('m2') });
  const bridge = hostLinks(`vz-${zone}`)[`vz-${zone}`]!;
  assert.is(bridge.kind, 'bridge');
  const ports = Object.values(hostLinks(`vb-${unique('m')}`));
  assert.equal(
    ports.map(({ master, flags }) => [master, flags.includes('UP')]),
    [
      [bridge.index, true],
      [bridge.index, true],
    ],
  );
  await first[Symbol.asyncDispose]();
  assert.is(hostLinks(`vz-${zone}`)[bridge.name]?.index, bridge.index, 'the second one is still on it');
  await second[Symbol.asyncDispose]();
  assert.ok(isGone(bridge.name));
});

it('a zone is not taken from those that others have put into it', async () => {
  using connection = host();
  const zone = unique('z');
  const guest = unique('g');
  {
    await using _ = await start({ networkZone: zone });
    const { index } = connection.get(getLink(`vz-${zone}`));
    connection.execute(newLink({ kind: 'veth', name: guest, master: index, data: { peer: { name: `${guest}p` } } }));
  }
  assert.not.ok(isGone(`vz-${zone}`));
  connection.execute(deleteLink(guest));
  // Whoever has a zone next clears up.
  {
    await using _ = await start({ networkZone: unique('y') });
    assert.ok(isGone(`vz-${zone}`));
  }
  assert.ok(isGone(`vz-${unique('y')}`));
});

it('by macvlans on one interface of the host', async () => {
  using connection = host();
  const [parent, peer] = [unique('a'), unique('b')];
  connection.execute(newLink({ kind: 'veth', name: parent, data: { peer: { name: peer } } }));
  try {
    for (const name of [parent, peer]) connection.execute(setLinkUp(name));
    await reachEachOther({ networkMacvlans: [parent] }, `mv-${parent}`);
    await reachEachOther({ networkMacvlans: [`${parent}:lan0`] }, 'lan0');
  } finally {
    connection.execute(deleteLink(parent));
  }
});

it('by extra links, whose ends have the names that were asked for', async () => {
  const [one, two] = [unique('x'), unique('y')];
  {
    await using container = await start({ networkVethExtra: [`${one}:in0`, two], networkVeth: true });
    assert.equal(namesInside(container), ['host0', 'in0', two].sort());
    assert.equal(Object.keys(hostLinks(unique(''))).sort(), [one, two].sort());
  }
  assert.ok(isGone(one) && isGone(two) && isGone(`ve-${unique('m')}`));
});

it('goes at the end, also when somebody holds the container’s namespace', async () => {
  using connection = host();
  const parent = unique('a');
  connection.execute(newLink({ kind: 'veth', name: parent, data: { peer: { name: unique('b') } } }));
  try {
    const container = await start({ networkVeth: true, networkMacvlans: [`${parent}:lan0`] });
    assert.equal(namesInside(container), ['host0', 'lan0']);
    using held = inside(container);
    await container[Symbol.asyncDispose]();
    using there = held.connect();
    assert.equal(
      there.dump(dumpLinks()).filter(({ name }) => ['host0', 'lan0'].includes(name)),
      [],
    );
    assert.ok(isGone(`ve-${unique('m')}`));
  } finally {
    connection.execute(deleteLink(parent));
  }
});

test.run();
