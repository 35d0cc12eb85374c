/** Containers with network interfaces, whose names are those of this test alone. */
import process from 'node:process';
import * as assert from 'uvu/assert';
import { Connection, dumpLinks, getLink, KernelError, type Link, newAddress, setLinkUp } from '../../netlink/index.ts';
import type { Container, SpawnOptions } from '../../src/index.ts';
import { readHostId } from '../../src/plan/interface-names.ts';
import { openNetlink } from '../../syscalls/netlink-socket.ts';
import { idle, unchanging } from '../container/support.ts';
import { Namespace } from '../netlink/namespace.ts';
import type { Need } from '../support/needs.ts';
import { busyboxTree } from '../support/tree.ts';

/** MAC addresses are made from it. */
export const machineId: Need = () => {
  try {
    readHostId();
    return undefined;
  } catch {
    return 'this machine has no machine id';
  }
};

/** A name that no other test uses at the same time; at most 15 characters with up to six more. */
export const unique = (end: string): string => `t${process.pid}${end}`;

/** This process's network namespace. */
export const host = (): Connection => new Connection(openNetlink());

/** Starts a container that does nothing on a tree of which nothing changes. */
export const start = (options: SpawnOptions): Promise<Container> =>
  idle({ ...unchanging(busyboxTree()), machine: unique('m'), resolvConf: 'off', timezone: 'off', ...options });

/** A container's network namespace. */
export const inside = ({ pid }: Container): Namespace => Namespace.ofProcess(pid);

/** The host's interfaces with these names at their beginnings, by name. */
export function hostLinks(...beginnings: string[]): Record<string, Link> {
  using connection = host();
  const links = connection.dump(dumpLinks()).filter(({ name }) => beginnings.some(each => name.startsWith(each)));
  return Object.fromEntries(links.map(link => [link.name, link]));
}

/** The names of a container's interfaces, but for those that each namespace has. */
export function linksInside(container: Container): Link[] {
  using namespace = inside(container);
  using connection = namespace.connect();
  const links = connection.dump(dumpLinks());
  return links.filter(({ kind, index }) => index !== 1 && !['sit', 'ipip', 'ip6tnl', 'gre'].includes(kind ?? ''));
}

/** An address of each family, the same but for its last number. */
export const addresses = (last: number) => [
  { address: `10.77.0.${last}`, prefixLength: 24 },
  { address: `fd77::${last}`, prefixLength: 64, flags: ['nodad' as const] },
];

/** Brings a container's interface up with such addresses. */
export function setUp(container: Container, name: string, last: number): void {
  using namespace = inside(container);
  using connection = namespace.connect();
  const { index } = connection.get(getLink(name));
  for (const each of addresses(last)) connection.execute(newAddress({ index, ...each }));
  connection.execute(setLinkUp(index));
}

/** Fails unless a container's addresses answer another container. */
export function reaches(container: Container, last: number): void {
  using namespace = inside(container);
  for (const { address } of addresses(last)) {
    const output = namespace.run('ping', '-n', '-c', '1', '-W', '10', address);
    assert.match(output, `bytes from ${address}`);
  }
}

/** Whether the host has no interface of this name any more. */
export function isGone(name: string): boolean {
  using connection = host();
  try {
    connection.get(getLink(name));
    return false;
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ENODEV') return true;
    throw error;
  }
}
