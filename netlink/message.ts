import { Decoder, Encoder } from './codec.ts';
import { naming } from './error.ts';

/** nlmsg_flags of struct nlmsghdr, linux/netlink.h. What 0x100 and more mean depends on the kind of request. */
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  /** Of a request that gets: all objects instead of one. */
  DUMP: 0x300,
  /** Of a request that makes something. */
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  /** Of an answer: it does not repeat the request; it has attributes. */
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;

/** Types of control messages, and the least type that a family's own can have. linux/netlink.h */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;
export const NLMSG_MIN_TYPE = 0x10;

/** struct nlmsghdr: length, type, flags, sequence number, port id. */
export const HEADER_LENGTH = 16;

/** What is asked of the kernel, ready to be framed and sent any number of times. */
export interface Request {
  /** What it does and to what, to follow "cannot" in an error line. */
  readonly action: string;
  readonly type: number;
  readonly flags: number;
  /** The family's struct and the attributes. */
  readonly body: Uint8Array;
}

/** A request that is answered with objects. */
export interface Query<T> extends Request {
  readonly decode: (message: Message) => T;
}

/** A received message, still undecoded. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly port: number;
  readonly body: Uint8Array;
  /** Where in its datagram the body starts: for error messages. */
  readonly offset: number;
}

/** How a new object gets on with one that is there already: `create` fails, `replace` takes its place. */
export type Creation = 'create' | 'replace';
export const CREATION_FLAGS: Readonly<Record<Creation, number>> = {
  create: NLM_F.CREATE | NLM_F.EXCL,
  replace: NLM_F.CREATE | NLM_F.REPLACE,
};

/** A request to change something, answered with an acknowledgement. */
export function change(action: string, type: number, fill: (body: Encoder) => void, flags = 0): Request {
  return { action, type, flags: NLM_F.REQUEST | NLM_F.ACK | flags, body: bodyOf(action, fill) };
}

/** A request for one object, or for all of them with `NLM_F.DUMP` as flags. */
export function query<T>(
  action: string,
  type: number,
  fill: (body: Encoder) => void,
  decode: (message: Message) => T,
  flags = 0,
): Query<T> {
  return { action, type, flags: NLM_F.REQUEST | flags, body: bodyOf(action, fill), decode };
}

function bodyOf(action: string, fill: (body: Encoder) => void): Uint8Array {
  const encoder = new Encoder();
  naming(`cannot ${action}`, () => fill(encoder));
  return encoder.finish();
}

/**
 * The bytes of a request as they go to a netlink socket. Requests may be put one after the other into one datagram: each
 * is a multiple of four bytes long, and each gets an answer of its own.
 * @param sequence what the answer will be known by: any number but 0, which the kernel uses for events.
 * @param port the port id of the socket; 0 lets the kernel fill it in.
 */
export function encodeRequest(request: Request, sequence: number, port = 0): Uint8Array {
  const encoder = new Encoder();
  encoder.u32(HEADER_LENGTH + request.body.length);
  encoder.u16(request.type);
  encoder.u16(request.flags);
  encoder.u32(sequence);
  encoder.u32(port);
  encoder.bytes(request.body);
  encoder.pad();
  return encoder.finish();
}

/** Takes a received datagram apart. Throws MalformedMessageError; a datagram without bytes holds no messages. */
export function decodeMessages(datagram: Uint8Array): Message[] {
  const decoder = new Decoder(datagram);
  const messages: Message[] = [];
  while (decoder.remaining > 0) {
    const start = decoder.offset;
    const length = decoder.u32();
    const type = decoder.u16();
    const flags = decoder.u16();
    const sequence = decoder.u32();
    const port = decoder.u32();
    const size = length - HEADER_LENGTH;
    if (size < 0 || size > decoder.remaining) {
      const room = decoder.remaining + HEADER_LENGTH;
      decoder.fail(`a message says it has ${length} bytes, where ${HEADER_LENGTH} to ${room} can be`, start);
    }
    const offset = decoder.offset;
    messages.push({ type, flags, sequence, port, body: decoder.bytes(size), offset });
    decoder.skipPadding(length);
  }
  return messages;
}

/** A decoder for a message's body, after a check that the message is one of `types`. */
export function openBody(message: Message, types: readonly number[]): Decoder {
  const body = new Decoder(message.body, message.offset);
  if (!types.includes(message.type)) {
    body.fail(
      `a message of type ${message.type} came instead of ${types.join(' or ')}`,
      message.offset - HEADER_LENGTH,
    );
  }
  return body;
}
