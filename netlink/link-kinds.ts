import { type BridgeData, type BridgePortData, bridgeFields, bridgePortFields, VLAN_PROTOCOLS } from './bridge.ts';
import type { Decoder, Encoder } from './codec.ts';
import {
  boolean,
  type Field,
  type Fields,
  flags,
  linkAddress,
  list,
  named,
  s32,
  switches,
  u8,
  u16,
  u16be,
  u32,
  type Values,
} from './field.ts';
import { type VxlanData, vxlanFields } from './vxlan.ts';

/** enum macvlan_mode, linux/if_link.h */
export const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8, source: 16 } as const;
/** MACVLAN_FLAG_*, linux/if_link.h */
const MACVLAN_FLAGS = { nopromisc: 1, nodst: 2 };
/** enum macvlan_macaddr_mode, linux/if_link.h: what to do with the addresses of mode `source`. */
const MACVLAN_ADDRESS_CHANGES = { add: 0, del: 1, flush: 2, set: 3 };

/** IFLA_MACVLAN_*, linux/if_link.h, in the order that `ip` sends them; a macvtap has the same. */
const macvlanFields = {
  macaddrMode: named(u32(3), MACVLAN_ADDRESS_CHANGES),
  macaddr: linkAddress(4),
  macaddrData: list(5, linkAddress(4)),
  macaddrCount: u32(6),
  mode: named(u32(1), MACVLAN_MODES),
  flags: flags(u16(2), MACVLAN_FLAGS),
  bcqueuelen: u32(7),
  usedbcqueuelen: u32(8),
  bccutoff: s32(9),
};
export type MacvlanData = Values<typeof macvlanFields>;

/** enum ipvlan_mode, linux/if_link.h */
export const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const;
/** IPVLAN_F_*, linux/if_link.h; without a flag the links of one parent see each other ("bridge"). */
const IPVLAN_FLAGS = { private: 1, vepa: 2 };

/** IFLA_IPVLAN_*, linux/if_link.h; an ipvtap has the same. */
const ipvlanFields = {
  mode: named(u16(1), IPVLAN_MODES),
  flags: flags(u16(2), IPVLAN_FLAGS),
};
export type IpvlanData = Values<typeof ipvlanFields>;

/** enum vlan_flags, linux/if_vlan.h */
const VLAN_FLAGS = { reorderHdr: 0x1, gvrp: 0x2, looseBinding: 0x4, mvrp: 0x8, bridgeBinding: 0x10 };

/** struct ifla_vlan_qos_mapping: one priority becomes another. */
export interface QosMapping {
  readonly from: number;
  readonly to: number;
}
const qosMapping: Field<QosMapping> = {
  /** IFLA_VLAN_QOS_MAPPING */
  type: 1,
  write: (payload: Encoder, { from, to }) => {
    payload.u32(from);
    payload.u32(to);
  },
  read: (payload: Decoder) => ({ from: payload.u32(), to: payload.u32() }),
};

/** IFLA_VLAN_*, linux/if_link.h, in the order that `ip` sends them. */
const vlanFields = {
  protocol: named(u16be(5), VLAN_PROTOCOLS),
  id: u16(1),
  ingressQos: list(4, qosMapping),
  egressQos: list(3, qosMapping),
  flags: switches(2, VLAN_FLAGS),
};
export type VlanData = Values<typeof vlanFields>;

/** IFF_TUN and IFF_TAP, linux/if_tun.h */
const TUN_TYPES = { tun: 1, tap: 2 };

/** IFLA_TUN_*, linux/if_link.h. The kernel makes a tun by /dev/net/tun only; netlink shows, changes and deletes it. */
const tunFields = {
  /** User and group id of who may open it. */
  owner: u32(1),
  group: u32(2),
  type: named(u8(3), TUN_TYPES),
  pi: boolean(u8(4)),
  vnetHdr: boolean(u8(5)),
  persist: boolean(u8(6)),
  multiQueue: boolean(u8(7)),
  numQueues: u32(8),
  numDisabledQueues: u32(9),
};
export type TunData = Values<typeof tunFields>;

/** What each kind of link has of its own: IFLA_INFO_DATA. Kinds that are not here (veth, dummy…) show nothing. */
export interface LinkDataByKind {
  bridge: BridgeData;
  macvlan: MacvlanData;
  macvtap: MacvlanData;
  ipvlan: IpvlanData;
  ipvtap: IpvlanData;
  vlan: VlanData;
  vxlan: VxlanData;
  tun: TunData;
}
export const kindFields: Readonly<Record<keyof LinkDataByKind, Fields>> = {
  bridge: bridgeFields,
  macvlan: macvlanFields,
  macvtap: macvlanFields,
  ipvlan: ipvlanFields,
  ipvtap: ipvlanFields,
  vlan: vlanFields,
  vxlan: vxlanFields,
  tun: tunFields,
};

/** What a link has as the port of a master of some kind: IFLA_INFO_SLAVE_DATA. */
export interface PortDataByKind {
  bridge: BridgePortData;
}
export const portFields: Readonly<Record<keyof PortDataByKind, Fields>> = { bridge: bridgePortFields };
