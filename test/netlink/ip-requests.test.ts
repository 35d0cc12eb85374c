/** Our requests are, byte for byte, those that `ip` sends to have the same done. */
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as netlink from '../../netlink/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { comparable, requestOfIp } from './ip-requests.ts';
import { Namespace } from './namespace.ts';

/** The links that are there: their indices are fixed, as they are the first in a fresh namespace. */
const BRIDGE = 2;
const VETH = 4;
const SET_UP = [
  'link add br0 type bridge',
  'link set br0 up',
  'link add ve0 type veth peer name ve1',
  'addr add 10.9.0.1/16 dev br0',
];

const MAC = '02:00:00:00:00:01';
const LONG_NAME = 'a-name-that-is-longer-than-15-bytes';

const macvlans = (['private', 'vepa', 'bridge', 'passthru', 'source'] as const).map(
  mode =>
    [
      `link add link br0 name mv0 type macvlan mode ${mode}`,
      netlink.newLink({ kind: 'macvlan', name: 'mv0', link: BRIDGE, data: { mode } }),
    ] as const,
);

const links: (readonly [string, netlink.Request])[] = [
  ...macvlans,
  [
    `link add name va mtu 1400 address ${MAC} up type veth peer name vb mtu 1300 address 02:00:00:00:00:02 netns ${process.pid}`,
    netlink.newLink({
      kind: 'veth',
      name: 'va',
      mtu: 1400,
      address: MAC,
      up: true,
      data: { peer: { name: 'vb', mtu: 1300, address: '02:00:00:00:00:02', netnsPid: process.pid } },
    }),
  ],
  ['link add name va type veth', netlink.newLink({ kind: 'veth', name: 'va' })],
  ['link add name br1 type bridge', netlink.newLink({ kind: 'bridge', name: 'br1' })],
  [
    'link add name br1 type bridge forward_delay 400 stp_state 1 vlan_filtering 1 vlan_protocol 802.1ad ' +
      'group_address 01:80:c2:00:00:05 mcast_snooping 0 no_linklocal_learn 1',
    netlink.newLink({
      kind: 'bridge',
      name: 'br1',
      data: {
        forwardDelay: 400,
        stpState: 1,
        vlanFiltering: true,
        vlanProtocol: '802.1ad',
        groupAddr: '01:80:c2:00:00:05',
        mcastSnooping: false,
        options: { noLinklocalLearn: true },
      },
    }),
  ],
  [
    `link add link br0 name mv0 type macvlan mode source macaddr add ${MAC}`,
    netlink.newLink({
      kind: 'macvlan',
      name: 'mv0',
      link: BRIDGE,
      data: { macaddrMode: 'add', macaddr: MAC, mode: 'source' },
    }),
  ],
  [
    'link add link br0 name mv0 type macvlan mode passthru nopromisc',
    netlink.newLink({ kind: 'macvlan', name: 'mv0', link: BRIDGE, data: { mode: 'passthru', flags: ['nopromisc'] } }),
  ],
  [
    'link add link br0 name mt0 type macvtap mode bridge',
    netlink.newLink({ kind: 'macvtap', name: 'mt0', link: BRIDGE, data: { mode: 'bridge' } }),
  ],
  ['link add link br0 name iv0 type ipvlan', netlink.newLink({ kind: 'ipvlan', name: 'iv0', link: BRIDGE })],
  [
    'link add link br0 name iv0 type ipvlan mode l2 bridge',
    netlink.newLink({ kind: 'ipvlan', name: 'iv0', link: BRIDGE, data: { mode: 'l2', flags: [] } }),
  ],
  [
    'link add link br0 name iv0 type ipvlan mode l3s private',
    netlink.newLink({ kind: 'ipvlan', name: 'iv0', link: BRIDGE, data: { mode: 'l3s', flags: ['private'] } }),
  ],
  ['link add name d0 type dummy', netlink.newLink({ kind: 'dummy', name: 'd0' })],
  [
    'link add index 77 txqueuelen 7 numtxqueues 3 numrxqueues 2 group 5 name i0 type ifb',
    netlink.newLink({ kind: 'ifb', name: 'i0', index: 77, txQueueLength: 7, numTxQueues: 3, numRxQueues: 2, group: 5 }),
  ],
  [
    'link add link br0 name vl0 type vlan id 5',
    netlink.newLink({ kind: 'vlan', name: 'vl0', link: BRIDGE, data: { id: 5 } }),
  ],
  [
    'link add link br0 name vl0 type vlan protocol 802.1ad id 5 reorder_hdr off gvrp on egress 1:2 3:4',
    netlink.newLink({
      kind: 'vlan',
      name: 'vl0',
      link: BRIDGE,
      data: {
        protocol: '802.1ad',
        id: 5,
        flags: { reorderHdr: false, gvrp: true },
        egressQos: [
          { from: 1, to: 2 },
          { from: 3, to: 4 },
        ],
      },
    }),
  ],
  [
    'link add name vx0 type vxlan id 5 group 239.1.1.1 dev br0 dstport 4789',
    netlink.newLink({
      kind: 'vxlan',
      name: 'vx0',
      data: { id: 5, group: '239.1.1.1', link: BRIDGE, port: 4789, learning: true },
    }),
  ],
  [
    'link add name vx0 type vxlan id 5 remote 2001:db8::1 local 2001:db8::2 dev br0 ttl 5 tos 3 df set ageing 100 ' +
      'maxaddress 5 srcport 100 200 nolearning proxy gbp dstport 4789',
    netlink.newLink({
      kind: 'vxlan',
      name: 'vx0',
      data: {
        id: 5,
        group6: '2001:db8::1',
        local6: '2001:db8::2',
        link: BRIDGE,
        ttl: 5,
        tos: 3,
        df: 'set',
        ageing: 100,
        limit: 5,
        portRange: { low: 100, high: 200 },
        learning: false,
        proxy: true,
        gbp: true,
        port: 4789,
      },
    }),
  ],
  ['link set lo up', netlink.setLinkUp(1)],
  ['link set ve0 down', netlink.setLink(VETH, { up: false })],
  ['link set ve0 mtu 1400', netlink.setLink(VETH, { mtu: 1400 })],
  ['link set ve0 name host0', netlink.setLink(VETH, { name: 'host0' })],
  [`link set ve0 address ${MAC}`, netlink.setLink(VETH, { address: MAC })],
  ['link set ve0 broadcast ff:ff:ff:ff:ff:f0', netlink.setLink(VETH, { broadcast: 'ff:ff:ff:ff:ff:f0' })],
  ['link set ve0 master br0', netlink.setLink(VETH, { master: BRIDGE })],
  ['link set ve0 nomaster', netlink.setLink(VETH, { master: 0 })],
  [`link set ve0 netns ${process.pid}`, netlink.setLink(VETH, { netnsPid: process.pid })],
  ['link set ve0 alias hello', netlink.setLink(VETH, { alias: 'hello' })],
  ['link set ve0 txqueuelen 5', netlink.setLink(VETH, { txQueueLength: 5 })],
  ['link set ve0 group 7', netlink.setLink(VETH, { group: 7 })],
  ['link set ve0 addrgenmode none', netlink.setLink(VETH, { afSpec: { inet6: { addrGenMode: 'none' } } })],
  [
    'link set ve0 arp off promisc on multicast off allmulticast on',
    netlink.setLink(VETH, { noarp: true, promiscuous: true, multicast: false, allMulticast: true }),
  ],
  ['link set br0 type bridge stp_state 1', netlink.setLink(BRIDGE, { kind: 'bridge', data: { stpState: 1 } })],
  [`link property add dev ve0 altname ${LONG_NAME}`, netlink.addAltNames(VETH, [LONG_NAME])],
  [`link property del dev ve0 altname ${LONG_NAME}`, netlink.deleteAltNames(VETH, [LONG_NAME])],
  ['link del ve0', netlink.deleteLink(VETH)],
];

