import type { Decoder, Encoder } from './codec.ts';
import { boolean, type Field, flag, ipv4, ipv6, named, u8, u16be, u32, u32be, type Values } from './field.ts';

/** enum ifla_vxlan_df, linux/if_link.h */
const DONT_FRAGMENT = { unset: 0, set: 1, inherit: 2 };

/** struct ifla_vxlan_port_range: two 16-bit numbers, big-endian. */
const portRange = (type: number): Field<{ low: number; high: number }> => ({
  type,
  write: (payload: Encoder, { low, high }) => {
    payload.u16be(low);
    payload.u16be(high);
  },
  read: (payload: Decoder) => ({ low: payload.u16be(), high: payload.u16be() }),
});

/** IFLA_VXLAN_*, linux/if_link.h, in the order that `ip` sends them. */
export const vxlanFields = {
  /** Index of the link that the packets go through. */
  link: u32(3),
  ttl: u8(5),
  ttlInherit: flag(28),
  tos: u8(6),
  df: named(u8(29), DONT_FRAGMENT),
  /** IPv6 flow label. */
  label: u32be(26),
  /** Seconds. */
  ageing: u32(8),
  limit: u32(9),
  /** UDP source ports; 0 to 0 for the kernel's choice. */
  portRange: portRange(10),
  proxy: boolean(u8(11)),
  rsc: boolean(u8(12)),
  l2miss: boolean(u8(13)),
  l3miss: boolean(u8(14)),
  udpCsum: boolean(u8(18)),
  udpZeroCsum6Tx: boolean(u8(19)),
  udpZeroCsum6Rx: boolean(u8(20)),
  remcsumTx: boolean(u8(21)),
  remcsumRx: boolean(u8(22)),
  remcsumNopartial: flag(24),
  external: boolean(u8(25)),
  gbp: flag(23),
  gpe: flag(27),
  vnifilter: boolean(u8(30)),
  localbypass: boolean(u8(31)),
  id: u32(1),
  local: ipv4(4),
  local6: ipv6(17),
  /** A multicast group, or the one remote address. */
  group: ipv4(2),
  group6: ipv6(16),
  learning: boolean(u8(7)),
  /** UDP destination port. The kernel's default is 8472, the registered number is 4789. */
  port: u16be(15),
};
export type VxlanData = Values<typeof vxlanFields>;
