import type { Field } from './field.ts';

/** The counters of struct rtnl_link_stats64, linux/if_link.h, in its order. */
const COUNTERS = [
  'rxPackets',
  'txPackets',
  'rxBytes',
  'txBytes',
  'rxErrors',
  'txErrors',
  'rxDropped',
  'txDropped',
  'multicast',
  'collisions',
  'rxLengthErrors',
  'rxOverErrors',
  'rxCrcErrors',
  'rxFrameErrors',
  'rxFifoErrors',
  'rxMissedErrors',
  'txAbortedErrors',
  'txCarrierErrors',
  'txFifoErrors',
  'txHeartbeatErrors',
  'txWindowErrors',
  'rxCompressed',
  'txCompressed',
  'rxNohandler',
  'rxOtherhostDropped',
] as const;

/** What passed through a link since it was made. Older kernels lack the last counters. */
export type LinkStatistics = { [K in (typeof COUNTERS)[number]]?: bigint };

/** IFLA_STATS64 */
export const linkStatistics: Field<LinkStatistics> = {
  type: 23,
  write: (payload, counters) => {
    for (const name of COUNTERS) payload.u64(counters[name] ?? 0n);
  },
  read: payload => {
    const counters: LinkStatistics = {};
    for (const name of COUNTERS) if (payload.remaining > 0) counters[name] = payload.u64();
    return counters;
  },
};
