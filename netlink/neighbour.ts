import type { Encoder } from './codec.ts';
import {
  decodeFields,
  encodeFields,
  type Field,
  flags,
  ip,
  linkAddress,
  named,
  s32,
  u8,
  u16,
  u16be,
  u32,
  type Values,
} from './field.ts';
import { FAMILIES, familyOf } from './ip-address.ts';
import {
  CREATION_FLAGS,
  type Creation,
  change,
  type Message,
  NLM_F,
  openBody,
  type Query,
  query,
  type Request,
} from './message.ts';
import { bitsOf, type Flag, flagsOf, type Name, nameOf } from './names.ts';
import { ROUTE_PROTOCOLS, ROUTE_TYPES } from './route.ts';
import { RTM } from './rtnetlink.ts';

/** NUD_*, linux/neighbour.h. No bit at all is NUD_NONE. */
const NEIGHBOUR_STATES = {
  INCOMPLETE: 0x1,
  REACHABLE: 0x2,
  STALE: 0x4,
  DELAY: 0x8,
  PROBE: 0x10,
  FAILED: 0x20,
  NOARP: 0x40,
  PERMANENT: 0x80,
} as const;

/** NTF_*, linux/neighbour.h */
const NEIGHBOUR_FLAGS = {
  use: 0x1,
  self: 0x2,
  master: 0x4,
  proxy: 0x8,
  extern_learn: 0x10,
  offload: 0x20,
  sticky: 0x40,
  router: 0x80,
} as const;

/** NTF_EXT_*, linux/neighbour.h */
const EXTENDED_FLAGS = { managed: 0x1, locked: 0x2 } as const;

/** AF_BRIDGE, linux/socket.h: entries of a bridge's forwarding table, which have no IP address. */
const NEIGHBOUR_FAMILIES = { ...FAMILIES, bridge: 7 } as const;

/** How often an entry is in use, and hundredths of a second since it was confirmed, used, updated. */
export interface NeighbourTimes {
  confirmed: number;
  used: number;
  updated: number;
  references: number;
}

/** struct nda_cacheinfo, linux/neighbour.h */
const times: Field<NeighbourTimes> = {
  /** NDA_CACHEINFO */
  type: 3,
  write: (payload, { confirmed, used, updated, references }) => {
    for (const value of [confirmed, used, updated, references]) payload.u32(value);
  },
  read: payload => ({
    confirmed: payload.u32(),
    used: payload.u32(),
    updated: payload.u32(),
    references: payload.u32(),
  }),
};

/** NDA_*, linux/neighbour.h */
const neighbourFields = {
  address: ip(1),
  linkAddress: linkAddress(2),
  times,
  probes: u32(4),
  vlan: u16(5),
  port: u16be(6),
  vni: u32(7),
  /** Index of the link that a VXLAN sends to. */
  via: u32(8),
  master: u32(9),
  linkNetnsId: s32(10),
  sourceVni: u32(11),
  protocol: named(u8(12), ROUTE_PROTOCOLS),
  nexthopId: u32(13),
  extendedFlags: flags(u32(15), EXTENDED_FLAGS),
};

/** An entry of the neighbour (ARP, NDP) table that is to be made. */
export interface NeighbourSettings {
  /** Index of the link. */
  index: number;
  address: string;
  /** Not for proxy entries. */
  linkAddress?: string;
  /** `PERMANENT` if not given. */
  state?: Flag<typeof NEIGHBOUR_STATES>[];
  /** `proxy`: answer for this address. */
  flags?: Flag<typeof NEIGHBOUR_FLAGS>[];
}

/** An entry of the neighbour table, or (family `bridge`) of a bridge's forwarding table, as the kernel tells of it. */
export interface Neighbour extends Omit<Values<typeof neighbourFields>, 'address'> {
  family: Name<typeof NEIGHBOUR_FAMILIES>;
  index: number;
  address?: string;
  state: Flag<typeof NEIGHBOUR_STATES>[];
  flags: Flag<typeof NEIGHBOUR_FLAGS>[];
  /** What kind of address it is. */
  type: Name<typeof ROUTE_TYPES>;
}

export function newNeighbour(settings: NeighbourSettings, creation: Creation = 'create'): Request {
  const action = `add neighbour ${describe(settings)}`;
  return change(action, RTM.NEWNEIGH, body => writeNeighbour(body, settings), CREATION_FLAGS[creation]);
}

export function deleteNeighbour(settings: NeighbourSettings): Request {
  return change(`delete neighbour ${describe(settings)}`, RTM.DELNEIGH, body => writeNeighbour(body, settings));
}

/** Asks for the entry of one address on one link. */
export function getNeighbour({ index, address }: { index: number; address: string }): Query<Neighbour> {
  const settings: NeighbourSettings = { index, address, state: [] };
  const action = `read neighbour ${describe(settings)}`;
  return query(action, RTM.GETNEIGH, body => writeNeighbour(body, settings), decodeNeighbour);
}

/** Lists entries; if so wanted those of one family, or of one link (for that, with NETLINK_GET_STRICT_CHK), or the proxies. */
export function dumpNeighbours(
  of: { family?: keyof typeof NEIGHBOUR_FAMILIES; index?: number; proxies?: boolean } = {},
): Query<Neighbour> {
  const fill = (body: Encoder) => {
    writeHeader(body, of.family ? NEIGHBOUR_FAMILIES[of.family] : 0, 0, 0, of.proxies ? NEIGHBOUR_FLAGS.proxy : 0);
    encodeFields(body, neighbourFields, { via: of.index });
  };
  return query('list neighbours', RTM.GETNEIGH, fill, decodeNeighbour, NLM_F.DUMP);
}

/** Reads an RTM_NEWNEIGH or RTM_DELNEIGH message. */
export function decodeNeighbour(message: Message): Neighbour {
  const body = openBody(message, [RTM.NEWNEIGH, RTM.DELNEIGH]);
  const family = nameOf(NEIGHBOUR_FAMILIES, body.u8());
  body.skip(3);
  const index = body.s32();
  const state = flagsOf(NEIGHBOUR_STATES, body.u16());
  const flags = flagsOf(NEIGHBOUR_FLAGS, body.u8());
  const type = nameOf(ROUTE_TYPES, body.u8());
  return { family, index, state, flags, type, ...decodeFields(body, neighbourFields) };
}

function describe({ address, index }: { address: string; index: number }): string {
  return `${address} on link ${index}`;
}

function writeNeighbour(body: Encoder, settings: NeighbourSettings): void {
  const { index, address, linkAddress, state = ['PERMANENT'], flags = [] } = settings;
  const family = FAMILIES[familyOf(address)];
  writeHeader(body, family, index, bitsOf(NEIGHBOUR_STATES, state), bitsOf(NEIGHBOUR_FLAGS, flags));
  encodeFields(body, neighbourFields, { address, linkAddress });
}

/** struct ndmsg, linux/neighbour.h */
function writeHeader(body: Encoder, family: number, index: number, state: number, flags: number): void {
  body.u8(family);
  body.u8(0);
  body.u16(0);
  body.s32(index);
  body.u16(state);
  body.u8(flags);
  body.u8(0);
}
