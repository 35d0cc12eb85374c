import { DbusError, MalformedMessageError, NoBusError } from './error.ts';
import { decodeMessage, encodeMessage, type Message, messageLength, NO_REPLY_EXPECTED, TYPES } from './message.ts';
import type { StreamSocket } from './socket.ts';
import type { Value } from './value.ts';

/** A method of an object, and what it is called with. */
export interface MethodCall {
  destination: string;
  path: string;
  interface: string;
  member: string;
  /** Of `arguments`. */
  signature?: string;
  arguments?: readonly Value[];
}

/** The bus itself: D-Bus specification, "Message Bus Messages". */
const BUS = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' };

/**
 * "Authentication Protocol", all of a client's part of it at once: we are who the kernel says that we are. A client that
 * names a user id instead is refused in a user namespace. Answered by `DATA` and `OK` with the bus's id.
 */
const HANDSHAKE = '\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n';
const ACCEPTED = /^DATA *\r\nOK [^\r\n]*\r\n/;
/** A bus that says more than this before it lets us in is none. */
const LONGEST_HANDSHAKE = 4096;

/**
 * A connection to a bus. It owns the socket: `using` closes it. What it throws: NoBusError when the bus or its answer is
 * missing, DbusError when a call is refused, MalformedMessageError, and what the socket throws.
 */
export class Connection implements Disposable {
  /** Our name on the bus, such as `:1.42`. */
  readonly name: string;
  readonly #socket: StreamSocket;
  readonly #timeout: number;
  #serial = 0;
  #received = new Uint8Array(0);
  /** Signals, and calls of others, that came while something else was waited for. */
  #others: Message[] = [];

  /** Says hello. @param timeout milliseconds that an answer may take. */
  constructor(socket: StreamSocket, { timeout = 25_000 }: { timeout?: number } = {}) {
    this.#socket = socket;
    this.#timeout = timeout;
    socket.send(new TextEncoder().encode(HANDSHAKE));
    // The bus reads it when it has let us in: one round trip less.
    const hello = this.#send({ ...BUS, member: 'Hello' });
    this.#passHandshake();
    const [name] = this.#answer(hello, 'Hello', timeout);
    this.name = String(name);
  }

  /** Calls a method and waits for its answer, for which nothing else goes on in this thread. */
  call(method: MethodCall, timeout: number = this.#timeout): readonly Value[] {
    return this.#answer(this.#send(method), method.member, timeout);
  }

  /** Calls a method of which no answer is wanted. */
  tell(method: MethodCall): void {
    this.#send(method, NO_REPLY_EXPECTED);
  }

  /** Has the bus pass on signals: D-Bus specification, "Match Rules". */
  subscribe(rule: string): void {
    this.call({ ...BUS, member: 'AddMatch', signature: 's', arguments: [rule] });
  }

  /** The connection that owns a name, by its own name: it is what messages have for their sender. */
  ownerOf(name: string): string {
    return String(this.call({ ...BUS, member: 'GetNameOwner', signature: 's', arguments: [name] })[0]);
  }

  /** Owns a name: calls of its methods come here. */
  requestName(name: string): void {
    const DO_NOT_QUEUE = 0x4;
    const PRIMARY_OWNER = 1;
    const [result] = this.call({ ...BUS, member: 'RequestName', signature: 'su', arguments: [name, DO_NOT_QUEUE] });
    if (result !== PRIMARY_OWNER) throw new DbusError('org.freedesktop.DBus.Error.Failed', `${name} is taken`);
  }

  /** Answers a call. */
  send(message: Omit<Message, 'serial' | 'flags'>): void {
    this.#socket.send(encodeMessage({ ...message, flags: 0, serial: this.#nextSerial() }));
  }

  /** The next signal or call, waited for at most so many milliseconds; undefined if none came. */
  next(timeout: number): Message | undefined {
    const deadline = performance.now() + timeout;
    for (;;) {
      const message = this.#others.shift() ?? this.#receive(deadline);
      if (!message || message.type === TYPES.signal || message.type === TYPES.methodCall) return message;
    }
  }

  /** Waits, without holding up the event loop, until `next` may have something: true. False once it is closed. */
  readable(): Promise<boolean> {
    return this.#others.length > 0 ? Promise.resolve(true) : this.#socket.readable();
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #send({ arguments: body = [], ...method }: MethodCall, flags = 0): number {
    const serial = this.#nextSerial();
    this.#socket.send(encodeMessage({ type: TYPES.methodCall, flags, serial, ...method, body }));
    return serial;
  }

  #nextSerial(): number {
    this.#serial = (this.#serial % 0xffff_ffff) + 1;
    return this.#serial;
  }

  #answer(serial: number, member: string, timeout: number): readonly Value[] {
    const deadline = performance.now() + timeout;
    for (;;) {
      const message = this.#receive(deadline);
      if (!message) throw new NoBusError(`no answer to ${member} within ${timeout / 1000} s`);
      if (message.replySerial !== serial) {
        if (message.replySerial === undefined) this.#others.push(message);
        continue;
      }
      if (message.type === TYPES.methodReturn) return message.body;
      const [text] = message.body;
      throw new DbusError(message.errorName ?? 'unknown', typeof text === 'string' ? text : '');
    }
  }

  /** The next message; undefined if there is none in time. */
  #receive(deadline: number): Message | undefined {
    for (;;) {
      const length = messageLength(this.#received);
      if (length !== undefined && length <= this.#received.length) {
        const message = decodeMessage(this.#received.slice(0, length));
        this.#received = this.#received.slice(length);
        return message;
      }
      if (!this.#receiveMore(deadline)) return undefined;
    }
  }

  #passHandshake(): void {
    const deadline = performance.now() + this.#timeout;
    for (;;) {
      const text = new TextDecoder('latin1').decode(this.#received.subarray(0, LONGEST_HANDSHAKE));
      const accepted = ACCEPTED.exec(text);
      if (accepted) {
        this.#received = this.#received.slice(accepted[0].length);
        return;
      }
      const [refusal] = /^(REJECTED|ERROR)[^\r\n]*/m.exec(text) ?? [];
      if (refusal !== undefined) throw new NoBusError(`the bus does not let us in: ${refusal}`);
      if (text.length === LONGEST_HANDSHAKE) throw new MalformedMessageError('there is something else than a bus');
      if (!this.#receiveMore(deadline)) throw new NoBusError(`the bus says nothing for ${this.#timeout / 1000} s`);
    }
  }

  /** False if nothing came in time. */
  #receiveMore(deadline: number): boolean {
    const bytes = this.#socket.receive(Math.max(0, deadline - performance.now()));
    if (!bytes) return false;
    if (bytes.length === 0) throw new NoBusError('the bus has hung up');
    const all = new Uint8Array(this.#received.length + bytes.length);
    all.set(this.#received);
    all.set(bytes, this.#received.length);
    this.#received = all;
    return true;
  }
}
