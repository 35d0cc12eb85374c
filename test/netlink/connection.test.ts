/** A connection that talks to a kernel that is played. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  Connection,
  dumpLinks,
  getLink,
  KernelError,
  MalformedMessageError,
  NoAnswerError,
  newLink,
  setLink,
} from '../../netlink/index.ts';
import { acknowledgement, datagram, done, FakeKernel, link, PORT, socketError } from './fake-kernel.ts';

const INTERRUPTED = 0x10;
const request = newLink({ kind: 'dummy', name: 'd0' });

test('a change is sent with sequence number and port, and is done when acknowledged', () => {
  const kernel = new FakeKernel(({ sequence }) => [datagram(acknowledgement(sequence, 0))]);
  const connection = new Connection(kernel);
  connection.execute(request);
  connection.execute(request);
  assert.equal(
    kernel.requests.map(({ sequence, port }) => [sequence, port]),
    [
      [1, PORT],
      [2, PORT],
    ],
  );
  assert.equal(kernel.requests[0]!.body, request.body);
});

test('explained errors, short answers and strict checks are switched on', () => {
  const kernel = new FakeKernel();
  new Connection(kernel);
  assert.equal(kernel.options, [
    [11, 1],
    [10, 1],
    [12, 1],
  ]);
});

test('a refusal becomes an error that says what was to be done and why not, in the words of the kernel', () => {
  const explain = (words: string) => (body: Parameters<NonNullable<Parameters<typeof acknowledgement>[2]>>[0]) =>
    body.attribute(1, payload => payload.string(words));
  const kernel = new FakeKernel(({ sequence }) => [
    datagram(acknowledgement(sequence, 95, explain('Unknown device type.'))),
  ]);
  const connection = new Connection(kernel);
  try {
    connection.execute(request);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, KernelError);
    const { message, errno, code, explanation } = error as KernelError;
    assert.is(message, 'cannot create dummy link d0: Unknown device type (EOPNOTSUPP)');
    assert.equal([errno, code, explanation], [95, 'EOPNOTSUPP', { message: 'Unknown device type.' }]);
  }
});

test('a refusal without words gets those of the error number', () => {
  const kernel = new FakeKernel(({ sequence }) => [datagram(acknowledgement(sequence, 17))]);
  assert.throws(
    () => new Connection(kernel).execute(request),
    (error: Error) => error.message === 'cannot create dummy link d0: File exists (EEXIST)',
  );
});

test('a refusal tells of the attribute at fault, what it should be, and what is missing', () => {
  const kernel = new FakeKernel(({ sequence }) => [
    datagram(
      acknowledgement(sequence, 34, body => {
        body.attribute(2, payload => payload.u32(32));
        body.nested(4, policy => {
          policy.attribute(1, payload => payload.u32(4));
          policy.attribute(4, payload => payload.u64(68n));
          policy.attribute(5, payload => payload.u64(9000n));
        });
        body.attribute(5, payload => payload.u32(7));
      }),
    ),
  ]);
  assert.throws(
    () => new Connection(kernel).execute(setLink(5, { mtu: 20 })),
    (error: Error) =>
      error.message ===
      'cannot change link 5: Numerical result out of range (ERANGE); the fault is in attribute 4 at byte 32 of the ' +
        'message; it should be u32 of at least 68 of at most 9000; the message lacks attribute 7',
  );
});

test('one object is read, and the errors of asking for it', () => {
  const kernel = new FakeKernel(({ sequence }) => [datagram(link(sequence, 'lo'))]);
  assert.is(new Connection(kernel).get(getLink('lo')).name, 'lo');
  const refusing = new FakeKernel(({ sequence }) => [datagram(acknowledgement(sequence, 19))]);
  assert.throws(
    () => new Connection(refusing).get(getLink('eth7')),
    /cannot read link eth7: No such device \(ENODEV\)/,
  );
});

test('a list is gathered from many messages in many datagrams', () => {
  const kernel = new FakeKernel(({ sequence }) => [
    datagram(link(sequence, 'lo', 2), link(sequence, 'eth0', 2)),
    datagram(link(sequence, 'eth1', 2)),
    datagram(done(sequence)),
  ]);
  const connection = new Connection(kernel);
  assert.equal(
    connection.dump(dumpLinks()).map(({ name }) => name),
    ['lo', 'eth0', 'eth1'],
  );
  assert.equal(kernel.queue.length, 0);
});

test('an error at the end of a list is raised', () => {
  const kernel = new FakeKernel(({ sequence }) => [
    datagram(link(sequence, 'lo', 2)),
    datagram({ type: 3, flags: 2, sequence, body: body => body.s32(-12) }),
  ]);
  assert.throws(() => new Connection(kernel).dump(dumpLinks()), /cannot list links: Cannot allocate memory \(ENOMEM\)/);
});

test('answers to others, and late answers to requests that were given up, are passed over', () => {
  const kernel = new FakeKernel(({ sequence }) => [
    datagram(acknowledgement(sequence - 1, 17)),
    datagram({ ...acknowledgement(sequence, 17), port: PORT + 1 }),
    datagram(acknowledgement(sequence, 0)),
  ]);
  new Connection(kernel).execute(request);
  assert.is(kernel.queue.length, 0);
});

test('a list that changed while it was read is read again', () => {
  let asked = 0;
  const kernel = new FakeKernel(({ sequence }) => {
    asked++;
    if (asked < 3) return [datagram(link(sequence, 'old', 2 | INTERRUPTED)), datagram(done(sequence, INTERRUPTED))];
    return [datagram(link(sequence, 'new', 2), done(sequence))];
  });
  assert.equal(
    new Connection(kernel).dump(dumpLinks()).map(({ name }) => name),
    ['new'],
  );
  assert.is(asked, 3);
});

test('a list that never stops changing is given up', () => {
  const kernel = new FakeKernel(({ sequence }) => [datagram(link(sequence, 'x', 2), done(sequence, INTERRUPTED))]);
  assert.throws(
    () => new Connection(kernel).dump(dumpLinks()),
    (error: Error) =>
      error instanceof NoAnswerError &&
      error.message === 'cannot list links: things changed while they were being listed, 10 times',
  );
  assert.is(kernel.requests.length, 10);
});

test('a list of which a part was lost is read to its end, then again', () => {
  let asked = 0;
  const kernel = new FakeKernel(({ sequence }) => {
    asked++;
    const lost = asked === 1 ? [socketError('ENOBUFS')] : [];
    return [datagram(link(sequence, 'a', 2)), ...lost, datagram(link(sequence, 'b', 2)), datagram(done(sequence))];
  });
  assert.equal(
    new Connection(kernel).dump(dumpLinks()).map(({ name }) => name),
    ['a', 'b'],
  );
  assert.is(asked, 2);
});

test('a change whose answer was lost is not made twice, and the error says what is not known', () => {
  const kernel = new FakeKernel(() => [socketError('ENOBUFS')]);
  assert.throws(
    () => new Connection(kernel).execute(request),
    (error: Error) =>
      error instanceof NoAnswerError &&
      error.message ===
        'cannot tell whether it worked to create dummy link d0: the answer was lost, as the socket had no room for it',
  );
  assert.is(kernel.requests.length, 1);
});

test('a socket that loses everything is given up, and is not waited for', () => {
  const kernel = new FakeKernel();
  const waits: number[] = [];
  kernel.receive = timeout => {
    waits.push(timeout);
    throw socketError('ENOBUFS');
  };
  assert.throws(
    () => new Connection(kernel).dump(dumpLinks()),
    /^cannot list links: the answer was lost, .*, 10 times$/,
  );
  assert.is(kernel.requests.length, 10);
  assert.ok(waits.length <= 100);
  assert.ok(waits[0]! > 0 && waits[1] === 0);
});

test('the answer to a change is found behind a loss', () => {
  const kernel = new FakeKernel(({ sequence }) => [socketError('ENOBUFS'), datagram(acknowledgement(sequence, 0))]);
  new Connection(kernel).execute(request);
});

test('calls that a signal interrupts are made again, but not for ever', () => {
  const kernel = new FakeKernel(({ sequence }) => [socketError('EINTR'), datagram(acknowledgement(sequence, 0))]);
  kernel.sendErrors.push(socketError('EINTR'), socketError('EINTR'));
  new Connection(kernel).execute(request);
  assert.is(kernel.requests.length, 1);

  const stormy = new FakeKernel(() => Array.from({ length: 1000 }, () => socketError('EINTR')));
  assert.throws(() => new Connection(stormy).execute(request), /^EINTR$/);
});

test('a kernel that does not answer is not waited for longer than said', () => {
  const waits: number[] = [];
  const kernel = new FakeKernel();
  kernel.receive = timeout => {
    waits.push(timeout);
    return undefined;
  };
  assert.throws(
    () => new Connection(kernel, { timeout: 20 }).execute(request),
    (error: Error) =>
      error instanceof NoAnswerError && error.message === 'cannot create dummy link d0: no answer within 20 ms',
  );
  assert.is(waits.length, 1);
  assert.ok(waits[0]! > 0 && waits[0]! <= 20);
});

test('a stream of what was not asked for does not hold it longer either', () => {
  const kernel = new FakeKernel();
  kernel.receive = timeout => (timeout > 0 ? datagram(acknowledgement(99, 0)) : undefined);
  assert.throws(() => new Connection(kernel, { timeout: 10 }).execute(request), /no answer within 10 ms/);
});

test('other errors of the socket go to the caller', () => {
  const kernel = new FakeKernel(() => [socketError('EBADF')]);
  assert.throws(() => new Connection(kernel).execute(request), /^EBADF$/);
  assert.throws(() => new Connection(kernel).dump(dumpLinks()), /^EBADF$/);
});

test('malformed answers are errors that name the place', () => {
  const kernel = new FakeKernel(({ sequence }) => [datagram(link(sequence, 'lo')).subarray(0, 38)]);
  assert.throws(
    () => new Connection(kernel).get(getLink('lo')),
    (error: Error) => error instanceof MalformedMessageError && error.offset === 0,
  );
  const wrongType = new FakeKernel(({ sequence }) => [datagram({ type: 20, sequence })]);
  assert.throws(
    () => new Connection(wrongType).get(getLink('lo')),
    /malformed netlink message at byte 0: a message of type 20 came instead of 16 or 17/,
  );
});

test('using closes the socket', () => {
  const kernel = new FakeKernel();
  {
    using _connection = new Connection(kernel);
    assert.not.ok(kernel.isClosed);
  }
  assert.ok(kernel.isClosed);
});

test.run();
