/** What the options --network-* do and refuse beyond making interfaces. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deleteLink, newLink } from '../../netlink/index.ts';
import type { SpawnOptions } from '../../src/index.ts';
import { nspawn, onBusybox } from '../cli/support.ts';
import { commandLine, shell, startError, unchanging } from '../container/support.ts';
import { Namespace } from '../netlink/namespace.ts';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { host, hostLinks, isGone, linksInside, machineId, start, unique } from './support.ts';

const it = needs([root, busybox, machineId]);
const quiet: SpawnOptions = { ...unchanging(busyboxTree()), machine: unique('m'), resolvConf: 'off', timezone: 'off' };
const CAP_NET_ADMIN = 1n << 12n;
const capabilities = async (options: SpawnOptions) =>
  BigInt(`0x${await shell("sed -n 's/CapBnd:\t//p' /proc/self/status", { ...quiet, ...options })}`);

const MISSING = unique('no');
const REFUSED: Record<string, [SpawnOptions, RegExp]> = {
  'an interface that is not there': [
    { networkInterfaces: [MISSING] },
    new RegExp(`^moving the network interface ${MISSING} into the container: .*No such device \\(ENODEV\\)$`),
  ],
  'an interface that the kernel does not let go': [
    { networkInterfaces: ['lo'] },
    /^moving the network interface lo into the container: cannot change link 1: .* \(EINVAL\)$/,
  ],
  'a macvlan on an interface that is not there': [
    { networkMacvlans: [MISSING] },
    new RegExp(`^making a macvlan mv-${MISSING} .* on ${MISSING} for the container: .*No such device \\(ENODEV\\)$`),
  ],
  'a macvlan on the loopback interface': [
    { networkMacvlans: ['lo'] },
    /^making a macvlan mv-lo .* on lo for the container: .*mv-lo: .*\(\w+\)$/,
  ],
  'a bridge that is not there': [
    { networkBridge: MISSING },
    new RegExp(`^making a veth link .* on the bridge ${MISSING} .*: .*No such device \\(ENODEV\\)$`),
  ],
  'a bridge that is none': [
    { networkBridge: 'lo' },
    /^making a veth link .* on the bridge lo .*: .*link vb-.*\(\w+\)$/,
  ],
  'a name that the host has already': [
    { networkVethExtra: ['lo:x'] },
    /^making a veth link from lo .*: cannot create veth link lo: File exists \(EEXIST\)$/,
  ],
  'a name that two interfaces of the container would have': [
    { networkVeth: true, networkVethExtra: [`${unique('x')}:host0`] },
    /^the container would have two interfaces host0$/,
  ],
  'the same, where one is moved': [
    { networkInterfaces: [`${MISSING}:a`], networkMacvlans: [`${MISSING}:a`] },
    /^the container would have two interfaces a$/,
  ],
  'a name that two links of the host would have': [
    { networkVeth: true, networkVethExtra: [`ve-${unique('m')}:x`] },
    new RegExp(`^the host would have two interfaces ve-${unique('m')}$`),
  ],
  'an interface that is to be moved twice': [
    { networkInterfaces: ['lo:a', 'lo:b'] },
    /^an interface can be moved once only: lo$/,
  ],
  'a namespace that is not there': [
    { networkNamespacePath: '/no/such' },
    /^opening the network namespace \/no\/such: .*ENOENT/,
  ],
  'a namespace that is a file': [
    { networkNamespacePath: '/etc/passwd' },
    /^opening the network namespace \/etc\/passwd: it is not a network namespace$/,
  ],
  'a namespace of another kind': [
    { networkNamespacePath: '/proc/self/ns/mnt' },
    /^opening the network namespace \/proc\/self\/ns\/mnt: it is not a network namespace$/,
  ],
};
for (const [what, [options, error]] of Object.entries(REFUSED)) {
  it(`refuses ${what}`, async () => {
    assert.match(await startError({ ...quiet, command: ['/bin/true'], ...options }), error);
    assert.equal(hostLinks(`ve-${unique('')}`, `vb-${unique('')}`, unique('')), {});
  });
}

const ipvlan: Need = () => {
  using connection = host();
  try {
    connection.execute(newLink({ kind: 'ipvlan', name: unique('iv'), link: 1, data: { mode: 'l2' } }));
    connection.execute(deleteLink(unique('iv')));
  } catch (error) {
    if (/Unknown device type/.test(String(error))) return 'this kernel has no ipvlan';
  }
  return undefined;
};
needs([root, busybox, machineId, ipvlan])('makes an ipvlan', async () => {
  using connection = host();
  connection.execute(newLink({ kind: 'veth', name: unique('a'), data: { peer: { name: unique('b') } } }));
  try {
    await using container = await start({ networkIpvlans: [unique('a'), `${unique('b')}:lan0`] });
    assert.equal(
      linksInside(container).map(({ name, kind }) => [name, kind]),
      [
        [`iv-${unique('a')}`, 'ipvlan'],
        ['lan0', 'ipvlan'],
      ],
    );
  } finally {
    connection.execute(deleteLink(unique('a')));
  }
});

needs([root, busybox, machineId, tool('unshare')])('where udev runs, it must have seen the interface', async () => {
  using connection = host();
  const name = unique('u');
  connection.execute(newLink({ kind: 'bridge', name }));
  try {
    const { index } = hostLinks(name)[name]!;
    const udev = 'mount -t tmpfs none /run && mkdir -p /run/udev/data && touch /run/udev/control';
    const words = ['-D', busyboxTree(), '--read-only', '--timezone=off', `--network-macvlan=${name}`, 'true'];
    const { status, stderr } = commandLine(udev, ...words);
    const refusal = `: network interface ${name} is not initialized yet, says udev`;
    assert.ok(status === 1 && stderr.endsWith(refusal), stderr);
    assert.ok(commandLine(`${udev} && echo E:A=b >/run/udev/data/n${index}`, ...words).stderr.endsWith(refusal));
    const seen = commandLine(`${udev} && printf 'I:1\\nE:A=b\\n' >/run/udev/data/n${index}`, ...words);
    assert.equal([seen.status, seen.stderr], [0, '']);
  } finally {
    connection.execute(deleteLink(name));
  }
});

needs([root, busybox, tool('unshare')])('without a machine id there are no addresses to give', () => {
  const nothing = 'mount --bind /dev/null /etc/machine-id';
  const words = ['-D', busyboxTree(), '--read-only', '--timezone=off', '-n', 'true'];
  const { status, stderr } = commandLine(nothing, ...words);
  assert.is(status, 1);
  assert.match(stderr, /^working out MAC addresses: \/etc\/machine-id has no machine id; [^\n]*$/);
});

it('a namespace that is there already is joined as it is', async () => {
  using namespace = new Namespace();
  const joined = { ...quiet, networkNamespacePath: namespace.path };
  namespace.ip('link add dum0 type bridge');
  const look = 'readlink /proc/self/ns/net; ls /sys/class/net; cat /sys/class/net/lo/flags';
  const [own, ...rest] = (await shell(look, joined)).split('\n');
  assert.is(own, namespace.run('readlink', '/proc/self/ns/net').trim());
  assert.ok(rest.includes('dum0'));
  assert.is(rest.at(-1), '0x8', 'lo is not brought up');
  assert.not.ok((await capabilities({ networkNamespacePath: namespace.path })) & CAP_NET_ADMIN);

  // With --private-network it is administered as one's own.
  const administered = { networkNamespacePath: namespace.path, privateNetwork: true };
  assert.ok((await capabilities(administered)) & CAP_NET_ADMIN);
  assert.is(await shell('cat /sys/class/net/lo/flags', { ...quiet, ...administered }), '0x9');
});

it('an interface gives the container CAP_NET_ADMIN, a network of its own, and no resolv.conf', async () => {
  assert.ok((await capabilities({ networkVeth: true })) & CAP_NET_ADMIN);
  using tree = copyTree(busyboxTree());
  rmSync(join(tree.path, 'etc/resolv.conf'), { force: true });
  const options: SpawnOptions = { directory: tree.path, machine: unique('m'), networkVeth: true, timezone: 'off' };
  const [links = '', configuration = ''] = (
    await shell('ls -x /sys/class/net; cat /etc/resolv.conf 2>&1; true', options)
  ).split('\n');
  assert.match(links, /^host0 +lo/);
  assert.match(configuration, /No such file/);
});

it('a container that reboots gets all of it again', async () => {
  using tree = copyTree(busyboxTree());
  const init = join(tree.path, 'sbin/init');
  rmSync(init);
  const times = 5;
  writeFileSync(
    init,
    `#!/bin/sh\ncat /sys/class/net/host0/address >>/seen; [ $(wc -l </seen) = ${times} ] && poweroff -f; reboot -f\n`,
  );
  chmodSync(init, 0o755);
  const words = ['-D', tree.path, '-M', unique('m'), '-q', '--timezone=off', `--network-zone=${unique('z')}`, '-b'];
  const { status, stderr } = await nspawn(words);
  assert.equal([status, stderr], [0, '']);
  const seen = (await shell('cat /seen', { ...quiet, directory: tree.path })).split('\n');
  assert.is(seen.length, times);
  assert.is(new Set(seen).size, 1);
  assert.ok(isGone(`vb-${unique('m')}`) && isGone(`vz-${unique('z')}`));
});

it('waits for the link of a container of the same name to vanish', async () => {
  using connection = host();
  const name = `ve-${unique('m')}`;
  connection.execute(newLink({ kind: 'bridge', name }));
  const started = nspawn([
    ...onBusybox(),
    '-n',
    '-P',
    '-q',
    '-M',
    unique('m'),
    '--',
    'cat',
    '/sys/class/net/host0/ifindex',
  ]);
  // It takes longer than that until it makes its own, and waits for a second then.
  await setTimeout(150);
  connection.execute(deleteLink(name));
  const { status, stderr } = await started;
  assert.equal([status, stderr], [0, '']);
  assert.ok(isGone(name));
});

it('a user that only the tree’s getent knows is found beside a veth link', async () => {
  const message = await startError({ ...quiet, networkVeth: true, user: 'nobody-knows' });
  assert.match(message, /^looking up the user "nobody-knows": /);
  assert.ok(isGone(`ve-${unique('m')}`));
});

test.run();
