import type { Decoder } from './codec.ts';
import {
  boolean,
  decodeFields,
  interfaceName,
  ipv6,
  linkAddress,
  list,
  named,
  nest,
  s32,
  string,
  text,
  u8,
  u32,
  type Values,
} from './field.ts';
import { formatIp, parseLinkAddress } from './ip-address.ts';
import { type LinkInfo, linkInfo } from './link-info.ts';
import { kindFields, type LinkDataByKind } from './link-kinds.ts';
import { linkStatistics } from './link-statistics.ts';
import { type Message, openBody } from './message.ts';
import { type Flag, flagsOf, type Name, nameOf } from './names.ts';
import { RTM } from './rtnetlink.ts';

/** IFF_*, linux/if.h, in the order that `ip` shows them. */
export const LINK_FLAGS = {
  LOOPBACK: 0x8,
  BROADCAST: 0x2,
  POINTOPOINT: 0x10,
  MULTICAST: 0x1000,
  NOARP: 0x80,
  ALLMULTI: 0x200,
  PROMISC: 0x100,
  MASTER: 0x400,
  SLAVE: 0x800,
  DEBUG: 0x4,
  DYNAMIC: 0x8000,
  AUTOMEDIA: 0x4000,
  PORTSEL: 0x2000,
  NOTRAILERS: 0x20,
  UP: 0x1,
  RUNNING: 0x40,
  LOWER_UP: 0x10000,
  DORMANT: 0x20000,
  ECHO: 0x40000,
} as const;

/** ARPHRD_*, linux/if_arp.h, with the names of `ip`. */
const LINK_TYPES = {
  ether: 1,
  infiniband: 32,
  can: 280,
  ppp: 512,
  rawip: 519,
  ipip: 768,
  tunnel6: 769,
  loopback: 772,
  sit: 776,
  gre: 778,
  'ieee802.11': 801,
  gre6: 823,
  netlink: 824,
  none: 0xfffe,
} as const;

/** The types whose link-layer addresses are IP addresses. */
const TUNNELS = new Set<string>(['ipip', 'tunnel6', 'sit', 'gre', 'gre6']);

/** IF_OPER_*, linux/if.h (RFC 2863). */
const OPERATIONAL_STATES = {
  UNKNOWN: 0,
  NOTPRESENT: 1,
  DOWN: 2,
  LOWERLAYERDOWN: 3,
  TESTING: 4,
  DORMANT: 5,
  UP: 6,
} as const;

/** IF_LINK_MODE_*, linux/if.h */
const LINK_MODES = { DEFAULT: 0, DORMANT: 1, TESTING: 2 } as const;

/** enum in6_addr_gen_mode, linux/if_link.h, with the names of `ip`. */
const ADDRESS_GENERATION = { eui64: 0, none: 1, stable_secret: 2, random: 3 } as const;

/** XDP_ATTACHED_*, linux/if_link.h */
const XDP_ATTACHED = { none: 0, driver: 1, generic: 2, hardware: 3, multi: 4 } as const;

/** IFLA_XDP_*, linux/if_link.h: a BPF program that sees the packets first. */
const xdpFields = { attached: named(u8(2), XDP_ATTACHED), progId: u32(4) };

/** IFLA_INET6_*, linux/if_link.h, within AF_INET6 (10) within IFLA_AF_SPEC. */
const inet6Fields = { token: ipv6(7), addrGenMode: named(u8(8), ADDRESS_GENERATION) };

/** IFLA_*, linux/if_link.h, in the order of their numbers. */
export const linkFields = {
  /** MAC address; an IP address for tunnels. */
  address: linkAddress(1),
  broadcast: linkAddress(2),
  name: interfaceName(3),
  mtu: u32(4),
  /** Index of the link it sits on (macvlan, vlan…) or is joined to (veth), in the namespace `linkNetnsId`. */
  link: u32(5),
  qdisc: string(6),
  /** Index of the bridge, bond or VRF it is a port of; set it to 0 for none. */
  master: u32(10),
  txQueueLength: u32(13),
  operationalState: named(u8(16), OPERATIONAL_STATES),
  linkMode: named(u8(17), LINK_MODES),
  info: linkInfo(kindFields),
  alias: text(20),
  statistics: linkStatistics,
  /** What each address family keeps for the link. */
  afSpec: nest(26, { inet6: nest(10, inet6Fields) }),
  group: u32(27),
  /** How many want it to take in all packets. */
  promiscuity: u32(30),
  numTxQueues: u32(31),
  numRxQueues: u32(32),
  carrier: boolean(u8(33)),
  physPortId: linkAddress(34),
  carrierChanges: u32(35),
  physSwitchId: linkAddress(36),
  /** The namespace that `link` is in, as this namespace numbers it; missing if it is the same one. */
  linkNetnsId: s32(37),
  physPortName: string(38),
  protoDown: boolean(u8(39)),
  gsoMaxSegs: u32(40),
  gsoMaxSize: u32(41),
  xdp: nest(43, xdpFields),
  /** Where it went, in a message about a link that was moved to another namespace. */
  newNetnsId: s32(45),
  carrierUpCount: u32(47),
  carrierDownCount: u32(48),
  newIndex: s32(49),
  minMtu: u32(50),
  maxMtu: u32(51),
  altNames: list(52, string(53)),
  permanentAddress: linkAddress(54),
  parentDevName: string(56),
  parentDevBusName: string(57),
  groMaxSize: u32(58),
  tsoMaxSize: u32(59),
  tsoMaxSegs: u32(60),
  /** How many want it to take in all multicast packets. */
  allMulticast: u32(61),
  gsoIpv4MaxSize: u32(63),
  groIpv4MaxSize: u32(64),
};

/** A network interface, as the kernel tells of it. */
export interface Link extends Omit<Values<typeof linkFields>, 'info'>, LinkInfo {
  /** The address family that speaks: 0 for the link itself, 7 (AF_BRIDGE) for a bridge about a port. */
  family: number;
  index: number;
  type: Name<typeof LINK_TYPES>;
  flags: Flag<typeof LINK_FLAGS>[];
  name: string;
}

/** Reads an RTM_NEWLINK or RTM_DELLINK message. */
export function decodeLink(message: Message): Link {
  const body = openBody(message, [RTM.NEWLINK, RTM.DELLINK]);
  const header = readLinkHeader(body);
  const { info, ...attributes } = decodeFields(body, linkFields);
  const { name } = attributes;
  if (name === undefined) return body.fail('a link without a name');
  const link: Link = { ...header, ...attributes, ...info, name };
  if (TUNNELS.has(link.type)) showTunnelEnds(link);
  return link;
}

/** struct ifinfomsg, linux/rtnetlink.h; what follows it are attributes. */
function readLinkHeader(body: Decoder): Pick<Link, 'family' | 'index' | 'type' | 'flags'> {
  const family = body.u8();
  body.skip(1);
  const type = nameOf(LINK_TYPES, body.u16());
  const index = body.s32();
  const flags = flagsOf(LINK_FLAGS, body.u32());
  // ifi_change: only requests use it.
  body.skip(4);
  return { family, index, type, flags };
}

function showTunnelEnds(link: Link): void {
  for (const end of ['address', 'broadcast'] as const) {
    const text = link[end];
    const ip = text && formatIp(parseLinkAddress(text));
    if (ip) link[end] = ip;
  }
}

/** What a link of one kind has of its own, or undefined if the link is of another kind. */
export function dataOfKind<K extends keyof LinkDataByKind>(link: Link, kind: K): LinkDataByKind[K] | undefined {
  return link.kind === kind ? (link.data as LinkDataByKind[K] | undefined) : undefined;
}
