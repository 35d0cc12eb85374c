/** Messages: D-Bus specification, "Message Format". */
import { Decoder } from './decode.ts';
import { Encoder } from './encode.ts';
import { MalformedMessageError } from './error.ts';
import type { Value, Variant } from './value.ts';

export const TYPES = { methodCall: 1, methodReturn: 2, error: 3, signal: 4 } as const;
/** "The message does not expect method return replies". */
export const NO_REPLY_EXPECTED = 0x1;

/** Header fields by their number, with the signatures of their values. */
const FIELDS = {
  path: [1, 'o'],
  interface: [2, 's'],
  member: [3, 's'],
  errorName: [4, 's'],
  replySerial: [5, 'u'],
  destination: [6, 's'],
  sender: [7, 's'],
  signature: [8, 'g'],
} as const;
type Field = keyof typeof FIELDS;

export interface Message {
  type: number;
  flags: number;
  /** Not 0; an answer has it in its `replySerial`. */
  serial: number;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  replySerial?: number;
  destination?: string;
  sender?: string;
  /** Of the body; it has none without. */
  signature?: string;
  body: readonly Value[];
}

/** Endianness, type, flags, version, length of the body, serial, length of the header fields. */
const FIXED_HEADER = 16;
const LITTLE = 'l'.charCodeAt(0);
const BIG = 'B'.charCodeAt(0);
const VERSION = 1;
/** "The maximum length of a message, including header, header alignment padding, and body is 2 to the 27th power". */
const LONGEST = 2 ** 27;

/** Throws TypeError for values that the signature doesn't fit. */
export function encodeMessage(message: Message): Uint8Array {
  const body = new Encoder();
  body.values(message.signature ?? '', message.body);
  const bodyBytes = body.finish();
  const fields = (Object.keys(FIELDS) as Field[]).flatMap(name => {
    const [number, signature] = FIELDS[name];
    const value = message[name];
    return value === undefined ? [] : [[number, { signature, value }] as const];
  });
  const { type, flags, serial } = message;
  const header = new Encoder();
  header.values('yyyyuua(yv)', [LITTLE, type, flags, VERSION, bodyBytes.length, serial, fields]);
  header.pad(8);
  const headerBytes = header.finish();
  const bytes = new Uint8Array(headerBytes.length + bodyBytes.length);
  bytes.set(headerBytes);
  bytes.set(bodyBytes, headerBytes.length);
  return bytes;
}

/**
 * How many bytes the message has that begins with these; undefined if they are too few to tell. Throws
 * MalformedMessageError.
 */
export function messageLength(bytes: Uint8Array): number | undefined {
  if (bytes.length < FIXED_HEADER) return undefined;
  const little = isLittleEndian(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = bodyStart(view.getUint32(12, little)) + view.getUint32(4, little);
  if (length > LONGEST) throw new MalformedMessageError(`a message of ${length} bytes is too long`);
  return length;
}

/** Reads a message that is there in full. Throws MalformedMessageError. */
export function decodeMessage(bytes: Uint8Array): Message {
  const little = isLittleEndian(bytes);
  const header = new Decoder(bytes, little).values('yyyyuua(yv)') as [
    ...[endianness: number, type: number, flags: number, version: number, bodyLength: number, serial: number],
    fields: [number, Variant][],
  ];
  const [, type, flags, version, , serial, fields] = header;
  if (version !== VERSION) throw new MalformedMessageError(`a message of version ${version}`);
  const message: Message = { type, flags, serial, body: [] };
  for (const [number, { signature, value }] of fields) {
    const name = (Object.keys(FIELDS) as Field[]).find(each => FIELDS[each][0] === number);
    // "implementations must ignore fields that they do not understand"
    if (name === undefined) continue;
    if (signature !== FIELDS[name][1]) throw new MalformedMessageError(`a message's ${name} is of type ${signature}`);
    Object.assign(message, { [name]: value });
  }
  const start = bodyStart(new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, little));
  message.body = new Decoder(bytes.subarray(start), little).values(message.signature ?? '');
  return message;
}

function isLittleEndian(bytes: Uint8Array): boolean {
  if (bytes[0] !== LITTLE && bytes[0] !== BIG) throw new MalformedMessageError('a message of unknown byte order');
  return bytes[0] === LITTLE;
}

/** "the header must end on an 8-byte boundary" */
const bodyStart = (fieldsLength: number): number => (FIXED_HEADER + fieldsLength + 7) & ~7;