const prefix = (text: string) => ({ index: BRIDGE, ...netlink.parsePrefix(text) });
const addresses: (readonly [string, netlink.Request])[] = [
  ['addr add 10.1.2.3/24 dev br0', netlink.newAddress(prefix('10.1.2.3/24'))],
  ['addr replace 10.1.2.3/24 dev br0', netlink.newAddress(prefix('10.1.2.3/24'), 'replace')],
  [
    'addr add 10.1.2.3/24 label br0:x metric 5 brd + preferred_lft 5 valid_lft 10 dev br0',
    netlink.newAddress({
      ...prefix('10.1.2.3/24'),
      broadcast: '10.1.2.255',
      label: 'br0:x',
      metric: 5,
      preferredLifetime: 5,
      validLifetime: 10,
    }),
  ],
  ['addr add 10.1.2.3 peer 10.9.9.9/24 dev br0', netlink.newAddress({ ...prefix('10.1.2.3/24'), peer: '10.9.9.9' })],
  ['addr add 10.1.2.3/24 dev br0 scope link', netlink.newAddress({ ...prefix('10.1.2.3/24'), scope: 'link' })],
  ['addr add 127.1.2.3/8 dev br0', netlink.newAddress(prefix('127.1.2.3/8'))],
  ['addr add 2001:db8::1/64 dev br0', netlink.newAddress(prefix('2001:db8::1/64'))],
  [
    'addr add 2001:db8::1/64 dev br0 nodad noprefixroute',
    netlink.newAddress({ ...prefix('2001:db8::1/64'), flags: ['nodad', 'noprefixroute'] }),
  ],
  ['addr del 10.1.2.3/24 dev br0', netlink.deleteAddress(prefix('10.1.2.3/24'))],
  ['addr del 2001:db8::1/64 dev br0', netlink.deleteAddress(prefix('2001:db8::1/64'))],
  ['-4 addr show dev br0', netlink.dumpAddresses({ family: 'inet', index: BRIDGE })],
];

