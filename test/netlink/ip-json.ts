/** Our objects in the words of `ip -json -details`, to compare what we read with what `ip` reads. */
import { isDeepStrictEqual } from 'node:util';
import * as assert from 'uvu/assert';
import type { Address, Link, Neighbour, Nexthop, Route } from '../../netlink/index.ts';

type Json = Record<string, unknown>;
/** Names of links by index. */
export type LinkNames = ReadonlyMap<number, string>;

/** What goes on counting between the two readings. */
const RUNNING = /_timer$/;

/** How often both read again, and the milliseconds between. */
const MOST_TRIES = 50;
const PAUSE_MS = 100;

/**
 * Asserts that all that `ip` shows, we read too, with the same values. What it leaves out may be anything. What the kernel
 * has changed between the two readings, as it does with the state of a link that was just made, is read again.
 */
export function assertSame(readOurs: () => Json[], readTheirs: () => Json[], what: string): void {
  for (let tries = 1; ; tries++) {
    const [ours, theirs] = [readOurs(), readTheirs()];
    const differences = theirs.flatMap((their, index) =>
      differencesOf(comparable(ours[index]), comparable(their), `${index}`),
    );
    if (ours.length === theirs.length && differences.length === 0) return;
    if (tries === MOST_TRIES) {
      assert.is(ours.length, theirs.length, `${what}: as many as ip shows`);
      assert.is(differences.join('\n'), '', what);
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
  }
}

function differencesOf(ours: unknown, theirs: unknown, path: string): string[] {
  if (isObject(ours) && isObject(theirs)) {
    return Object.keys(theirs).flatMap(key => differencesOf(ours[key], theirs[key], `${path}.${key}`));
  }
  if (isDeepStrictEqual(ours, theirs)) return [];
  return [`${path}: ${JSON.stringify(ours)} where ip has ${JSON.stringify(theirs)}`];
}

/** Makes up for the two ways that `ip` writes yes and no, and for the short form that it has for bridge ids. */
function comparable(value: unknown): unknown {
  if (typeof value === 'boolean') return Number(value);
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string') return value.replaceAll(/(?<=[.:])[0-9a-f](?=:|$)/g, digit => `0${digit}`);
  if (Array.isArray(value)) return value.map(comparable);
  if (!isObject(value)) return value;
  const kept = Object.entries(value).filter(([key, item]) => item !== undefined && !RUNNING.test(key));
  return Object.fromEntries(kept.map(([key, item]) => [key, comparable(item)]));
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const snake = (name: string) => name.replaceAll(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
const snakeKeys = (data: object): Json =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [snake(key), value]));
const hex = (number: unknown) => `0x${(number as number).toString(16)}`;
const hexUnlessZero = (number: unknown) => (number === 0 ? '0' : hex(number));

/** How data of a kind differs from its names in snake case. */
const DATA: Record<string, (data: Json, names: LinkNames) => Json> = {
  bridge: data => ({
    ...snakeKeys(data['options'] as object),
    group_fwd_mask: hexUnlessZero(data['group_fwd_mask']),
  }),
  macvlan: data => Object.fromEntries(((data['flags'] ?? []) as string[]).map(flag => [flag, true])),
  ipvlan: data => {
    const flags = data['flags'] as string[];
    return Object.fromEntries((flags.length > 0 ? flags : ['bridge']).map(flag => [flag, true]));
  },
  tun: data => ({
    user: data['owner'],
    numqueues: data['num_queues'],
    numdisabled: data['num_disabled_queues'],
  }),
  vxlan: (data, names) => ({
    link: names.get(data['link'] as number),
    label: hexUnlessZero(data['label'] ?? 0),
    remote: data['group'],
    remote6: data['group6'],
  }),
  vlan: data => {
    const on = Object.entries(data['flags'] as object).filter(([, isOn]) => isOn);
    return { flags: on.map(([name]) => snake(name).toUpperCase()) };
  },
};

function portData(data: object): Json {
  const names = snakeKeys(data);
  return {
    ...names,
    id: hex(names['id']),
    no: hex(names['no']),
    group_fwd_mask: hexUnlessZero(names['group_fwd_mask']),
    group_fwd_mask_str: hex(names['group_fwd_mask']),
  };
}

function linkInfo(link: Link, names: LinkNames): Json {
  const data = link.data && snakeKeys(link.data);
  return {
    info_kind: link.kind,
    info_data: data && { ...data, ...DATA[link.kind ?? '']?.(data, names) },
    info_slave_kind: link.slaveKind,
    info_slave_data: link.slaveData && portData(link.slaveData),
  };
}

/** Flags as `ip` shows them: it tells of the carrier instead of RUNNING, and of the lower link's state. */
function linkFlags(link: Link, links: readonly Link[]): string[] {
  const flags: string[] = link.flags.filter(flag => flag !== 'RUNNING');
  const noCarrier = link.flags.includes('UP') && !link.flags.includes('RUNNING');
  const lower = link.linkNetnsId === undefined ? links.find(other => other.index === link.link) : undefined;
  const lowerDown = lower && !lower.flags.includes('UP');
  return [...(noCarrier ? ['NO-CARRIER'] : []), ...flags, ...(lowerDown ? ['M-DOWN'] : [])];
}

export function linkAsIp(link: Link, links: readonly Link[]): Json {
  const names: LinkNames = new Map(links.map(({ index, name }) => [index, name]));
  const elsewhere = link.linkNetnsId !== undefined;
  const s = link.statistics ?? {};
  return {
    ifindex: link.index,
    ifname: link.name,
    link: elsewhere ? undefined : names.get(link.link ?? 0),
    link_index: link.link,
    link_netnsid: link.linkNetnsId,
    flags: linkFlags(link, links),
    mtu: link.mtu,
    qdisc: link.qdisc,
    master: names.get(link.master ?? 0),
    operstate: link.operationalState,
    linkmode: link.linkMode,
    group: link.group === 0 ? 'default' : `${link.group}`,
    txqlen: link.txQueueLength,
    link_type: link.type,
    address: link.address,
    broadcast: link.broadcast,
    permaddr: link.permanentAddress,
    promiscuity: link.promiscuity,
    allmulti: link.allMulticast,
    min_mtu: link.minMtu,
    max_mtu: link.maxMtu,
    linkinfo: linkInfo(link, names),
    inet6_addr_gen_mode: link.afSpec?.inet6?.addrGenMode,
    num_tx_queues: link.numTxQueues,
    num_rx_queues: link.numRxQueues,
    gso_max_size: link.gsoMaxSize,
    gso_max_segs: link.gsoMaxSegs,
    gro_max_size: link.groMaxSize,
    tso_max_size: link.tsoMaxSize,
    tso_max_segs: link.tsoMaxSegs,
    ifalias: link.alias,
    altnames: link.altNames,
    stats64: {
      rx: {
        bytes: s.rxBytes,
        packets: s.rxPackets,
        errors: s.rxErrors,
        dropped: s.rxDropped,
        over_errors: s.rxOverErrors,
        multicast: s.multicast,
      },
      tx: {
        bytes: s.txBytes,
        packets: s.txPackets,
        errors: s.txErrors,
        dropped: s.txDropped,
        carrier_errors: s.txCarrierErrors,
        collisions: s.collisions,
      },
    },
  };
}

export function addressAsIp(address: Address): Json {
  const isIpv6 = address.family === 'inet6';
  const flags = address.flags.map(flag => (flag === 'secondary' && isIpv6 ? 'temporary' : flag));
  return {
    family: address.family,
    local: address.address,
    address: address.peer,
    prefixlen: address.prefixLength,
    broadcast: address.broadcast,
    anycast: address.anycast,
    metric: address.metric,
    scope: address.scope,
    label: address.label,
    protocol: address.protocol,
    valid_life_time: address.validLifetime,
    preferred_life_time: address.preferredLifetime,
    dynamic: !address.flags.includes('permanent'),
    ...Object.fromEntries(flags.map(flag => [flag, true])),
  };
}

/** `ip` writes a prefix of full length as an address, and the default routes as a word. */
function prefixAsIp(prefix: string): string {
  if (prefix === '0.0.0.0/0' || prefix === '::/0') return 'default';
  return prefix.replace(prefix.includes(':') ? /\/128$/ : /\/32$/, '');
}

function gatewayAsIp(gateway: string | undefined, route: Route): Json {
  if (gateway === undefined) return {};
  const family = gateway.includes(':') ? 'inet6' : 'inet';
  return family === route.family ? { gateway } : { via: { family, host: gateway } };
}

export function routeAsIp(route: Route, names: LinkNames): Json {
  const tables: Record<number, string> = { 253: 'default', 254: 'main', 255: 'local' };
  const hop = (nexthop: Nexthop): Json => ({
    ...gatewayAsIp(nexthop.gateway, route),
    dev: names.get(nexthop.index ?? 0),
    weight: nexthop.weight,
    flags: nexthop.flags,
  });
  return {
    type: route.type,
    dst: prefixAsIp(route.destination),
    from: route.source && prefixAsIp(route.source),
    ...gatewayAsIp(route.gateway, route),
    dev: names.get(route.index ?? 0),
    table: tables[route.table] ?? `${route.table}`,
    protocol: route.protocol,
    scope: route.scope,
    prefsrc: route.preferredSource,
    metric: route.metric,
    metrics: route.metrics && [snakeKeys(route.metrics)],
    tos: hex(route.tos),
    flags: route.flags,
    pref: route.preference,
    nexthops: route.nexthops?.map(hop),
  };
}

export function neighbourAsIp(neighbour: Neighbour, names: LinkNames): Json {
  const flags = Object.fromEntries(neighbour.flags.map(flag => [flag, null]));
  return {
    dst: neighbour.address,
    dev: names.get(neighbour.index),
    lladdr: neighbour.linkAddress,
    state: neighbour.state,
    ...flags,
  };
}
