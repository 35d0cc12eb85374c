/** The socket that nspawn itself talks to the kernel by, and `subscribe` over it. */
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Change,
  Connection,
  deleteLink,
  dumpLinks,
  getLink,
  type Lost,
  newAddress,
  newLink,
  parsePrefix,
  setLink,
  subscribe,
} from '../../netlink/index.ts';
import { owned } from '../../syscalls/fd.ts';
import { makeNetlinkSocket, openNetlink } from '../../syscalls/netlink-socket.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { needs, root } from '../support/needs.ts';

const it = needs([root]);
const name = `t${process.pid}own`;

/** Does something while there is a link, beside those of others. */
async function withLink(work: (connection: Connection, index: number) => Promise<void>): Promise<void> {
  using connection = new Connection(openNetlink());
  connection.execute(newLink({ kind: 'bridge', name }));
  try {
    await work(connection, connection.get(getLink(name)).index);
  } finally {
    connection.execute(deleteLink(name));
  }
}

/** Those of a link and its addresses, in short. */
function describe(event: Change<'link' | 'address'> | Lost, index: number): string | undefined {
  if (event.topic === 'lost') return 'lost';
  if (event.object.index !== index) return undefined;
  return `${event.change} ${event.topic === 'link' ? `mtu ${event.object.mtu}` : event.object.address}`;
}

it('lists links', () =>
  withLink(async (connection, index) => {
    const own = connection.dump(dumpLinks()).filter(link => link.index === index);
    assert.equal(
      own.map(link => [link.name, link.kind]),
      [[name, 'bridge']],
    );
  }));

it('tells of changes as they happen, until it is closed', () =>
  withLink(async (connection, index) => {
    const events = subscribe(openNetlink(), ['link', 'address']);
    connection.execute(setLink(index, { mtu: 1400 }));
    // Nothing is there to read when it waits for this.
    setTimeout(() => connection.execute(newAddress({ index, ...parsePrefix('10.77.3.4/32') })), 20);
    const seen: string[] = [];
    for await (const event of events) {
      const words = describe(event, index);
      if (words) seen.push(words);
      if (words === 'new 10.77.3.4') setTimeout(() => events.close(), 20);
    }
    assert.ok(seen.includes('new mtu 1400'), seen.join(', '));
  }));

it('tells of changes that it had no room for', () =>
  withLink(async (connection, index) => {
    const socket = owned(perform(makeNetlinkSocket));
    const [SOL_SOCKET, SO_RCVBUF] = [1, 8];
    syscall('setsockopt', socket.fd, SOL_SOCKET, SO_RCVBUF, new Uint8Array(new Int32Array([1]).buffer), 4);
    const events = subscribe(openNetlink(socket), ['link', 'address']);
    for (let round = 0; round < 50; round++) connection.execute(setLink(index, { mtu: 1000 + round }));
    let last: string | undefined;
    for await (const event of events) {
      last = describe(event, index);
      if (last === 'lost') break;
    }
    assert.is(last, 'lost');
  }));

test.run();
