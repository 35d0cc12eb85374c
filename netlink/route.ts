import { type Decoder, Encoder } from './codec.ts';
import {
  decodeFields,
  encodeFields,
  type Field,
  ip,
  named,
  nest,
  readFamily,
  readIp,
  text,
  u8,
  u16,
  u32,
  type Values,
} from './field.ts';
import { FAMILIES, type Family, familyOf, parseIp } from './ip-address.ts';
import { type Message, openBody } from './message.ts';
import { bitsOf, type Flag, flagsOf, type Name, nameOf } from './names.ts';
import { RTM, SCOPES } from './rtnetlink.ts';

/** RTN_*, linux/rtnetlink.h */
export const ROUTE_TYPES = {
  unspec: 0,
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  nat: 10,
  xresolve: 11,
} as const;

/** RTPROT_*, linux/rtnetlink.h: who made the route. */
export const ROUTE_PROTOCOLS = {
  unspec: 0,
  redirect: 1,
  kernel: 2,
  boot: 3,
  static: 4,
  gated: 8,
  ra: 9,
  mrt: 10,
  zebra: 11,
  bird: 12,
  dnrouted: 13,
  xorp: 14,
  ntk: 15,
  dhcp: 16,
  keepalived: 18,
  babel: 42,
  openr: 99,
  bgp: 186,
  isis: 187,
  ospf: 188,
  rip: 189,
  eigrp: 192,
} as const;

/** Tables with a name: enum rt_class_t, linux/rtnetlink.h. A table is a number; these are the ones to know. */
export const ROUTE_TABLES = { default: 253, main: 254, local: 255 } as const;

/** RTNH_F_* (of each next hop), and the RTM_F_* that a route shows, linux/rtnetlink.h */
export const ROUTE_FLAGS = {
  dead: 0x1,
  pervasive: 0x2,
  onlink: 0x4,
  offload: 0x8,
  linkdown: 0x10,
  unresolved: 0x20,
  trap: 0x40,
  notify: 0x100,
  cloned: 0x200,
  equalize: 0x400,
  prefix: 0x800,
  rt_offload: 0x4000,
  rt_trap: 0x8000,
  rt_offload_failed: 0x2000_0000,
} as const;

/** ICMPV6_ROUTER_PREF_*, linux/icmpv6.h */
const PREFERENCES = { medium: 0, high: 1, low: 3 } as const;

/** RTAX_*, linux/rtnetlink.h: what is known of the path. Times in milliseconds, but for rtt (1/8) and rttvar (1/4 of one). */
const metricFields = {
  /** Bits, by attribute number, of those that the kernel must not adjust. */
  lock: u32(1),
  mtu: u32(2),
  window: u32(3),
  rtt: u32(4),
  rttvar: u32(5),
  ssthresh: u32(6),
  cwnd: u32(7),
  advmss: u32(8),
  reordering: u32(9),
  hoplimit: u32(10),
  initcwnd: u32(11),
  features: u32(12),
  rtoMin: u32(13),
  initrwnd: u32(14),
  quickack: u32(15),
  congctl: text(16),
  fastopenNoCookie: u32(17),
};
export type RouteMetrics = Values<typeof metricFields>;

/** struct rtvia, linux/rtnetlink.h: a gateway that is not of the destination's family. */
const via: Field<string> = {
  /** RTA_VIA */
  type: 18,
  write: (payload, address) => {
    payload.u16(FAMILIES[familyOf(address)]);
    payload.bytes(parseIp(address));
  },
  read: payload => {
    payload.skip(2);
    return readIp(payload);
  },
};

/** One of the ways that a route spreads its packets over. */
export interface Nexthop {
  gateway?: string;
  /** Index of the link that leads out. */
  index?: number;
  /** From 1 to 256: its share of the packets. */
  weight?: number;
  flags?: Flag<typeof ROUTE_FLAGS>[];
}

const nexthopFields = { gateway: ip(5), via };

/** struct rtnexthop, linux/rtnetlink.h: length, flags, weight less one, link; then attributes. */
const NEXTHOP_HEADER = 8;
const nexthops: Field<Nexthop[]> = {
  /** RTA_MULTIPATH */
  type: 9,
  write: (payload, hops) => {
    for (const { gateway, index = 0, weight = 1, flags = [] } of hops) {
      const attributes = new Encoder();
      encodeFields(attributes, nexthopFields, { gateway });
      payload.u16(NEXTHOP_HEADER + attributes.length);
      payload.u8(bitsOf(ROUTE_FLAGS, flags));
      payload.u8(weight - 1);
      payload.s32(index);
      payload.bytes(attributes.finish());
    }
  },
  read: payload => {
    const hops: Nexthop[] = [];
    while (payload.remaining > 0) hops.push(readNexthop(payload));
    return hops;
  },
};

function readNexthop(payload: Decoder): Nexthop {
  const offset = payload.offset;
  const length = payload.u16();
  if (length < NEXTHOP_HEADER)
    payload.fail(`a next hop says it has ${length} bytes, the least is ${NEXTHOP_HEADER}`, offset);
  const flags = flagsOf(ROUTE_FLAGS, payload.u8());
  const weight = payload.u8() + 1;
  const index = payload.s32();
  const { via, gateway = via } = decodeFields(payload.part(length - NEXTHOP_HEADER), nexthopFields);
  payload.skipPadding(length);
  return { ...(gateway !== undefined && { gateway }), index, weight, flags };
}

