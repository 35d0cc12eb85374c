/** Interfaces of the host that are lent to a container come back with their names. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addAltNames, deleteLink, getLink, newLink, setLink, setLinkUp } from '../../netlink/index.ts';
import type { SpawnOptions } from '../../src/index.ts';
import { run, startError, unchanging } from '../container/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import { host, hostLinks, inside, isGone, linksInside, start, unique } from './support.ts';

const it = needs([root, busybox]);
const [lent, other] = [unique('a'), unique('b')];

/** Does something while the host has a veth pair, of which `lent` can be lent. */
async function withPair(work: (macAddress: string) => Promise<void>): Promise<void> {
  using connection = host();
  connection.execute(newLink({ kind: 'veth', name: lent, data: { peer: { name: other } } }));
  connection.execute(setLinkUp(lent));
  try {
    await work(connection.get(getLink(lent)).address!);
  } finally {
    connection.execute(deleteLink(other));
  }
}
const quiet = { ...unchanging(busyboxTree()), resolvConf: 'off', timezone: 'off' } as const;
const shell = (script: string) => run({ ...quiet, networkInterfaces: [lent], command: ['/bin/sh', '-c', script] });

for (const name of [lent, 'lan0']) {
  it(`is in the container as ${name === lent ? 'it is called' : name} and comes back`, () =>
    withPair(async address => {
      {
        await using container = await start({ networkInterfaces: [name === lent ? lent : `${lent}:${name}`] });
        assert.equal(
          linksInside(container).map(link => [link.name, link.address]),
          [[name, address]],
        );
        assert.ok(isGone(lent));
      }
      assert.is(hostLinks(lent)[lent]?.address, address);
    }));
}

it('comes back from a user namespace, also renamed', () =>
  withPair(async address => {
    const users: SpawnOptions = { privateUsers: { base: 0x3a5b0000, count: 65536 }, usersOwnership: 'map' };
    const command = ['/bin/sh', '-c', `ip link set ${lent} name eth7 && ip link set eth7 up && ip link show eth7`];
    const { stdout, log } = await run({ ...quiet, ...users, networkInterfaces: [lent], command });
    assert.match(stdout, address);
    assert.equal(
      log.filter(line => line.startsWith('warn')),
      [],
    );
    assert.is(hostLinks(lent)[lent]?.address, address);
  }));

it('comes back when the start fails', () =>
  withPair(async address => {
    const no = unique('no');
    const failures: [SpawnOptions, RegExp][] = [
      [{ command: ['/etc/passwd'] }, /^running \/etc\/passwd in the container: /],
      // Of the two, the second can't be had.
      [
        { networkInterfaces: [`${lent}:lan0`, no] },
        new RegExp(`^moving the network interface ${no} into the container: .*No such device \\(ENODEV\\)$`),
      ],
      [{ networkInterfaces: [`${lent}:lo`] }, /^moving .* as lo: .*File exists \(EEXIST\)$/],
    ];
    for (const [options, error] of failures) {
      const message = await startError({ ...quiet, command: ['/bin/true'], networkInterfaces: [lent], ...options });
      assert.match(message, error);
      assert.is(hostLinks(lent)[lent]?.address, address);
    }
  }));

it('comes back with its name when the container has given it another', () =>
  withPair(async address => {
    const { log } = await shell(`ip link set ${lent} down; ip link set ${lent} name eth7 && ip link set eth7 up`);
    assert.equal(
      log.filter(line => line.startsWith('warn')),
      [],
    );
    assert.is(hostLinks(lent)[lent]?.address, address);
  }));

it('comes back without those further names that the host has by then', () =>
  withPair(async address => {
    const [free, theirs] = [unique('free'), unique('theirs')];
    using connection = host();
    connection.execute(addAltNames(other, [theirs]));
    {
      await using container = await start({ networkInterfaces: [lent] });
      using namespace = inside(container);
      using within = namespace.connect();
      within.execute(addAltNames(lent, [free, theirs, 'lo'.repeat(9)]));
    }
    const back = hostLinks(lent)[lent];
    assert.equal([back?.address, back?.altNames], [address, [free, 'lo'.repeat(9)]]);
  }));

it('comes back with another name when its own is taken, and that is said', () =>
  withPair(async address => {
    using connection = host();
    for (const name of [lent, 'lan0']) {
      const container = await start({ networkInterfaces: [name === lent ? lent : `${lent}:${name}`] });
      connection.execute(newLink({ kind: 'bridge', name: lent }));
      await container[Symbol.asyncDispose]();
      connection.execute(deleteLink(lent));
      const back = Object.values(hostLinks('')).find(link => link.address === address)!;
      assert.ok(back, 'it is not back');
      connection.execute(setLink(back.index, { name: lent }));
    }
    const { log } = await shell(`ip link delete ${lent}`).finally(() => {
      connection.execute(newLink({ kind: 'veth', name: lent, data: { peer: { name: other } } }));
    });
    const warning = `warn: the network interface ${lent} cannot be given back: the container has deleted it, or moved`;
    assert.ok(
      log.some(line => line.startsWith(warning)),
      log.join('\n'),
    );
  }));

test.run();
