/** Names and MAC addresses are those that systemd-nspawn gives. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deleteLink, newLink } from '../../netlink/index.ts';
import { macAddress, shortName } from '../../src/plan/interface-names.ts';
import { NSPAWN } from '../cli/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import { host, hostLinks, machineId, unique } from './support.ts';

const it = needs([root, busybox, machineId, tool('systemd-nspawn'), tool('unshare')]);

/** Prints the interfaces and their MAC addresses, and waits for the end of its input. */
const SCRIPT = 'cd /sys/class/net; for i in *; do echo "$i $(cat $i/address)"; done; echo .; read x';

/** Before it starts, udev has seen all interfaces of the host; systemd-nspawn insists on that. */
const UDEV = `
  mount -t tmpfs none /run && mkdir -p /run/udev/data || exit
  for i in /sys/class/net/*/ifindex; do echo I:1 >/run/udev/data/n$(cat $i); done
  exec "$@"`;

interface Seen {
  inside: string[];
  outside: object[];
}

/** What is there while a container runs that a command has started. */
async function seenWith(program: readonly string[], words: string[]): Promise<Seen> {
  const own = ['-q', '-D', busyboxTree(), '--read-only', '--timezone=off', '--console=pipe'];
  const command = [...program, '--register=no', '--keep-unit', ...own, ...words, '--', '/bin/sh', '-c', SCRIPT];
  const child = spawn('unshare', ['--mount', 'sh', '-c', UDEV, 'sh', ...command], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const closed = once(child, 'close');
  let output = '';
  for await (const text of child.stdout.setEncoding('utf8')) {
    output += text;
    if (output.endsWith('.\n')) break;
  }
  const outside = Object.values(hostLinks('ve-', 'vb-', unique('')))
    .filter(({ name, altNames = [] }) => [name, ...altNames].some(each => each.includes(unique(''))))
    .map(({ name, kind, address, altNames, flags }) => ({ name, kind, address, altNames, up: flags.includes('UP') }));
  child.stdin.end();
  await closed;
  return { inside: output.trim().split('\n').sort(), outside: outside.sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

const parents = [unique('p'), unique('parent').padEnd(15, '1')] as const;
const LINES: Record<string, string[]> = {
  'a short machine name': ['-M', unique(''), '-n'],
  'a machine name that just fits': ['-M', unique('').padEnd(12, 'x'), '-n'],
  'a machine name that is one too long': ['-M', unique('').padEnd(13, 'x'), '-n'],
  'a long machine name': ['-M', `${unique('')}.a-long.machine.name-with-much-in-it`, '-n'],
  'a bridge': ['-M', `${unique('')}.some-long-name`, `--network-bridge=${unique('br')}`],
  'extra links': [
    '-M',
    unique('m'),
    ...['0', '1:in1', '2', '3'].map(end => `--network-veth-extra=${unique(end)}`),
    '-n',
  ],
  macvlans: ['-M', unique('m'), ...parents.map(parent => `--network-macvlan=${parent}`)],
};

for (const [what, words] of Object.entries(LINES)) {
  it(`are the same: ${what}`, async () => {
    using connection = host();
    connection.execute(newLink({ kind: 'bridge', name: unique('br') }));
    connection.execute(newLink({ kind: 'veth', name: parents[0], data: { peer: { name: parents[1] } } }));
    try {
      const real = await seenWith(['systemd-nspawn'], words);
      assert.ok(real.inside.length > 2, 'systemd-nspawn has made no interface');
      const ours = await seenWith(NSPAWN, words);
      assert.equal(ours, real);
    } finally {
      for (const name of [unique('br'), parents[0]]) connection.execute(deleteLink(name));
    }
  });
}

test('names that fit stay as they are', () => {
  assert.is(shortName('ve-123456789012'), 've-123456789012');
  // As systemd-nspawn 252 has it.
  assert.is(shortName('ve-a-quite-long-machine-name'), 've-a-quite-J0gb');
  assert.is(shortName('mv-nxlongparent123'), 'mv-nxlongpag5RF');
});

test('addresses depend on host, machine, use and place, and on nothing else', () => {
  const id = '3d1219c7c4c5404aaa1f6d2a48adfda4';
  const all = [
    macAddress('vethHost', 'a', id),
    macAddress('vethHost', 'b', id),
    macAddress('vethHost', 'a', id.replace('3', '4')),
    macAddress('vethContainer', 'a', id),
    macAddress('macvlan', 'a', id),
    macAddress('macvlan', 'a', id, 1),
    macAddress('macvlan', 'a', id, 2),
  ];
  assert.is(new Set(all).size, all.length);
  for (const address of all) assert.match(address, /^.[26ae](:[0-9a-f]{2}){5}$/);
  assert.is(macAddress('macvlan', 'a', id), macAddress('macvlan', 'a', id, 0));
  // As systemd-nspawn 252 has it on a host of this id.
  assert.is(macAddress('vethHost', 'short', id), '5e:5b:48:fd:8b:01');
  assert.is(macAddress('extraVethContainer', 'a-quite-long-machine-name', id, 1), '26:a0:57:79:14:b9');
});

test.run();
