/** Addresses, routes and neighbours made by us and read by `ip`, and the other way round. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Connection,
  deleteAddress,
  deleteNeighbour,
  deleteRoute,
  dumpAddresses,
  dumpLinks,
  dumpNeighbours,
  dumpRoutes,
  getNeighbour,
  getRoute,
  type Neighbour,
  newAddress,
  newLink,
  newNeighbour,
  newRoute,
  parsePrefix,
  ROUTE_TABLES,
  setLink,
  setLinkUp,
} from '../../netlink/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { addressAsIp, assertSame, neighbourAsIp, routeAsIp } from './ip-json.ts';
import { Namespace } from './namespace.ts';

const run = needs([root, tool('ip'), tool('nsenter')]);

const LINK = 20;
const MAC = '02:00:00:00:00:05';

/** A namespace with a pair of links that are up, and make no IPv6 addresses of their own. */
function withLinks(work: (namespace: Namespace, connection: Connection) => void): void {
  using namespace = new Namespace();
  using connection = namespace.connect();
  const peer = { name: 've1', index: LINK + 1 };
  connection.execute(newLink({ kind: 'veth', name: 've0', index: LINK, data: { peer } }));
  for (const target of ['lo', 've0', 've1']) {
    connection.execute(setLink(target, { afSpec: { inet6: { addrGenMode: 'none' } } }));
    connection.execute(setLinkUp(target));
  }
  work(namespace, connection);
}

function linkNames(connection: Connection): Map<number, string> {
  return new Map(connection.dump(dumpLinks()).map(({ index, name }) => [index, name]));
}

function assertSameAddresses(namespace: Namespace, connection: Connection): void {
  for (const [index, name] of linkNames(connection)) {
    const ours = () => connection.dump(dumpAddresses({ index })).map(addressAsIp);
    const shown = () => namespace.ipJson('-details address').find(link => link['ifindex'] === index);
    assertSame(ours, () => shown()?.['addr_info'] as Record<string, unknown>[], name);
  }
}

function assertSameRoutes(namespace: Namespace, connection: Connection): void {
  const names = linkNames(connection);
  for (const [family, option] of [
    ['inet', '-4'],
    ['inet6', '-6'],
  ] as const) {
    const ours = () => connection.dump(dumpRoutes(family)).map(route => routeAsIp(route, names));
    assertSame(ours, () => namespace.ipJson(`${option} -details route show table all`), family);
  }
}

function assertSameNeighbours(namespace: Namespace, connection: Connection): void {
  const names = linkNames(connection);
  const asIp = (entries: Neighbour[]) => entries.map(entry => neighbourAsIp(entry, names));
  const ours = () => asIp(connection.dump(dumpNeighbours()).filter(entry => !entry.state.includes('NOARP')));
  assertSame(ours, () => namespace.ipJson('neighbour'), 'neighbours');
  const proxies = () => asIp(connection.dump(dumpNeighbours({ proxies: true })));
  assertSame(proxies, () => namespace.ipJson('neighbour show proxy'), 'proxies');
}

run('addresses made by ip are read as ip reads them', () => {
  withLinks((namespace, connection) => {
    namespace.ipBatch([
      'addr add 10.1.2.3/24 brd + dev ve0 label ve0:x',
      'addr add 10.1.2.4/24 dev ve0 metric 5',
      'addr add 10.1.2.3 peer 10.9.9.9/32 dev ve1 scope link',
      'addr add 2001:db8::1/64 dev ve0 nodad noprefixroute',
      'addr add 2001:db8::2 peer 2001:db8:1::3/48 dev ve1 nodad home',
    ]);
    assertSameAddresses(namespace, connection);
    assert.is(connection.dump(dumpAddresses()).length, 7);
    assert.is(connection.dump(dumpAddresses({ family: 'inet6' })).length, 3);
  });
});

