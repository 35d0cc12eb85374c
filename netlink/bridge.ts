import type { Decoder, Encoder } from './codec.ts';
import { InvalidValueError } from './error.ts';
import {
  boolean,
  type Field,
  flag,
  ip,
  linkAddress,
  named,
  nest,
  switches,
  u8,
  u16,
  u16be,
  u32,
  u64,
  type Values,
} from './field.ts';
import { formatLinkAddress, parseLinkAddress } from './ip-address.ts';

/** Ethernet types of VLAN tags: ETH_P_8021Q and ETH_P_8021AD, linux/if_ether.h */
export const VLAN_PROTOCOLS = { '802.1Q': 0x8100, '802.1ad': 0x88a8 } as const;

/** BR_BOOLOPT_*, linux/if_bridge.h, as bits. */
const BRIDGE_OPTIONS = { noLinklocalLearn: 0x1, mcastVlanSnooping: 0x2, mstEnabled: 0x4 };

/** BR_STATE_*, linux/if_bridge.h */
const PORT_STATES = { disabled: 0, listening: 1, learning: 2, forwarding: 3, blocking: 4 };

/** struct ifla_bridge_id: priority (two bytes) and address, written as `8000.02:00:00:00:00:01`. */
const bridgeId = (type: number): Field<string> => ({ type, write: writeBridgeId, read: readBridgeId });

function writeBridgeId(payload: Encoder, id: string): void {
  const [, priority, address] = /^([0-9a-f]{4})\.(.*)$/.exec(id) ?? [];
  if (!priority || !address) throw new InvalidValueError(`"${id}" is not a bridge id such as 8000.02:00:00:00:00:01`);
  payload.u16be(Number.parseInt(priority, 16));
  payload.bytes(parseLinkAddress(address));
}

function readBridgeId(payload: Decoder): string {
  const priority = payload.u16be().toString(16).padStart(4, '0');
  return `${priority}.${formatLinkAddress(payload.bytes(6))}`;
}

/** BRIDGE_QUERIER_*, linux/if_bridge.h. Timers in hundredths of a second. */
const querierFields = {
  ipAddress: ip(1),
  ipPort: u32(2),
  ipOtherTimer: u64(3),
  ipv6Address: ip(5),
  ipv6Port: u32(6),
  ipv6OtherTimer: u64(7),
};

/** IFLA_BR_*, linux/if_link.h, in the order of their numbers. Times are in hundredths of a second (USER_HZ). */
export const bridgeFields = {
  forwardDelay: u32(1),
  helloTime: u32(2),
  maxAge: u32(3),
  ageingTime: u32(4),
  /** 0: none, 1: in the kernel, 2: by a daemon. */
  stpState: u32(5),
  priority: u16(6),
  vlanFiltering: boolean(u8(7)),
  vlanProtocol: named(u16be(8), VLAN_PROTOCOLS),
  groupFwdMask: u16(9),
  rootId: bridgeId(10),
  bridgeId: bridgeId(11),
  rootPort: u16(12),
  rootPathCost: u32(13),
  topologyChange: boolean(u8(14)),
  topologyChangeDetected: boolean(u8(15)),
  helloTimer: u64(16),
  tcnTimer: u64(17),
  topologyChangeTimer: u64(18),
  gcTimer: u64(19),
  groupAddr: linkAddress(20),
  fdbFlush: flag(21),
  /** 0: no multicast router, 1: find out, 2: always. */
  mcastRouter: u8(22),
  mcastSnooping: boolean(u8(23)),
  mcastQueryUseIfaddr: boolean(u8(24)),
  mcastQuerier: boolean(u8(25)),
  mcastHashElasticity: u32(26),
  mcastHashMax: u32(27),
  mcastLastMemberCnt: u32(28),
  mcastStartupQueryCnt: u32(29),
  mcastLastMemberIntvl: u64(30),
  mcastMembershipIntvl: u64(31),
  mcastQuerierIntvl: u64(32),
  mcastQueryIntvl: u64(33),
  mcastQueryResponseIntvl: u64(34),
  mcastStartupQueryIntvl: u64(35),
  nfCallIptables: boolean(u8(36)),
  nfCallIp6tables: boolean(u8(37)),
  nfCallArptables: boolean(u8(38)),
  vlanDefaultPvid: u16(39),
  vlanStatsEnabled: boolean(u8(41)),
  mcastStatsEnabled: boolean(u8(42)),
  mcastIgmpVersion: u8(43),
  mcastMldVersion: u8(44),
  vlanStatsPerPort: boolean(u8(45)),
  options: switches(46, BRIDGE_OPTIONS),
  mcastQuerierState: nest(47, querierFields),
  fdbNLearned: u32(48),
  fdbMaxLearned: u32(49),
};
export type BridgeData = Values<typeof bridgeFields>;

/** IFLA_BRPORT_*, linux/if_link.h: a link as the port of a bridge. Named as `ip` does; times in hundredths of a second. */
export const bridgePortFields = {
  state: named(u8(1), PORT_STATES),
  priority: u16(2),
  cost: u32(3),
  hairpin: boolean(u8(4)),
  guard: boolean(u8(5)),
  rootBlock: boolean(u8(6)),
  fastleave: boolean(u8(7)),
  learning: boolean(u8(8)),
  flood: boolean(u8(9)),
  proxyArp: boolean(u8(10)),
  proxyArpWifi: boolean(u8(12)),
  rootId: bridgeId(13),
  bridgeId: bridgeId(14),
  designatedPort: u16(15),
  designatedCost: u16(16),
  id: u16(17),
  no: u16(18),
  topologyChangeAck: boolean(u8(19)),
  configPending: boolean(u8(20)),
  messageAgeTimer: u64(21),
  forwardDelayTimer: u64(22),
  holdTimer: u64(23),
  flush: flag(24),
  /** 0: no multicast router, 1: find out, 2: always, 3: for now. */
  multicastRouter: u8(25),
  mcastFlood: boolean(u8(27)),
  mcastToUnicast: boolean(u8(28)),
  vlanTunnel: boolean(u8(29)),
  bcastFlood: boolean(u8(30)),
  groupFwdMask: u16(31),
  neighSuppress: boolean(u8(32)),
  isolated: boolean(u8(33)),
  backupPort: u32(34),
  mrpRingOpen: boolean(u8(35)),
  mrpInOpen: boolean(u8(36)),
  mcastEhtHostsLimit: u32(37),
  mcastEhtHostsCnt: u32(38),
  locked: boolean(u8(39)),
  mab: boolean(u8(40)),
  mcastNGroups: u32(41),
  mcastMaxGroups: u32(42),
  neighVlanSuppress: boolean(u8(43)),
  backupNhid: u32(44),
};
export type BridgePortData = Values<typeof bridgePortFields>;