const TEN = '10.8.0.0/16';
const routes: (readonly [string, netlink.Request])[] = [
  ['route add default via 10.9.0.3', netlink.newRoute({ destination: '0.0.0.0/0', gateway: '10.9.0.3' })],
  [`route add ${TEN} dev br0`, netlink.newRoute({ destination: TEN, index: BRIDGE })],
  [
    `route replace ${TEN} via 10.9.0.3 onlink dev br0`,
    netlink.newRoute({ destination: TEN, gateway: '10.9.0.3', index: BRIDGE, flags: ['onlink'] }, 'replace'),
  ],
  [
    `route add ${TEN} nexthop via 10.9.0.3 weight 2 nexthop via 10.9.0.4 dev br0`,
    netlink.newRoute({
      destination: TEN,
      nexthops: [
        { gateway: '10.9.0.3', weight: 2 },
        { gateway: '10.9.0.4', index: BRIDGE },
      ],
    }),
  ],
  [
    `route add ${TEN} via inet6 fe80::1 dev br0 src 10.9.0.1 metric 7 table 500 proto static mtu 1400`,
    netlink.newRoute({
      destination: TEN,
      gateway: 'fe80::1',
      index: BRIDGE,
      preferredSource: '10.9.0.1',
      metric: 7,
      table: 500,
      protocol: 'static',
      metrics: { mtu: 1400 },
    }),
  ],
  [
    `route add ${TEN} dev br0 tos 8 realms 5 window 5 rtt 50ms advmss 1000 hoplimit 5 initcwnd 6 quickack 1 congctl reno`,
    netlink.newRoute({
      destination: TEN,
      index: BRIDGE,
      tos: 8,
      realms: 5,
      metrics: { window: 5, rtt: 400, advmss: 1000, hoplimit: 5, initcwnd: 6, quickack: 1, congctl: 'reno' },
    }),
  ],
  [`route add blackhole ${TEN}`, netlink.newRoute({ destination: TEN, type: 'blackhole' })],
  [
    'route add local 10.3.3.3 dev br0 table local',
    netlink.newRoute({ destination: '10.3.3.3/32', type: 'local', index: BRIDGE, table: netlink.ROUTE_TABLES.local }),
  ],
  [
    'route add 2001:db8:5::/48 via fe80::9 metric 5 pref high expires 100 dev br0',
    netlink.newRoute({
      destination: '2001:db8:5::/48',
      gateway: 'fe80::9',
      index: BRIDGE,
      metric: 5,
      preference: 'high',
      expires: 100,
    }),
  ],
  [`route del ${TEN}`, netlink.deleteRoute({ destination: TEN })],
  ['route del 2001:db8::/48 dev br0', netlink.deleteRoute({ destination: '2001:db8::/48', index: BRIDGE })],
  ['route get 10.9.0.7', netlink.getRoute('10.9.0.7')],
  ['route get 2001:db8::5', netlink.getRoute('2001:db8::5')],
  ['route show', netlink.dumpRoutes('inet', { table: netlink.ROUTE_TABLES.main })],
  ['-6 route show table 5', netlink.dumpRoutes('inet6', { table: 5 })],
];

const neighbour = { index: BRIDGE, address: '10.9.0.7' };
const neighbours: (readonly [string, netlink.Request])[] = [
  [`neigh add 10.9.0.7 lladdr ${MAC} dev br0`, netlink.newNeighbour({ ...neighbour, linkAddress: MAC })],
  ['neigh add proxy 10.9.0.7 dev br0', netlink.newNeighbour({ ...neighbour, flags: ['proxy'] })],
  [
    `neigh replace 2001:db8::5 lladdr ${MAC} dev br0 nud stale router`,
    netlink.newNeighbour(
      { index: BRIDGE, address: '2001:db8::5', linkAddress: MAC, state: ['STALE'], flags: ['router'] },
      'replace',
    ),
  ],
  ['neigh del 10.9.0.7 dev br0', netlink.deleteNeighbour(neighbour)],
  ['neigh get 10.9.0.7 dev br0', netlink.getNeighbour(neighbour)],
  ['neigh show dev br0', netlink.dumpNeighbours({ index: BRIDGE })],
  ['neigh show proxy', netlink.dumpNeighbours({ proxies: true })],
];

const groups = { links, addresses, routes, neighbours };
const run = needs([root, tool('ip'), tool('strace'), tool('nsenter')]);
for (const [group, pairs] of Object.entries(groups)) {
  run(`requests about ${group} are the bytes that ip sends`, () => {
    for (const [args, request] of pairs) {
      using namespace = new Namespace();
      namespace.ipBatch(SET_UP);
      const theirs = requestOfIp(namespace, args, request.type);
      assert.is(comparable(netlink.encodeRequest(request, 1)), comparable(theirs), `ip ${args}`);
    }
  });
}

test.run();
