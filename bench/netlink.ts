/** What netlink does in a second, against `ip`, and how long it takes to read a long list of links. */
import process from 'node:process';
import {
  type Connection,
  decodeLink,
  decodeMessages,
  deleteLink,
  dumpLinks,
  encodeRequest,
  newLink,
} from '../netlink/index.ts';
import { Namespace } from '../test/netlink/namespace.ts';
import { hasTool } from '../test/support/needs.ts';

/** So many links are made, and deleted again: the kernel takes tens of milliseconds for each. */
const MADE = 20;
/** So many links are in the list. */
const LISTED = 10_000;
/** Of so many measurements the median counts. */
const TIMES = 3;

/** A table in Markdown. */
export function netlinkTable(): string {
  using namespace = new Namespace();
  using connection = namespace.connect();
  const rows = [
    `| links made and deleted a second, netlink | ${perSecond(() => makeAndDelete(connection))} |`,
    ...(hasTool('ip')
      ? [`| links made and deleted a second, \`ip -batch\` | ${perSecond(() => batch(namespace))} |`]
      : []),
    `| ms to decode a list of ${LISTED.toLocaleString('en')} links | ${milliseconds(decoder(namespace)).toFixed(0)} |`,
  ];
  return ['| netlink | |', '| --- | ---: |', ...rows].join('\n');
}

const names = Array.from({ length: MADE }, (_, i) => `bench${i}`);

function makeAndDelete(connection: Connection): void {
  for (const name of names) connection.execute(newLink({ kind: 'bridge', name }));
  for (const name of names) connection.execute(deleteLink(name));
}

function batch(namespace: Namespace): void {
  namespace.ipBatch([
    ...names.map(name => `link add ${name} type bridge`),
    ...names.map(name => `link delete ${name}`),
  ]);
}

/** Reads a list as the kernel would send it: what it says of one veth link, again and again. */
function decoder(namespace: Namespace): () => void {
  namespace.ip('link add bench0 type veth peer name bench1');
  const socket = namespace.socket();
  socket.send(encodeRequest(dumpLinks(), 1));
  const datagram = socket.receive(1000)!;
  socket.close();
  const { offset, body } = decodeMessages(datagram).at(-1)!;
  const message = datagram.subarray(offset - HEADER, offset + body.length);
  const datagrams = Array.from({ length: LISTED / AT_A_TIME }, () => {
    const bytes = new Uint8Array(message.length * AT_A_TIME);
    for (let i = 0; i < AT_A_TIME; i++) bytes.set(message, i * message.length);
    return bytes;
  });
  return () => {
    const links = datagrams.flatMap(bytes => decodeMessages(bytes).map(decodeLink));
    if (links.length !== LISTED || links.at(-1)?.kind !== 'veth') throw new Error('the list is wrong');
  };
}
/** struct nlmsghdr, linux/netlink.h */
const HEADER = 16;
/** The kernel puts about so many links into a datagram of 32 KiB. */
const AT_A_TIME = 20;

/** The median of several runs; the first one, in which the code is compiled, doesn't count. */
function milliseconds(work: () => void): number {
  const times = Array.from({ length: TIMES + 1 }, () => {
    const start = process.hrtime.bigint();
    work();
    return Number(process.hrtime.bigint() - start) / 1e6;
  });
  return times.slice(1).sort((a, b) => a - b)[TIMES >> 1]!;
}

const perSecond = (work: () => void) => Math.round((MADE * 1000) / milliseconds(work));
