/**
 * Netlink without a socket: a request is made and taken apart again, and an answer is read. Runs wherever JavaScript does.
 *
 *     bun examples/netlink-codec.ts
 */
import { decodeLink, decodeMessages, Encoder, encodeRequest, newLink, verifyAcknowledged } from '../netlink/index.ts';

const request = newLink({
  kind: 'macvlan',
  name: 'mv-web',
  link: 2,
  mtu: 1400,
  data: { mode: 'bridge' },
});
const bytes = encodeRequest(request, 1);
console.log(`To ${request.action}, the kernel is sent these ${bytes.length} bytes:`);
console.log(Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(' '));

const [message] = decodeMessages(bytes);
const { name, kind, mtu, data } = decodeLink(message!);
console.log('They say:', JSON.stringify({ name, kind, mtu, data }));

// An answer as the kernel may give it: struct nlmsghdr, the error -95, the header that it is about, and words.
const answer = new Encoder();
answer.u32(60);
for (const half of [2, 0x300]) answer.u16(half);
for (const word of [1, 0]) answer.u32(word);
answer.s32(-95);
answer.bytes(bytes.subarray(0, 16));
answer.attribute(1, payload => payload.string('Unknown device type'));
try {
  verifyAcknowledged(request, 1, answer.finish());
} catch (error) {
  console.log('A refusal reads:', (error as Error).message);
}
