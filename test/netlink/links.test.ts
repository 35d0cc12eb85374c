/** Links made by us and read by `ip`, and the other way round, in namespaces of their own. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  addAltNames,
  type Connection,
  dataOfKind,
  deleteAltNames,
  deleteLink,
  dumpLinks,
  getLink,
  KernelError,
  type NewLink,
  newLink,
  setLink,
  setLinkUp,
} from '../../netlink/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { assertSame, linkAsIp } from './ip-json.ts';
import { Namespace } from './namespace.ts';

const needed = [root, tool('ip'), tool('nsenter')];
const run = needs(needed);

/** Whether the kernel has a kind of link. */
const kind = (name: string) => () => {
  if (needed.some(need => need())) return undefined;
  using namespace = new Namespace();
  try {
    namespace.ip(`link add name parent type veth`);
    namespace.ip(`link add link parent name probe type ${name}${name === 'vlan' ? ' id 5' : ''}`);
    return undefined;
  } catch {
    return `the kernel has no ${name} links`;
  }
};

/** Asserts that we and `ip` read the same of all links there are. */
function assertSameLinks(namespace: Namespace, connection: Connection, what: string): void {
  const ours = () => {
    const links = connection.dump(dumpLinks());
    return links.map(link => linkAsIp(link, links));
  };
  assertSame(ours, () => namespace.ipJson('-details -statistics link'), what);
}

/** What `ip` shows of one link, and of its kind. */
function shown(namespace: Namespace, name: string) {
  const [link] = namespace.ipJson(`-details link show dev ${name}`);
  const info = link?.['linkinfo'] as Record<string, unknown> | undefined;
  return { link: link ?? {}, kind: info?.['info_kind'], data: (info?.['info_data'] ?? {}) as Record<string, unknown> };
}

const MADE_BY_IP = {
  bridge: [
    'link add br0 type bridge stp_state 0 priority 100 mcast_snooping 0 group_fwd_mask 8 ageing_time 500',
    'link add ve0 type veth peer name ve1',
    'link set ve0 master br0',
    'link set ve0 type bridge_slave isolated on hairpin on cost 7 group_fwd_mask 8',
    'link set br0 up',
    'link set ve0 up',
  ],
  veth: [
    'link add ve0 mtu 1400 address 02:00:00:00:00:01 txqueuelen 5 numtxqueues 3 numrxqueues 2 type veth peer name ve1',
    'link set ve0 alias an-alias',
    'link set ve0 group 7',
    'link property add dev ve0 altname another-name-for-it altname third',
    'link set ve0 addrgenmode none',
    'link set ve0 promisc on allmulticast on',
  ],
  macvlan: [
    'link add ve0 type veth peer name ve1',
    'link add link ve0 name mv0 type macvlan mode private',
    'link add link ve0 name mv1 type macvlan mode vepa bcqueuelen 500',
    'link add link ve0 name mv2 type macvlan mode bridge',
    'link add link ve0 name mv3 type macvlan mode source macaddr add 02:00:00:00:00:07',
    'link set mv3 type macvlan macaddr add 02:00:00:00:00:08',
    'link add link ve1 name mv4 type macvlan mode passthru nopromisc',
  ],
  macvtap: ['link add ve0 type veth peer name ve1', 'link add link ve0 name mt0 type macvtap mode bridge'],
  vxlan: [
    'link add ve0 type veth peer name ve1',
    'link add vx0 type vxlan id 5 group 239.1.1.1 dev ve0 dstport 4789 ttl 7 ageing 100 srcport 1000 2000',
    'link add vx1 type vxlan id 6 remote 2001:db8::1 local 2001:db8::2 dstport 4790 nolearning noudpcsum gbp df set label 7',
    'link add vx2 type vxlan external dstport 4791',
  ],
  ifb: ['link add i0 type ifb'],
  tun: ['tuntap add tun0 mode tun user 54321 group 54322', 'tuntap add tap0 mode tap multi_queue vnet_hdr'],
  dummy: ['link add d0 type dummy'],
  ipvlan: [
    'link add ve0 type veth peer name ve1',
    'link add link ve0 name iv0 type ipvlan mode l2 bridge',
    'link add link ve0 name iv1 type ipvlan mode l2 private',
    'link add link ve1 name iv2 type ipvlan mode l3s vepa',
  ],
  vlan: [
    'link add ve0 type veth peer name ve1',
    'link add link ve0 name vl0 type vlan id 5',
    'link add link ve0 name vl1 type vlan protocol 802.1ad id 6 reorder_hdr off loose_binding on ingress 1:2 egress 3:4 5:6',
  ],
};

