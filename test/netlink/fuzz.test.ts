/** Damaged and invented messages: whatever comes in, decoders end, and raise nothing but MalformedMessageError. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeAcknowledgement } from '../../netlink/acknowledgement.ts';
import {
  Connection,
  decodeAddress,
  decodeLink,
  decodeMessages,
  decodeNeighbour,
  decodeRoute,
  dumpLinks,
  encodeRequest,
  getLink,
  MalformedMessageError,
  type Message,
  NetlinkError,
  newAddress,
  newLink,
  newNeighbour,
  newRoute,
  type Request,
  setLinkUp,
} from '../../netlink/index.ts';
import { type Random, withSeed } from '../support/random.ts';
import { acknowledgement, datagram, done, FakeKernel, link } from './fake-kernel.ts';

const ROUNDS = 20_000;

/** Messages of every shape to begin with. */
const REQUESTS: Request[] = [
  newLink({
    kind: 'vlan',
    name: 'vl0',
    link: 3,
    address: '02:00:00:00:00:01',
    afSpec: { inet6: { addrGenMode: 'none' } },
    data: { id: 5, flags: { gvrp: true }, egressQos: [{ from: 1, to: 2 }] },
  } as Parameters<typeof newLink>[0]),
  newLink({
    kind: 'bridge',
    name: 'br0',
    data: { stpState: 1, mcastQuerierState: { ipAddress: '10.0.0.1' }, gcTimer: 5n },
  }),
  newLink({ kind: 'vxlan', name: 'vx0', data: { id: 5, group: '239.1.1.1', portRange: { low: 1, high: 2 } } }),
  newLink({ kind: 'macvlan', name: 'mv0', data: { mode: 'bridge', macaddrData: ['02:00:00:00:00:01'] } }),
  newLink({ kind: 'veth', name: 've0', data: { peer: { name: 've1' } } }),
  newAddress({ index: 3, address: '2001:db8::1', prefixLength: 64, flags: ['noprefixroute'], validLifetime: 5 }),
  newRoute({
    destination: '10.0.0.0/8',
    metrics: { mtu: 1400, congctl: 'reno' },
    nexthops: [{ gateway: '10.0.0.1' }, { gateway: 'fe80::1', index: 5, weight: 3 }],
  }),
  newNeighbour({ index: 3, address: '10.0.0.1', linkAddress: '02:00:00:00:00:01' }),
];
const CORPUS: Uint8Array[] = [
  ...REQUESTS.map(request => encodeRequest(request, 1)),
  datagram(link(1, 'lo', 2), link(1, 'eth0', 2), done(1)),
  datagram(
    acknowledgement(1, 22, body => {
      body.attribute(1, payload => payload.string('words'));
      body.attribute(2, payload => payload.u32(20));
      body.nested(4, policy => policy.attribute(1, payload => payload.u32(4)));
    }),
  ),
];

const DECODERS = [decodeLink, decodeAddress, decodeRoute, decodeNeighbour, decodeAcknowledgement];
/** Message types that the decoders accept. */
const TYPES = [16, 17, 20, 21, 24, 25, 28, 29, 2, 3];
/** Lengths and types that are likely to hurt. */
const NASTY = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 0x7fff, 0x8000, 0xfffe, 0xffff];

function damaged(random: Random): Uint8Array {
  if (random.oneIn(20)) return Uint8Array.from({ length: random.below(200) }, () => random.below(256));
  let bytes = random.pick(CORPUS).slice();
  for (let times = 1 + random.below(4); times > 0 && bytes.length >= 8; times--) {
    const view = new DataView(bytes.buffer);
    const at = random.below(bytes.length - 3);
    const damage = random.below(6);
    if (damage === 0) bytes[at] = random.below(256);
    else if (damage === 1) view.setUint16(at & ~1, random.pick(NASTY), true);
    else if (damage === 2) view.setUint32(at & ~3, random.uint32(), true);
    else if (damage === 3) bytes = bytes.slice(0, at);
    else if (damage === 4) bytes = Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(random.below(at + 1))]);
    else view.setUint16(4, random.pick(TYPES), true);
  }
  return bytes;
}

/** All that can be read out of a datagram: objects, and the words of errors. Other errors than ours are raised. */
function readAll(bytes: Uint8Array): unknown[] {
  const messages = outcome(() => decodeMessages(bytes));
  if (!Array.isArray(messages)) return [messages];
  return messages.flatMap((message: Message) => DECODERS.map(decode => outcome(() => decode(message))));
}

function outcome(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof MalformedMessageError)) throw error;
    return error.message;
  }
}

function forSeeds(rounds: number, check: (random: Random) => void): void {
  for (let seed = 1; seed <= rounds; seed++) withSeed(seed, check);
}

test('damaged messages are decoded, or raise MalformedMessageError with a place within the datagram', () => {
  let malformed = 0;
  let read = 0;
  forSeeds(ROUNDS, random => {
    const bytes = damaged(random);
    for (const result of readAll(bytes)) {
      const place = typeof result === 'string' && /at byte (\d+):/.exec(result);
      if (place) assert.ok(Number(place[1]) <= bytes.length, `${result} of ${bytes.length}`);
      if (place) malformed++;
      else read++;
    }
  });
  assert.ok(malformed > ROUNDS / 2 && read > ROUNDS / 2, `both happen: ${malformed} malformed, ${read} read`);
});

test('what is around a datagram in memory does not change what is read', () => {
  forSeeds(ROUNDS / 10, random => {
    const bytes = damaged(random);
    const around = new Uint8Array(bytes.length + 32).map(() => random.below(256));
    around.set(bytes, 16);
    assert.equal(readAll(around.subarray(16, 16 + bytes.length)), readAll(bytes));
  });
});

test('a connection raises nothing but its own errors, and ends, whatever the kernel says', () => {
  forSeeds(ROUNDS / 10, random => {
    const kernel = new FakeKernel(({ sequence }) =>
      Array.from({ length: 1 + random.below(3) }, () => {
        const bytes = damaged(random);
        if (bytes.length >= 16 && !random.oneIn(4)) {
          const view = new DataView(bytes.buffer);
          view.setUint32(8, sequence, true);
          view.setUint32(12, kernel.port, true);
        }
        return bytes;
      }),
    );
    const connection = new Connection(kernel);
    const tries = [
      () => connection.execute(setLinkUp(1)),
      () => connection.get(getLink(1)),
      () => connection.dump(dumpLinks()),
    ];
    try {
      random.pick(tries)();
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
    }
  });
});

test.run();
