/** Framing of messages, and answers read by those who move the bytes themselves. */
import { constants } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errnoMeaning, errnoName } from '../../netlink/errno.ts';
import {
  decodeLink,
  decodeMessages,
  decodeRoute,
  type Encoder,
  encodeRequest,
  InvalidValueError,
  KernelError,
  MalformedMessageError,
  type NewLink,
  NoAnswerError,
  newAddress,
  newLink,
  newRoute,
  setLink,
  setLinkUp,
  verifyAcknowledged,
} from '../../netlink/index.ts';
import { acknowledgement, datagram, link } from './fake-kernel.ts';

test('bringing lo up is these 32 bytes', () => {
  assert.equal(
    [...encodeRequest(setLinkUp(1), 0x01020304)],
    [32, 0, 0, 0, 16, 0, 5, 0, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
  );
});

test('requests can be put one after the other', () => {
  const requests = [setLink('lo', { alias: 'x' }), setLinkUp('a-name'), setLink(1, { mtu: 1500 })];
  const bytes = requests.flatMap((request, index) => [...encodeRequest(request, index + 1)]);
  const messages = decodeMessages(Uint8Array.from(bytes));
  assert.equal(
    messages.map(({ sequence }) => sequence),
    [1, 2, 3],
  );
  assert.equal(
    messages.map(({ body }) => body),
    requests.map(({ body }) => body),
  );
});

test('an acknowledgement is found among what was received', () => {
  const request = setLinkUp('lo');
  verifyAcknowledged(request, 7, datagram(acknowledgement(6, 1), acknowledgement(7, 0)));
  assert.throws(
    () => verifyAcknowledged(request, 7, datagram(acknowledgement(7, 1))),
    (error: Error) =>
      error instanceof KernelError && error.message === 'cannot bring up link lo: Operation not permitted (EPERM)',
  );
  for (const other of [datagram(), datagram(acknowledgement(6, 0)), datagram(link(7, 'lo'))]) {
    assert.throws(
      () => verifyAcknowledged(request, 7, other),
      (error: Error) => error instanceof NoAnswerError,
    );
  }
});

test('the words of the kernel are found behind a repeated request, too', () => {
  const request = newLink({ kind: 'dummy', name: 'd0' });
  const repeated = encodeRequest(request, 7);
  const answer = datagram({
    type: 2,
    flags: 0x200,
    sequence: 7,
    body: body => {
      body.s32(-95);
      body.bytes(repeated);
      body.attribute(1, payload => payload.string('Unknown device type.'));
    },
  });
  assert.throws(
    () => verifyAcknowledged(request, 7, answer),
    /create dummy link d0: Unknown device type \(EOPNOTSUPP\)/,
  );
});

test('messages with impossible lengths are malformed at their first byte', () => {
  const good = datagram(link(1, 'lo'), link(2, 'eth0'));
  const second = datagram(link(1, 'lo')).length;
  for (const length of [0, 15, 0xffff_ffff, 1000]) {
    const bad = good.slice();
    new DataView(bad.buffer).setUint32(second, length, true);
    assert.throws(
      () => decodeMessages(bad),
      (error: Error) => error instanceof MalformedMessageError && error.offset === second,
      `${length}`,
    );
  }
  assert.throws(
    () => decodeMessages(good.subarray(0, second + 3)),
    (error: Error) => error instanceof MalformedMessageError && error.offset === second,
  );
  assert.equal(decodeMessages(new Uint8Array()), []);
});

test('faults in a message are told by their place in the datagram', () => {
  const bytes = datagram(link(1, 'lo'), link(2, 'eth0'));
  const nameAt = datagram(link(1, 'lo')).length + 16 + 16;
  bytes[nameAt] = 200;
  const [, message] = decodeMessages(bytes);
  assert.throws(
    () => decodeLink(message!),
    (error: Error) => error instanceof MalformedMessageError && error.offset === nameAt,
  );
});

test('messages and next hops of odd lengths are followed by padding', () => {
  const odd = datagram({ type: 99, sequence: 1, body: body => body.u8(1) }, link(2, 'lo'));
  assert.equal(
    decodeMessages(odd).map(({ sequence, body }) => [sequence, body.length]),
    [
      [1, 1],
      [2, 24],
    ],
  );

  const hop = (body: Encoder, length: number, index: number) => {
    body.u16(length);
    body.u16(0);
    body.s32(index);
  };
  const [message] = decodeMessages(
    datagram({
      type: 24,
      sequence: 1,
      body: body => {
        body.u8(2);
        for (let byte = 0; byte < 11; byte++) body.u8(0);
        body.attribute(9, payload => {
          hop(payload, 13, 3);
          payload.bytes(Uint8Array.from([5, 0, 99, 0, 7, 0, 0, 0]));
          hop(payload, 8, 4);
        });
      },
    }),
  );
  assert.equal(
    decodeRoute(message!).nexthops?.map(({ index }) => index),
    [3, 4],
  );
});

test('counters are those of struct rtnl_link_stats64, and of older kernels those that there are', () => {
  const withCounters = (count: number) => {
    const { body, ...header } = link(1, 'lo');
    const fill = (encoder: Encoder) => {
      body!(encoder);
      encoder.attribute(23, payload => {
        for (let n = 1; n <= count; n++) payload.u64(BigInt(n));
      });
    };
    return decodeLink(decodeMessages(datagram({ ...header, body: fill }))[0]!).statistics!;
  };
  const { rxPackets, txPackets, rxBytes, txBytes, rxErrors, txErrors, rxDropped, txDropped } = withCounters(25);
  assert.equal(
    [rxPackets, txPackets, rxBytes, txBytes, rxErrors, txErrors, rxDropped, txDropped],
    [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n],
  );
  const { multicast, collisions, rxOverErrors, txCarrierErrors, rxNohandler, rxOtherhostDropped } = withCounters(25);
  assert.equal(
    [multicast, collisions, rxOverErrors, txCarrierErrors, rxNohandler, rxOtherhostDropped],
    [9n, 10n, 12n, 18n, 24n, 25n],
  );
  assert.equal(Object.keys(withCounters(23)).length, 23);
  assert.equal(Object.keys(withCounters(30)).length, 25);
});

/** One link of each kind, as kernels that lack the kind cannot be asked. */
const KINDS: NewLink[] = [
  {
    kind: 'bridge',
    data: {
      forwardDelay: 1500,
      vlanProtocol: '802.1ad',
      groupAddr: '01:80:c2:00:00:05',
      options: { mstEnabled: true },
    },
  },
  { kind: 'macvlan', link: 4, data: { mode: 'source', flags: ['nodst'], macaddrData: ['02:00:00:00:00:01'] } },
  { kind: 'macvtap', link: 4, data: { mode: 'passthru' } },
  { kind: 'ipvlan', link: 4, data: { mode: 'l3s', flags: ['vepa'] } },
  { kind: 'ipvtap', link: 4, data: { mode: 'l2', flags: [] } },
  {
    kind: 'vlan',
    link: 4,
    data: { protocol: '802.1Q', id: 4094, flags: { reorderHdr: false, mvrp: true }, ingressQos: [{ from: 1, to: 7 }] },
  },
  {
    kind: 'vxlan',
    data: {
      id: 0xff_ffff,
      group6: 'ff05::100',
      link: 4,
      port: 4789,
      portRange: { low: 1, high: 65535 },
      label: 0xf_ffff,
      gpe: true,
    },
  },
  { kind: 'dummy', group: 9 },
  { kind: 'ifb', txQueueLength: 32 },
];

test('what is asked for each kind of link reads back the same', () => {
  for (const settings of KINDS) {
    const [message] = decodeMessages(encodeRequest(newLink({ name: 'new0', mtu: 1280, ...settings }), 1));
    const made = decodeLink(message!);
    assert.equal([made.name, made.mtu, made.kind], ['new0', 1280, settings.kind]);
    assert.equal(made.data, 'data' in settings ? settings.data : undefined, settings.kind);
    for (const key of ['link', 'group', 'txQueueLength'] as const) assert.is(made[key], settings[key]);
  }
});

test('routes with several ways read back the same', () => {
  const nexthops = [
    { gateway: '10.0.0.1', index: 3, weight: 256, flags: ['onlink' as const] },
    { gateway: 'fe80::1', index: 4, weight: 1, flags: [] },
    { index: 5, weight: 7, flags: [] },
  ];
  const [message] = decodeMessages(encodeRequest(newRoute({ destination: '10.0.0.0/8', nexthops, table: 1000 }), 1));
  const route = decodeRoute(message!);
  assert.equal(route.nexthops, nexthops);
  assert.equal([route.destination, route.table, route.scope], ['10.0.0.0/8', 1000, 'global']);
});

test('what cannot be asked for is refused with what was to be done', () => {
  const refused: [() => unknown, string][] = [
    [
      () => newLink({ kind: 'veth', name: 've-a-name-too-long' }),
      'cannot create veth link ve-a-name-too-long: name: "ve-a-name-too-long" is 18 bytes long, where 1 to 15 can be',
    ],
    [
      () => newLink({ kind: 'veth', data: { peer: { mtu: -1 } } }),
      'cannot create a veth link: data: peer: mtu: -1 is not a whole number from 0 to 4294967295',
    ],
    [
      () => setLink('lo', { name: 'l1' }),
      'cannot change link lo: the new name l1 needs the index of the link, not its old name',
    ],
    [
      () => setLink(1, { kind: 'wormhole', data: { mtu: 1 } as object }),
      'cannot change link 1: data: a link of kind wormhole has none',
    ],
    [
      () => newAddress({ index: 1, address: '10.0.0.300', prefixLength: 8 }),
      'cannot add address 10.0.0.300/8 on link 1: local: "10.0.0.300" is not an IPv4 address',
    ],
    [
      () => newRoute({ destination: '10.0.0.0/40' }),
      'cannot add route to 10.0.0.0/40: "10.0.0.0/40" is not an address with a prefix length from 0 to 32',
    ],
  ];
  for (const [work, message] of refused) {
    assert.throws(work, (error: Error) => error instanceof InvalidValueError && error.message === message, message);
  }
});

test('error numbers have the names that the system gives them', () => {
  for (const [name, number] of Object.entries(constants.errno)) {
    const known = errnoName(number);
    // Some numbers have two names.
    const aliases = Object.entries(constants.errno).filter(([, other]) => other === number);
    const isKnown = aliases.some(([alias]) => alias === known) || known === `errno ${number}`;
    assert.ok(isKnown, `${name} ${number} is ${known}`);
  }
  assert.equal([errnoName(17), errnoMeaning(17)], ['EEXIST', 'File exists']);
  assert.equal([errnoName(4095), errnoMeaning(4095)], ['errno 4095', 'unknown error']);
});

test.run();