const UNUSUAL = ['dummy', 'ipvlan', 'vlan', 'macvtap', 'ifb', 'vxlan'];
for (const [name, lines] of Object.entries(MADE_BY_IP)) {
  const runIt = UNUSUAL.includes(name)
    ? needs([...needed, kind(name === 'vxlan' ? 'vxlan id 5 dstport 4789' : name)])
    : run;
  runIt(`${name} links made by ip are read as ip reads them`, () => {
    using namespace = new Namespace();
    using connection = namespace.connect();
    namespace.ipBatch(lines);
    assertSameLinks(namespace, connection, name);
  });
}

run('the counters of a link are those that ip shows', () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  connection.execute(setLinkUp('lo'));
  namespace.run('bash', '-c', 'echo hello >/dev/udp/127.0.0.1/9');
  assert.ok(connection.get(getLink('lo')).statistics!.rxPackets! > 0n);
  assertSameLinks(namespace, connection, 'lo');
});

const PARENT = 20;

/** Links to make: each with what `ip` must then show of its kind. */
const MADE_BY_US: [NewLink, Record<string, unknown>][] = [
  [
    {
      kind: 'bridge',
      name: 'new0',
      data: { forwardDelay: 400, priority: 100, options: { noLinklocalLearn: true } },
    },
    { forward_delay: 400, priority: 100, no_linklocal_learn: 1 },
  ],
  [{ kind: 'veth', name: 'new0', data: { peer: { name: 'peer0' } } }, {}],
  ...(['private', 'vepa', 'bridge', 'passthru', 'source'] as const).map((mode): [NewLink, Record<string, unknown>] => [
    { kind: 'macvlan', name: 'new0', link: PARENT, data: { mode } },
    { mode },
  ]),
  [{ kind: 'macvtap', name: 'new0', link: PARENT, data: { mode: 'vepa' } }, { mode: 'vepa' }],
  [
    {
      kind: 'vxlan',
      name: 'new0',
      data: { id: 5, group: '239.1.1.1', link: PARENT, port: 4789, portRange: { low: 10, high: 20 } },
    },
    { id: 5, group: '239.1.1.1', link: 'parent', port: 4789, port_range: { low: 10, high: 20 } },
  ],
  [{ kind: 'ifb', name: 'new0' }, {}],
  [{ kind: 'dummy', name: 'new0' }, {}],
  ...(['l2', 'l3', 'l3s'] as const).map((mode): [NewLink, Record<string, unknown>] => [
    { kind: 'ipvlan', name: 'new0', link: PARENT, data: { mode, flags: ['private'] } },
    { mode, private: true },
  ]),
  [
    { kind: 'vlan', name: 'new0', link: PARENT, data: { id: 5, protocol: '802.1ad', flags: { gvrp: true } } },
    { id: 5, protocol: '802.1ad', flags: ['REORDER_HDR', 'GVRP'] },
  ],
];