run('addresses made by us are shown by ip, and deleted', () => {
  withLinks((namespace, connection) => {
    const prefix = (text: string) => ({ index: LINK, ...parsePrefix(text) });
    connection.execute(newAddress({ ...prefix('10.1.2.3/24'), broadcast: '10.1.2.255', label: 've0:x' }));
    connection.execute(newAddress({ ...prefix('10.2.2.3/32'), peer: '10.9.9.9', scope: 'link' }));
    connection.execute(newAddress({ ...prefix('2001:db8::1/64'), flags: ['nodad', 'noprefixroute'], metric: 7 }));
    const lifetimes = { preferredLifetime: 500, validLifetime: 1000 };
    connection.execute(newAddress({ ...prefix('2001:db8::2/64'), flags: ['nodad'], ...lifetimes }));

    const [link] = namespace.ipJson('address show dev ve0');
    const shown = link!['addr_info'] as Record<string, unknown>[];
    const lines = shown.map(({ local, address, prefixlen, scope, label, dynamic }) =>
      [local, address, prefixlen, scope, label, dynamic].join(' '),
    );
    assert.equal(lines.sort(), [
      '10.1.2.3  24 global ve0:x ',
      '10.2.2.3 10.9.9.9 32 link ve0 ',
      '2001:db8::1  64 global  ',
      '2001:db8::2  64 global  true',
    ]);
    const limited = connection.dump(dumpAddresses()).find(({ address }) => address === '2001:db8::2')!;
    assert.ok(limited.preferredLifetime! <= 500 && limited.validLifetime! <= 1000 && limited.validLifetime! > 500);

    assert.throws(
      () => connection.execute(newAddress(prefix('10.1.2.3/24'))),
      /^cannot add address 10\.1\.2\.3\/24 on link 20: .* \(EEXIST\)$/,
    );
    connection.execute(newAddress({ ...limited, validLifetime: 2000 }, 'replace'));
    for (const address of connection.dump(dumpAddresses({ index: LINK }))) connection.execute(deleteAddress(address));
    assert.equal(connection.dump(dumpAddresses({ index: LINK })), []);
  });
});

run('routes made by ip are read as ip reads them', () => {
  withLinks((namespace, connection) => {
    namespace.ipBatch([
      'addr add 10.1.2.3/24 dev ve0',
      'addr add 2001:db8::1/64 dev ve0 nodad',
      'route add default via 10.1.2.1',
      'route add 10.7.0.0/16 nexthop via 10.1.2.7 weight 2 nexthop via 10.1.2.8 dev ve0 onlink',
      'route add 10.6.0.0/16 nexthop via inet6 fe80::1 dev ve0 nexthop via 10.1.2.8 weight 256',
      'route add blackhole 10.8.0.0/16',
      'route add 10.77.0.0/16 via inet6 fe80::1 dev ve0 mtu 1400 hoplimit 5 src 10.1.2.3 metric 77',
      'route add 10.78.0.0/16 via 10.1.2.9 table 500 proto static',
      'route add 10.79.0.1 dev ve1 scope link proto 123',
      'route add throw 10.80.0.0/16 table 600',
      'route add default via 2001:db8::9 metric 5 pref high',
      'route add 2001:db8:5::/48 nexthop via 2001:db8::8 nexthop via 2001:db8::9 weight 3',
      'route add unreachable 2001:db8:6::/48',
    ]);
    assertSameRoutes(namespace, connection);
    assert.equal(
      connection.dump(dumpRoutes('inet', { table: 500 })).map(({ destination }) => destination),
      ['10.78.0.0/16'],
    );
  });
});

