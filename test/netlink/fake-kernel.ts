/** A socket that plays the kernel: each request is given to a function that says what comes back. */
import { decodeMessages, Encoder, type Message, type NetlinkSocket } from '../../netlink/index.ts';

export interface Reply {
  type: number;
  flags?: number;
  sequence: number;
  port?: number;
  body?: (body: Encoder) => void;
}

export const PORT = 4242;
const ERROR = 2;
const DONE = 3;
const MULTI = 0x2;
const CAPPED_WITH_ATTRIBUTES = 0x100 | 0x200;

/** The bytes of one datagram with these messages. */
export function datagram(...replies: Reply[]): Uint8Array {
  const encoder = new Encoder();
  for (const { type, flags = 0, sequence, port = PORT, body } of replies) {
    const payload = new Encoder();
    body?.(payload);
    encoder.u32(16 + payload.length);
    encoder.u16(type);
    encoder.u16(flags);
    encoder.u32(sequence);
    encoder.u32(port);
    encoder.bytes(payload.finish());
    encoder.pad();
  }
  return encoder.finish();
}

/** NLMSG_ERROR with an error number (0: success) and attributes that explain it. */
export function acknowledgement(sequence: number, errno: number, explain?: (body: Encoder) => void): Reply {
  return {
    type: ERROR,
    flags: CAPPED_WITH_ATTRIBUTES,
    sequence,
    body: body => {
      body.s32(-errno);
      // The header of the request.
      for (const word of [16, 0, sequence, PORT]) body.u32(word);
      explain?.(body);
    },
  };
}

export function done(sequence: number, flags = 0): Reply {
  return { type: DONE, flags: MULTI | flags, sequence, body: body => body.s32(0) };
}

/** A link message, as little as there can be. */
export function link(sequence: number, name: string, flags = 0): Reply {
  return {
    type: 16,
    flags,
    sequence,
    body: body => {
      for (let word = 0; word < 4; word++) body.u32(0);
      body.attribute(3, payload => payload.string(name));
    },
  };
}

/** An error as a socket raises it. */
export function socketError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

export class FakeKernel implements NetlinkSocket {
  readonly port = PORT;
  readonly options: [option: number, value: number][] = [];
  readonly requests: Message[] = [];
  isClosed = false;
  /** What receive() gives next: datagrams to return and errors to throw. */
  readonly queue: (Uint8Array | Error)[] = [];
  /** What send() throws first. */
  readonly sendErrors: Error[] = [];
  readonly #answer: (request: Message) => (Uint8Array | Error)[];
  #wake: () => void = () => {};

  constructor(answer: (request: Message) => (Uint8Array | Error)[] = () => []) {
    this.#answer = answer;
  }

  setOption(option: number, value: number): void {
    this.options.push([option, value]);
  }

  send(bytes: Uint8Array): void {
    const error = this.sendErrors.shift();
    if (error) throw error;
    for (const request of decodeMessages(bytes)) {
      this.requests.push(request);
      this.queue.push(...this.#answer(request));
    }
  }

  receive(_timeout: number): Uint8Array | undefined {
    const next = this.queue.shift();
    if (next instanceof Error) throw next;
    return next;
  }

  /** Something happens that nobody asked about. */
  emit(...items: (Uint8Array | Error)[]): void {
    this.queue.push(...items);
    this.#wake();
  }

  async readable(): Promise<boolean> {
    while (!this.isClosed && this.queue.length === 0) {
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
    return !this.isClosed;
  }

  close(): void {
    this.isClosed = true;
    this.#wake();
  }
}