for (const [settings, expected] of MADE_BY_US) {
  const details = JSON.stringify(settings.kind === 'veth' ? {} : expected);
  const runIt = UNUSUAL.includes(settings.kind)
    ? needs([...needed, kind(settings.kind === 'vxlan' ? 'vxlan id 5 dstport 4789' : settings.kind)])
    : run;
  runIt(`a ${settings.kind} link made by us is shown by ip: ${details}`, () => {
    using namespace = new Namespace();
    using connection = namespace.connect();
    connection.execute(newLink({ kind: 'veth', name: 'parent', index: PARENT, data: { peer: { name: 'other' } } }));
    connection.execute(newLink({ ...settings, mtu: 1400 }));
    const { link, kind, data } = shown(namespace, 'new0');
    assert.is(kind, settings.kind);
    assert.is(link['mtu'], 1400);
    for (const [key, value] of Object.entries(expected)) assert.equal(data[key], value, key);
    assertSameLinks(namespace, connection, settings.kind);

    connection.execute(deleteLink('new0'));
    assert.throws(() => connection.get(getLink('new0')), /cannot read link new0: No such device \(ENODEV\)/);
  });
}

run('a link is changed: up, down, name, address, mtu, master, alias, flags', () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  connection.execute(newLink({ kind: 'veth', name: 've0', data: { peer: { name: 've1' } } }));
  connection.execute(newLink({ kind: 'bridge', name: 'br0' }));
  const { index } = connection.get(getLink('ve0'));
  const bridge = connection.get(getLink('br0'));

  connection.execute(setLink(index, { name: 'host0', mtu: 1300, address: '02:00:00:00:00:09', alias: 'the alias' }));
  connection.execute(setLink('host0', { up: true, master: bridge.index, noarp: true, group: 7, txQueueLength: 50 }));
  const { link } = shown(namespace, 'host0');
  assert.is(link['ifindex'], index);
  assert.equal([link['mtu'], link['address'], link['ifalias']], [1300, '02:00:00:00:00:09', 'the alias']);
  assert.equal([link['master'], link['group'], link['txqlen']], ['br0', '7', 50]);
  assert.ok((link['flags'] as string[]).includes('UP') && (link['flags'] as string[]).includes('NOARP'));

  connection.execute(setLink('host0', { slaveKind: 'bridge', slaveData: { isolated: true, cost: 9 } }));
  const port = connection.get(getLink('host0'));
  assert.equal([port.slaveKind, port.slaveData?.isolated, port.slaveData?.cost], ['bridge', true, 9]);
  connection.execute(setLink('br0', { kind: 'bridge', data: { ageingTime: 700 } }));
  assert.is(dataOfKind(connection.get(getLink('br0')), 'bridge')?.ageingTime, 700);
  assert.is(dataOfKind(port, 'bridge'), undefined);

  connection.execute(setLink('host0', { up: false, master: 0, afSpec: { inet6: { addrGenMode: 'none' } } }));
  const after = connection.get(getLink(index));
  assert.equal(
    [after.master, after.flags.includes('UP'), after.afSpec?.inet6?.addrGenMode],
    [undefined, false, 'none'],
  );
});

run('other names are added, found and taken away', () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  const long = 've-a-machine-with-a-name-longer-than-15-bytes';
  connection.execute(newLink({ kind: 'veth', name: 've0' }));
  connection.execute(addAltNames('ve0', [long, 'short']));
  assert.equal(shown(namespace, 've0').link['altnames'], [long, 'short']);
  assert.is(connection.get(getLink(long)).name, 've0');
  assert.is(connection.get(getLink('short')).name, 've0');
  connection.execute(setLinkUp(long));
  assert.ok(connection.get(getLink('ve0')).flags.includes('UP'));
  connection.execute(deleteAltNames(long, [long]));
  assert.equal(connection.get(getLink('ve0')).altNames, ['short']);
});