run('routes made by us are shown by ip, found, and deleted', () => {
  withLinks((namespace, connection) => {
    connection.execute(newAddress({ index: LINK, ...parsePrefix('10.1.2.3/24') }));
    connection.execute(newAddress({ index: LINK, ...parsePrefix('2001:db8::1/64'), flags: ['nodad'] }));
    connection.execute(newRoute({ destination: '0.0.0.0/0', gateway: '10.1.2.1' }));
    connection.execute(newRoute({ destination: '::/0', gateway: '2001:db8::9', metric: 9 }));
    connection.execute(newRoute({ destination: '10.8.0.0/16', type: 'prohibit' }));
    connection.execute(
      newRoute({ destination: '10.9.0.0/16', gateway: 'fe80::1', index: LINK, metrics: { mtu: 1400 } }),
    );
    const nexthops = [
      { gateway: '10.1.2.7', weight: 2 },
      { gateway: '10.1.2.8', index: LINK },
    ];
    connection.execute(newRoute({ destination: '10.7.0.0/16', nexthops, protocol: 'static' }));
    connection.execute(newRoute({ destination: '10.7.0.0/24', index: LINK, table: 500 }));
    assertSameRoutes(namespace, connection);

    const shown = namespace.ip('route show').trim().split(/ *\n/);
    assert.equal(shown, [
      'default via 10.1.2.1 dev ve0',
      '10.1.2.0/24 dev ve0 proto kernel scope link src 10.1.2.3',
      '10.7.0.0/16 proto static',
      '\tnexthop via 10.1.2.7 dev ve0 weight 2',
      '\tnexthop via 10.1.2.8 dev ve0 weight 1',
      'prohibit 10.8.0.0/16',
      '10.9.0.0/16 via inet6 fe80::1 dev ve0 mtu 1400',
    ]);
    assert.equal(namespace.ip('route show table 500').trim(), '10.7.0.0/24 dev ve0 scope link');
    assert.match(namespace.ip('-6 route show default'), /^default via 2001:db8::9 dev ve0 metric 9 /);

    const found = connection.get(getRoute('10.55.0.1'));
    assert.equal([found.gateway, found.index, found.table], ['10.1.2.1', LINK, ROUTE_TABLES.main]);
    assert.is(connection.get(getRoute('2001:db8:55::1')).gateway, '2001:db8::9');
    assert.throws(() => connection.get(getRoute('10.8.0.1')), /cannot find the route to 10\.8\.0\.1: .*\(EACCES\)/);

    connection.execute(deleteRoute({ destination: '0.0.0.0/0' }));
    connection.execute(deleteRoute({ destination: '::/0', metric: 9 }));
    connection.execute(deleteRoute({ destination: '10.7.0.0/24', table: 500 }));
    assert.equal([namespace.ip('route show default'), namespace.ip('-6 route show default')], ['', '']);
    assert.throws(
      () => connection.execute(newRoute({ destination: '10.4.0.0/16', gateway: '172.16.0.1' })),
      /^cannot add route to 10\.4\.0\.0\/16: Nexthop has invalid gateway \(ENETUNREACH\)$/,
    );
  });
});

run('neighbours are read as ip reads them, made, found and deleted', () => {
  withLinks((namespace, connection) => {
    connection.execute(newAddress({ index: LINK, ...parsePrefix('10.1.2.3/24') }));
    namespace.ipBatch([
      `neigh add 10.1.2.55 lladdr ${MAC} dev ve0 nud permanent`,
      `neigh add 2001:db8::55 lladdr ${MAC} dev ve0 nud permanent router`,
      'neigh add proxy 10.1.2.56 dev ve1',
    ]);
    connection.execute(newNeighbour({ index: LINK, address: '10.1.2.57', linkAddress: MAC }));
    connection.execute(newNeighbour({ index: LINK, address: '10.1.2.58', flags: ['proxy'] }));
    assertSameNeighbours(namespace, connection);
    assert.match(namespace.ip('neighbour show 10.1.2.57'), /10\.1\.2\.57 dev ve0 lladdr 02:00:00:00:00:05 PERMANENT/);
    assert.is(connection.dump(dumpNeighbours({ family: 'inet', index: LINK + 1 })).length, 0);

    const entry = connection.get(getNeighbour({ index: LINK, address: '10.1.2.57' }));
    assert.equal([entry.linkAddress, entry.state], [MAC, ['PERMANENT']]);
    connection.execute(deleteNeighbour({ index: LINK, address: '10.1.2.57' }));
    assert.equal(namespace.ip('neighbour show 10.1.2.57 nud permanent'), '');
  });
});

run('a bridge tells what it knows about which address is behind which port', () => {
  withLinks((namespace, connection) => {
    namespace.ipBatch(['link add br0 type bridge', 'link set ve0 master br0', 'link set br0 up']);
    const entries = connection.dump(dumpNeighbours({ family: 'bridge' }));
    const own = entries.find(entry => entry.index === LINK && entry.state.includes('PERMANENT'));
    assert.is(own?.family, 'bridge');
    assert.match(own?.linkAddress ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  });
});

test.run();
