/** Connections to buses: one that is played, and dbus-daemon with systemd's busctl at its other end. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  Connection,
  DbusError,
  decodeMessage,
  encodeMessage,
  type Message,
  NoBusError,
  type StreamSocket,
  TYPES,
  type Value,
} from '../../dbus/index.ts';
import { connectUnix } from '../../syscalls/unix-socket.ts';
import { needs, tool } from '../support/needs.ts';
import { startBus } from './support.ts';

const run = promisify(execFile);
const dbus = needs([tool('dbus-daemon')]);
const interoperability = needs([tool('dbus-daemon'), tool('busctl')]);

const ACCEPTED = 'DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n';
const SOMETHING = { destination: 'org.example', path: '/', interface: 'org.example', member: 'Something' };

/** A socket whose other end says these things, one at each read; then nothing any more, or that it has hung up. */
function playedBus(says: (Uint8Array | string)[], atEnd?: 'end'): StreamSocket & { sent: Uint8Array[] } {
  const sent: Uint8Array[] = [];
  return {
    sent,
    send: bytes => sent.push(bytes),
    receive() {
      const next = says.shift();
      if (next === undefined) return atEnd === 'end' ? new Uint8Array(0) : undefined;
      return typeof next === 'string' ? new TextEncoder().encode(next) : next;
    },
    readable: () => Promise.resolve(true),
    close() {},
  };
}

const answer = (replySerial: number, ...body: Value[]): Uint8Array =>
  encodeMessage({
    type: TYPES.methodReturn,
    flags: 1,
    serial: 1,
    replySerial,
    signature: 's'.repeat(body.length),
    body,
  });
const refusal = (replySerial: number, errorName: string, ...body: Value[]): Uint8Array =>
  encodeMessage({
    type: TYPES.error,
    flags: 1,
    serial: 1,
    replySerial,
    errorName,
    signature: 's'.repeat(body.length),
    body,
  });
const signal = (member: string): Uint8Array =>
  encodeMessage({ type: TYPES.signal, flags: 1, serial: 9, path: '/', interface: 'org.example', member, body: [] });

test('it says hello in the same breath as it authenticates', () => {
  const socket = playedBus([ACCEPTED, answer(1, ':1.7')]);
  assert.is(new Connection(socket).name, ':1.7');
  const [handshake, hello] = socket.sent;
  assert.is(new TextDecoder().decode(handshake), '\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n');
  assert.is(decodeMessage(hello!).member, 'Hello');
});

test('answers may come in pieces, and with others before them', () => {
  const early = [ACCEPTED, answer(1, ':1.7'), signal('First'), answer(99, 'not ours'), answer(2, 'yes')];
  const bytes = Buffer.concat(early.map(each => (typeof each === 'string' ? Buffer.from(each) : each)));
  const socket = playedBus([...bytes].map(byte => Uint8Array.of(byte)));
  const connection = new Connection(socket);
  assert.equal(connection.call(SOMETHING), ['yes']);
  assert.is(connection.next(0)?.member, 'First');
  assert.is(connection.next(0), undefined);
});

test('an error has the name and the words of who refuses', () => {
  const connection = new Connection(
    playedBus([ACCEPTED, answer(1, ':1.7'), refusal(2, 'org.example.No', 'Not now'), refusal(3, 'org.example.Mute')]),
  );
  const errorOf = () => {
    try {
      connection.call(SOMETHING);
    } catch (error) {
      assert.instance(error, DbusError);
      return [(error as DbusError).code, (error as DbusError).message];
    }
    return undefined;
  };
  assert.equal(errorOf(), ['org.example.No', 'Not now']);
  assert.equal(errorOf(), ['org.example.Mute', 'org.example.Mute']);
});

const NO_BUS: readonly [what: string, says: (Uint8Array | string)[], atEnd: 'end' | undefined, message: RegExp][] = [
  ['says nothing', [], undefined, /the bus says nothing for 1 s/],
  ['hangs up', [], 'end', /the bus has hung up/],
  [
    'lets nobody in',
    ['DATA\r\nREJECTED DBUS_COOKIE_SHA1\r\n'],
    undefined,
    /does not let us in: REJECTED DBUS_COOKIE_SHA1/,
  ],
  ['knows no hello', [ACCEPTED], undefined, /no answer to Hello within 1 s/],
  ['hangs up on an answer', [ACCEPTED, answer(1, ':1.7').slice(0, 20)], 'end', /the bus has hung up/],
];
for (const [what, says, atEnd, message] of NO_BUS) {
  test(`a bus that ${what}`, () => {
    const open = () => new Connection(playedBus(says, atEnd), { timeout: 1000 });
    assert.throws(open, (error: Error) => error instanceof NoBusError && message.test(error.message));
  });
}