run('the peer of a veth pair is made in the namespace of a process or of an open file, and never in ours', async () => {
  using home = new Namespace();
  using guest = new Namespace();
  using connection = home.connect();
  using inside = guest.connect();
  const process = await guest.process();
  try {
    const { pid } = process;
    connection.execute(newLink({ kind: 'veth', name: 'va', data: { peer: { name: 'by-pid', netnsPid: pid! } } }));
    connection.execute(newLink({ kind: 'veth', name: 'vb', data: { peer: { name: 'by-fd', netnsFd: guest.fd } } }));
    assert.equal(
      connection
        .dump(dumpLinks())
        .map(link => link.name)
        .sort(),
      ['lo', 'va', 'vb'],
    );
    assert.equal(
      inside
        .dump(dumpLinks())
        .map(link => link.name)
        .sort(),
      ['by-fd', 'by-pid', 'lo'],
    );
    const peer = inside.get(getLink('by-fd'));
    const outer = connection.get(getLink('vb'));
    assert.equal([peer.link, typeof peer.linkNetnsId], [outer.index, 'number']);
    assertSameLinks(home, connection, 'veth with its peer elsewhere');
    assertSameLinks(guest, inside, 'the peer');
  } finally {
    process.kill('SIGKILL');
  }
});

run('a macvlan is made right in another namespace, on a link of ours', () => {
  using home = new Namespace();
  using guest = new Namespace();
  using connection = home.connect();
  using inside = guest.connect();
  connection.execute(newLink({ kind: 'veth', name: 'parent', index: PARENT }));
  const data = { mode: 'bridge' } as const;
  connection.execute(newLink({ kind: 'macvlan', name: 'mv-parent', link: PARENT, netnsFd: guest.fd, data }));
  const made = inside.get(getLink('mv-parent'));
  assert.equal([made.kind, made.link, dataOfKind(made, 'macvlan')?.mode], ['macvlan', PARENT, 'bridge']);
  assert.type(made.linkNetnsId, 'number');
  assertSameLinks(guest, inside, 'macvlan of a link elsewhere');
});

run('a link is moved to another namespace, and gets a name and an index there', () => {
  using home = new Namespace();
  using guest = new Namespace();
  using connection = home.connect();
  using inside = guest.connect();
  connection.execute(newLink({ kind: 'veth', name: 'va', index: 50, data: { peer: { name: 'vb' } } }));
  connection.execute(setLink('vb', { netnsFd: guest.fd }));
  connection.execute(setLink(50, { netnsFd: guest.fd, name: 'host0' }));
  assert.equal(
    connection.dump(dumpLinks()).map(link => link.name),
    ['lo'],
  );
  assert.equal(
    inside
      .dump(dumpLinks())
      .map(link => link.name)
      .sort(),
    ['host0', 'lo', 'vb'],
  );
});

run('lo comes up in a fresh namespace, by index and by name', () => {
  for (const target of [1, 'lo']) {
    using namespace = new Namespace();
    using connection = namespace.connect();
    connection.execute(setLinkUp(target));
    assert.ok((shown(namespace, 'lo').link['flags'] as string[]).includes('UP'));
  }
});

run('refusals carry the words of the kernel', () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  connection.execute(newLink({ kind: 'bridge', name: 'br0' }));
  const refused: [Parameters<Connection['execute']>[0], string][] = [
    [newLink({ kind: 'bridge', name: 'br0' }), 'cannot create bridge link br0: File exists (EEXIST)'],
    [deleteLink('nothing'), 'cannot delete link nothing: No such device (ENODEV)'],
    [setLink('br0', { mtu: 20 }), 'cannot change link br0: mtu less than device minimum (EINVAL)'],
    [
      newLink({ kind: 'tun', name: 'tun0' }),
      'cannot create tun link tun0: tun/tap creation via rtnetlink is not supported (EOPNOTSUPP)',
    ],
  ];
  for (const [request, message] of refused) {
    try {
      connection.execute(request);
      assert.unreachable(message);
    } catch (error) {
      assert.instance(error, KernelError);
      assert.is((error as Error).message, message);
    }
  }
});

run('a tun that ip made is changed and deleted', () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  namespace.ip('tuntap add tun0 mode tun');
  connection.execute(setLink('tun0', { mtu: 1300, up: true }));
  assert.is(shown(namespace, 'tun0').link['mtu'], 1300);
  connection.execute(deleteLink('tun0'));
  assert.equal(
    namespace.ipJson('link').map(link => link['ifname']),
    ['lo'],
  );
});

test.run();
