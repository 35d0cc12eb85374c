/** Message types of NETLINK_ROUTE (protocol 0), linux/rtnetlink.h */
export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  NEWLINKPROP: 108,
  DELLINKPROP: 109,
} as const;

/** Multicast groups that events come from: enum rtnetlink_groups, linux/rtnetlink.h */
export const RTNLGRP = {
  LINK: 1,
  NEIGH: 3,
  IPV4_IFADDR: 5,
  IPV4_ROUTE: 7,
  IPV6_IFADDR: 9,
  IPV6_ROUTE: 11,
} as const;

/** How far an address or route reaches: enum rt_scope_t, linux/rtnetlink.h; `global` is RT_SCOPE_UNIVERSE. */
export const SCOPES = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;
