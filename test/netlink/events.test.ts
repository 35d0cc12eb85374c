/** Events: links, addresses, routes and neighbours that come and go. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Change,
  deleteLink,
  type Lost,
  MalformedMessageError,
  newAddress,
  newLink,
  parsePrefix,
  setLink,
  subscribe,
  type Topics,
} from '../../netlink/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { datagram, done, FakeKernel, link, socketError } from './fake-kernel.ts';
import { Namespace } from './namespace.ts';

/** The next `count` events, in short. */
async function take(events: AsyncIterable<Change | Lost>, count: number): Promise<string[]> {
  const taken: string[] = [];
  for await (const event of events) {
    taken.push(describe(event));
    if (taken.length === count) break;
  }
  return taken;
}

function describe(event: Change | Lost): string {
  if (event.topic === 'lost') return 'lost';
  const words: { [K in keyof Topics]: (object: Topics[K]) => string | undefined } = {
    link: object => object.name,
    address: object => `${object.address}/${object.prefixLength}`,
    route: object => object.destination,
    neighbour: object => object.address,
  };
  return `${event.change} ${event.topic} ${words[event.topic](event.object as never)}`;
}

const deleted = (name: string) => ({ ...link(0, name), type: 17 });

test('the groups of the topics are joined at once, and events come as they happen', async () => {
  const kernel = new FakeKernel();
  const events = subscribe(kernel, ['link', 'address']);
  assert.equal(kernel.options, [
    [1, 1],
    [1, 5],
    [1, 9],
  ]);
  kernel.emit(datagram(link(0, 'a'), link(0, 'b')));
  setTimeout(() => kernel.emit(datagram(deleted('a'))), 1);
  assert.equal(await take(events, 3), ['new link a', 'new link b', 'delete link a']);
  assert.ok(kernel.isClosed, 'the end of the loop closes the socket');
});

test('lost events are told, and interrupted calls made again', async () => {
  const kernel = new FakeKernel();
  const events = subscribe(kernel, ['link']);
  kernel.emit(datagram(link(0, 'a')), socketError('ENOBUFS'), socketError('EINTR'), datagram(link(0, 'b')));
  assert.equal(await take(events, 3), ['new link a', 'lost', 'new link b']);
});

test('messages of other topics, and those of a bridge about its ports, are passed over', async () => {
  const kernel = new FakeKernel();
  const port = datagram(deleted('port'));
  port[16] = 7;
  kernel.emit(datagram(done(0), { type: 20, sequence: 0 }), port, datagram(link(0, 'a')));
  assert.equal(await take(subscribe(kernel, ['link']), 1), ['new link a']);
});

test('closing ends the waiting for events', async () => {
  const kernel = new FakeKernel();
  const events = subscribe(kernel, ['link']);
  setTimeout(() => events.close(), 1);
  assert.equal(await take(events, 1), []);
  {
    using _other = subscribe(new FakeKernel(), ['link']);
  }
});

test('malformed events and errors of the socket end it with an error', async () => {
  for (const [item, expected] of [
    [datagram(link(0, 'a')).subarray(0, 30), MalformedMessageError],
    [socketError('EBADF'), Error],
  ] as const) {
    const kernel = new FakeKernel();
    kernel.emit(item);
    try {
      await take(subscribe(kernel, ['link']), 1);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, expected);
    }
    assert.ok(kernel.isClosed);
  }
});

const run = needs([root, tool('ip'), tool('nsenter')]);

run('the kernel tells of links and addresses, those that ip makes too', async () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  const events = subscribe(namespace.socket(), ['link', 'address']);
  connection.execute(newLink({ kind: 'veth', name: 've0', index: 20, data: { peer: { name: 've1', index: 21 } } }));
  connection.execute(newAddress({ index: 20, ...parsePrefix('10.1.2.3/24') }));
  namespace.ip('addr add 10.1.2.4/32 dev ve1');
  connection.execute(setLink(20, { name: 'host0' }));
  connection.execute(deleteLink('host0'));
  const expected = [
    'new link ve0',
    'new address 10.1.2.3/24',
    'new address 10.1.2.4/32',
    'new link host0',
    'delete address 10.1.2.3/24',
    'delete link ve1',
    'delete link host0',
  ];
  const seen: string[] = [];
  for await (const event of events) {
    seen.push(describe(event));
    if (expected.every(line => seen.includes(line))) break;
  }
  const inOrder = seen.filter((line, index) => expected.includes(line) && seen.indexOf(line) === index);
  assert.equal(inOrder.slice(0, 4), expected.slice(0, 4));
});

run('a link that leaves a bridge is not told as a link that went', async () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  connection.execute(newLink({ kind: 'bridge', name: 'br0', index: 30 }));
  connection.execute(newLink({ kind: 'veth', name: 've0', index: 20, master: 30 }));
  const events = subscribe(namespace.socket(), ['link']);
  connection.execute(setLink('ve0', { master: 0 }));
  connection.execute(deleteLink('br0'));
  const seen: string[] = [];
  for await (const event of events) {
    seen.push(describe(event));
    if (seen.at(-1) === 'delete link br0') break;
  }
  assert.ok(seen.includes('new link ve0') && !seen.includes('delete link ve0'), seen.join(', '));
});

run('events that a slow reader has no room for are told as lost', async () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  connection.execute(newLink({ kind: 'veth', name: 've0' }));
  const socket = namespace.socket();
  socket.setReceiveBuffer(1);
  const events = subscribe(socket, ['link']);
  for (let round = 0; round < 50; round++) connection.execute(setLink('ve0', { mtu: 1000 + round }));
  const seen: string[] = [];
  for await (const event of events) {
    seen.push(describe(event));
    if (event.topic === 'lost') break;
  }
  assert.is(seen.at(-1), 'lost');
});

test.run();