/** The part of struct rta_cacheinfo, linux/rtnetlink.h, that means something for routes. */
export interface RouteCache {
  /** Hundredths of a second since the last use, and until it runs out (0: never). */
  lastUsed: number;
  expires: number;
  /** The error that packets are answered with, as a negative number; 0 for none. */
  error: number;
  used: number;
}

const cache: Field<RouteCache> = {
  /** RTA_CACHEINFO */
  type: 12,
  write: (payload, { lastUsed, expires, error, used }) => {
    payload.u32(0);
    payload.u32(lastUsed);
    payload.s32(expires);
    payload.s32(error);
    for (const value of [used, 0, 0, 0]) payload.u32(value);
  },
  read: payload => {
    payload.skip(4);
    return { lastUsed: payload.u32(), expires: payload.s32(), error: payload.s32(), used: payload.u32() };
  },
};

/** RTA_*, linux/rtnetlink.h, in the order that `ip` sends them. */
export const routeFields = {
  destination: ip(1),
  source: ip(2),
  gateway: ip(5),
  via,
  preferredSource: ip(7),
  metric: u32(6),
  table: u32(15),
  realms: u32(11),
  preference: named(u8(20), PREFERENCES),
  expires: u32(23),
  nexthopId: u32(30),
  ttlPropagate: u8(26),
  mark: u32(16),
  uid: u32(25),
  encapType: u16(21),
  inputIndex: u32(3),
  index: u32(4),
  metrics: nest(8, metricFields),
  nexthops,
  cache,
};

/** A route that is to be made. */
export interface RouteSettings {
  /** With its prefix length: `10.0.0.0/8`. The default routes are `0.0.0.0/0` and `::/0`. */
  destination: string;
  /** IPv6 only: packets from this prefix. */
  source?: string;
  /** Where to send the packets. An IPv4 route may have an IPv6 gateway. */
  gateway?: string;
  /** Index of the link that leads out. */
  index?: number;
  /** Several ways in place of `gateway` and `index`. */
  nexthops?: Nexthop[];
  /** The id of a next hop object in place of those. */
  nexthopId?: number;
  /** The address that own packets come from. */
  preferredSource?: string;
  /** Of several routes to one destination the one with the least is taken. */
  metric?: number;
  metrics?: RouteMetrics;
  /** Number of the table, ROUTE_TABLES.main if not given. */
  table?: number;
  /** `boot` if not given. */
  protocol?: Name<typeof ROUTE_PROTOCOLS>;
  /** Chosen from type and gateway, as `ip` does it, if not given. */
  scope?: Name<typeof SCOPES>;
  /** `unicast` if not given. */
  type?: Name<typeof ROUTE_TYPES>;
  tos?: number;
  flags?: Flag<typeof ROUTE_FLAGS>[];
  /** IPv4 only: the realm that packets go to, and that they come from in the upper 16 bits. */
  realms?: number;
  /** IPv6 only. */
  preference?: Name<typeof PREFERENCES>;
  /** Seconds; IPv6 only. */
  expires?: number;
}

/** A route, as the kernel tells of it. */
export interface Route extends RouteSettings {
  family: Family;
  table: number;
  protocol: Name<typeof ROUTE_PROTOCOLS>;
  scope: Name<typeof SCOPES>;
  type: Name<typeof ROUTE_TYPES>;
  tos: number;
  flags: Flag<typeof ROUTE_FLAGS>[];
  cache?: RouteCache;
  ttlPropagate?: number;
  mark?: number;
  uid?: number;
  /** enum lwtunnel_encap_types, linux/lwtunnel.h; what is in the envelope is not decoded. */
  encapType?: number;
  /** Index of the link that the packet came in by, in an answer to getRoute. */
  inputIndex?: number;
}

const ANY: Readonly<Record<Family, string>> = { inet: '0.0.0.0', inet6: '::' };

/** Reads an RTM_NEWROUTE or RTM_DELROUTE message. */
export function decodeRoute(message: Message): Route {
  const body = openBody(message, [RTM.NEWROUTE, RTM.DELROUTE]);
  const header = readRouteHeader(body);
  const { destinationLength, sourceLength, ...common } = header;
  const { via, gateway = via, destination, source, ...attributes } = decodeFields(body, routeFields);
  return {
    ...common,
    ...attributes,
    destination: `${destination ?? ANY[common.family]}/${destinationLength}`,
    ...(sourceLength > 0 && { source: `${source ?? ANY[common.family]}/${sourceLength}` }),
    ...(gateway !== undefined && { gateway }),
  };
}

/** struct rtmsg, linux/rtnetlink.h. Its table has 8 bits only; RTA_TABLE says it in full. */
function readRouteHeader(body: Decoder) {
  return {
    family: readFamily(body),
    destinationLength: body.u8(),
    sourceLength: body.u8(),
    tos: body.u8(),
    table: body.u8(),
    protocol: nameOf(ROUTE_PROTOCOLS, body.u8()),
    scope: nameOf(SCOPES, body.u8()),
    type: nameOf(ROUTE_TYPES, body.u8()),
    flags: flagsOf(ROUTE_FLAGS, body.u32()),
  };
}