test('something else than a bus', () => {
  const open = () => new Connection(playedBus(['HTTP/1.1 400 Bad Request\r\n'.repeat(200)]));
  assert.throws(open, /there is something else than a bus/);
  assert.throws(() => new Connection(playedBus([`${ACCEPTED}${'x'.repeat(20)}`])), /of unknown byte order/);
});

dbus('two talk to each other over dbus-daemon', async () => {
  for (const kind of ['path', 'abstract'] as const) {
    await using bus = await startBus(kind);
    using server = bus.connect();
    using client = bus.connect();
    server.requestName('org.example');
    assert.throws(() => client.requestName('org.example'), /org\.example is taken/);
    client.tell({ ...SOMETHING, signature: 's', arguments: ['hello'] });
    assert.is(await server.readable(), true);
    const call = nextOf(server, 'Something');
    assert.equal([call.sender, call.member, call.body], [client.name, 'Something', ['hello']]);
    client.subscribe("type='signal',interface='org.example'");
    server.send({ type: TYPES.signal, path: '/', interface: 'org.example', member: 'Done', body: [] });
    assert.is(nextOf(client, 'Done').sender, server.name);
  }
});

dbus('a call that nobody answers', async () => {
  await using bus = await startBus();
  using server = bus.connect();
  using client = bus.connect(100);
  server.requestName('org.example');
  assert.throws(
    () => client.call(SOMETHING),
    (error: Error) => error instanceof NoBusError && error.message === 'no answer to Something within 0.1 s',
  );
  assert.throws(
    () => client.call({ ...SOMETHING, destination: 'org.example.Missing' }),
    (error: Error) => error instanceof DbusError && error.code === 'org.freedesktop.DBus.Error.ServiceUnknown',
  );
});

dbus('the end of the bus ends what waits for it', async () => {
  const bus = await startBus();
  using client = bus.connect();
  nextOf(client, 'NameAcquired');
  const readable = client.readable();
  await bus[Symbol.asyncDispose]();
  assert.is(await readable, true);
  assert.throws(() => client.next(1000), /the bus has hung up/);
  assert.throws(() => connectUnix('/nonexistent/bus', 1000), /No such file or directory/);
});

/** busctl's words for a signature and its values, which it prints for an answer in the same way. */
const BUSCTL: readonly [words: string, values: readonly Value[]][] = [
  [
    'ybnqiuxtdsog 255 true -2 65535 -3 4294967295 -9223372036854775808 18446744073709551615 0.5 "two words" "/a/b" "a(ii)"',
    [255, true, -2, 65535, -3, 4294967295, -(2n ** 63n), 2n ** 64n - 1n, 0.5, 'two words', '/a/b', 'a(ii)'],
  ],
  [
    'sayssusaia(sv) "name" 3 1 2 3 "nspawn" "container" 42 "/srv/tree" 1 7 2 "Slice" s "my.slice" "DeviceAllow" a(ss) 2 "/dev/null" "rwm" "char-pts" "rw"',
    [
      'name',
      Uint8Array.of(1, 2, 3),
      'nspawn',
      'container',
      42,
      '/srv/tree',
      [7],
      [
        ['Slice', { signature: 's', value: 'my.slice' }],
        [
          'DeviceAllow',
          {
            signature: 'a(ss)',
            value: [
              ['/dev/null', 'rwm'],
              ['char-pts', 'rw'],
            ],
          },
        ],
      ],
    ],
  ],
  [
    'a(iayu)a{sv}v 1 2 4 10 0 0 0 8 1 "key" t 5 as 2 "a" ""',
    [
      [[2, Uint8Array.of(10, 0, 0, 0), 8]],
      [['key', { signature: 't', value: 5n }]],
      { signature: 'as', value: ['a', ''] },
    ],
  ],
];
for (const [words, values] of BUSCTL) {
  const signature = words.slice(0, words.indexOf(' '));
  interoperability(`busctl reads and writes ${signature}`, async () => {
    await using bus = await startBus();
    using server = bus.connect();
    server.requestName('org.example');
    const given = words.match(/"[^"]*"|\S+/g)!.map(word => word.replace(/^"(.*)"$/, '$1'));
    const method = ['org.example', '/', 'org.example', 'Echo'];
    const echo = run('busctl', [`--address=${bus.address}`, 'call', '--', ...method, ...given]);
    await server.readable();
    const call = nextOf(server, 'Echo');
    assert.equal(call.body, values);
    server.send({
      type: TYPES.methodReturn,
      destination: call.sender!,
      replySerial: call.serial,
      signature,
      body: values,
    });
    assert.is((await echo).stdout.trim(), words);
  });
}

/** The next message of this name; the bus's own signals may come before it. */
function nextOf(connection: Connection, member: string): Message {
  for (;;) {
    const message = connection.next(10_000);
    if (!message) throw new Error(`${member} has not come`);
    if (message.member === member) return message;
  }
}

test.run();
