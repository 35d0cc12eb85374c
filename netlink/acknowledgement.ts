import { Decoder } from './codec.ts';
import { errnoMeaning, errnoName } from './errno.ts';
import { NetlinkError, NoAnswerError } from './error.ts';
import { decodeFields, named, nest, string, u32, u64, type Values } from './field.ts';
import { decodeMessages, HEADER_LENGTH, type Message, NLM_F, NLMSG, type Request } from './message.ts';

/** enum netlink_attribute_type, linux/netlink.h: what a policy says an attribute should be. */
const ATTRIBUTE_TYPES = {
  invalid: 0,
  flag: 1,
  u8: 2,
  u16: 3,
  u32: 4,
  u64: 5,
  s8: 6,
  s16: 7,
  s32: 8,
  s64: 9,
  binary: 10,
  string: 11,
  'zero-terminated string': 12,
  nest: 13,
  'nested array': 14,
  bitfield32: 15,
};

/** NL_POLICY_TYPE_ATTR_*, linux/netlink.h */
const policyFields = {
  type: named(u32(1), ATTRIBUTE_TYPES),
  minSigned: u64(2),
  maxSigned: u64(3),
  min: u64(4),
  max: u64(5),
  minLength: u32(6),
  maxLength: u32(7),
  mask: u64(12),
};

/** NLMSGERR_ATTR_*, linux/netlink.h */
const explanationFields = {
  /** The kernel's own words. */
  message: string(1),
  /** Where in the request the offending attribute is, in bytes from the start of its header. */
  offset: u32(2),
  /** What that attribute should have been. */
  policy: nest(4, policyFields),
  /** The number of an attribute that the request should have had. */
  missingType: u32(5),
  /** Where in the request the nest is that lacks it; not there if the message itself does. */
  missingNest: u32(6),
};

/** What the kernel says beyond an error number; needs the socket option NETLINK_EXT_ACK. */
export type Explanation = Values<typeof explanationFields>;

/** The end of an answer: success if `errno` is 0. */
export interface Acknowledgement {
  readonly errno: number;
  readonly explanation: Explanation;
}

/** A request that the kernel refused. The message says what was to be done, and why not in the kernel's own words. */
export class KernelError extends NetlinkError {
  override name = 'KernelError';
  /** The positive error number, and its name, such as `EEXIST`. */
  readonly errno: number;
  readonly code: string;
  readonly explanation: Explanation;

  constructor(request: Request, { errno, explanation }: Acknowledgement) {
    const code = errnoName(errno);
    const words = explanation.message?.replace(/\.$/, '') ?? errnoMeaning(errno);
    super(`cannot ${[`${request.action}: ${words} (${code})`, ...details(request, explanation)].join('; ')}`);
    this.errno = errno;
    this.code = code;
    this.explanation = explanation;
  }
}

function details(request: Request, { offset, policy, missingType, missingNest }: Explanation): string[] {
  const lines: string[] = [];
  if (offset !== undefined) lines.push(`the fault is in ${attributeAt(request, offset)}`);
  if (policy !== undefined) lines.push(`it should be ${describePolicy(policy)}`);
  if (missingType !== undefined) {
    const where = missingNest === undefined ? 'the message' : attributeAt(request, missingNest);
    lines.push(`${where} lacks attribute ${missingType}`);
  }
  return lines;
}

function attributeAt(request: Request, offset: number): string {
  const header = request.body.subarray(Math.max(0, offset - HEADER_LENGTH));
  if (offset < HEADER_LENGTH || header.length < 4) return `byte ${offset} of the message`;
  const decoder = new Decoder(header);
  decoder.skip(2);
  return `attribute ${decoder.u16() & 0x3fff} at byte ${offset} of the message`;
}

function describePolicy(policy: Values<typeof policyFields>): string {
  const min = policy.min ?? signed(policy.minSigned) ?? policy.minLength;
  const max = policy.max ?? signed(policy.maxSigned) ?? policy.maxLength;
  const unit = policy.minLength === undefined && policy.maxLength === undefined ? '' : ' bytes';
  const bounds = [
    min === undefined ? '' : ` of at least ${min}${unit}`,
    max === undefined ? '' : ` of at most ${max}${unit}`,
    policy.mask === undefined ? '' : ` within the bits 0x${policy.mask.toString(16)}`,
  ];
  return `${policy.type ?? 'a value'}${bounds.join('')}`;
}

function signed(value: bigint | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt.asIntN(64, value);
}

/** Reads an NLMSG_ERROR (which also says success) or NLMSG_DONE message; undefined for any other. */
export function decodeAcknowledgement(message: Message): Acknowledgement | undefined {
  if (message.type !== NLMSG.ERROR && message.type !== NLMSG.DONE) return undefined;
  const body = new Decoder(message.body, message.offset);
  const errno = Math.abs(body.s32());
  if (message.type === NLMSG.ERROR) skipRepeatedRequest(body, message.flags);
  const explanation = message.flags & NLM_F.ACK_TLVS ? decodeFields(body, explanationFields) : {};
  return { errno, explanation };
}

/** struct nlmsgerr repeats the request's header, and its body too unless the answer is capped. */
function skipRepeatedRequest(body: Decoder, flags: number): void {
  const length = body.u32();
  body.skip(HEADER_LENGTH - 4);
  if (flags & NLM_F.CAPPED) return;
  if (length < HEADER_LENGTH) body.fail(`the repeated request says it has ${length} bytes`);
  body.skip(length - HEADER_LENGTH);
  body.skipPadding(length);
}

/**
 * Finds the answer to a request in a received datagram, for those who move the bytes themselves.
 * @throws KernelError if the kernel refused, NoAnswerError if the answer is not in there, MalformedMessageError.
 */
export function verifyAcknowledged(request: Request, sequence: number, datagram: Uint8Array): void {
  const answer = decodeMessages(datagram).find(message => message.sequence === sequence);
  const acknowledgement = answer && decodeAcknowledgement(answer);
  if (!acknowledgement)
    throw new NoAnswerError(`cannot ${request.action}: the kernel's answer does not acknowledge it`);
  if (acknowledgement.errno !== 0) throw new KernelError(request, acknowledgement);
}
