/** What the janitor does with interfaces and zones of an nspawn that was killed; what it leaves to the next run. */
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deleteLink, getLink, newLink, setLink } from '../../../netlink/index.ts';
import { call } from '../../../syscalls/call.ts';
import { AT, LOCK, O } from '../../../syscalls/constants.ts';
import { owned } from '../../../syscalls/fd.ts';
import { perform } from '../../../syscalls/syscall.ts';
import { NSPAWN, shell, startNspawn } from '../../cli/support.ts';
import { eventually } from '../../console/support.ts';
import { needs, root } from '../../support/needs.ts';
import { busybox } from '../../support/tree.ts';
import { host, hostLinks, isGone, machineId, start, unique } from '../support.ts';

const it = needs([root, busybox, machineId]);
const zone = unique('z');
const bridge = `vz-${zone}`;

/** Kills nspawn with SIGKILL while its payload runs; resolves once its janitor has done all it does. */
async function kill(words: string[], before: () => void = () => {}, command = NSPAWN): Promise<void> {
  const nspawn = startNspawn(shell('echo ready; exec sleep 1000', '--console=pipe', ...words), { command });
  await nspawn.until('ready');
  const janitor = childrenOf(nspawn.child.pid!).find(pid => nameOf(pid) === 'nspawn-janitor')!;
  assert.ok(janitor, 'there is no janitor');
  before();
  nspawn.child.kill('SIGKILL');
  await nspawn.outcome;
  await eventually('the janitor ends', () => nameOf(janitor) !== 'nspawn-janitor');
}

const childrenOf = (pid: number) =>
  readdirSync(`/proc/${pid}/task`).flatMap(task =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );

/** The name of a process; undefined if there is none, or if it has ended. */
function nameOf(pid: number): string | undefined {
  try {
    const [, name, state] = /\((.*)\) (.)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))!;
    return state === 'Z' ? undefined : name;
  } catch {
    return undefined;
  }
}

it('its links and its zone are gone when the janitor has ended', async () => {
  await kill(['-M', unique('m'), `--network-zone=${zone}`, `--network-veth-extra=${unique('x')}`]);
  assert.equal(hostLinks(bridge, `vb-${unique('m')}`, unique('x')), {});
});

it('the same where there may be few descriptors', async () => {
  const few = ['sh', '-c', 'ulimit -n 300; exec "$@"', 'sh', ...NSPAWN];
  await kill(['-M', unique('m'), `--network-zone=${zone}`], undefined, few);
  assert.equal(hostLinks(bridge, `vb-${unique('m')}`), {});
});

it('a lent interface comes back from a user namespace', async () => {
  using connection = host();
  const [lent, other] = [unique('l'), unique('o')];
  connection.execute(newLink({ kind: 'veth', name: lent, data: { peer: { name: other } } }));
  await kill(['-M', unique('m'), '-U', `--network-interface=${lent}:lan0`], () => assert.ok(isGone(lent)));
  assert.ok(!isGone(lent));
  connection.execute(deleteLink(other));
});

it('a zone that others are in stays until they leave', async () => {
  const other = await start({ networkZone: zone, machine: unique('m2') });
  const { index } = hostLinks(bridge)[bridge]!;
  await kill(['-M', unique('m1'), `--network-zone=${zone}`]);
  assert.ok(isGone(`vb-${unique('m1')}`));
  assert.is(hostLinks(bridge)[bridge]?.index, index);
  await other[Symbol.asyncDispose]();
  assert.ok(isGone(bridge));
});

it('of two in a zone that are killed the second takes it away', async () => {
  let second: Promise<void> | undefined;
  await kill(['-M', unique('m1'), `--network-zone=${zone}`], () => {
    second = kill(['-M', unique('m2'), `--network-zone=${zone}`]);
  });
  await second;
  assert.ok(isGone(bridge));
});

it('a zone that somebody has locked is left to the next run', async () => {
  using connection = host();
  await kill(['-M', unique('m1'), `--network-zone=${zone}`]);
  using lock = owned(perform(call('openat', AT.FDCWD, '/run/nspawn/zones.lock', O.RDWR | O.CLOEXEC, 0)));
  await kill(['-M', unique('m1'), `--network-zone=${zone}`], () => perform(call('flock', lock.fd, LOCK.EX)));
  const links = hostLinks(bridge, `vb-${unique('m1')}`);
  assert.equal(Object.keys(links), [bridge], 'only the bridge stays');
  perform(call('flock', lock.fd, LOCK.UN));

  // A bridge without ports that is nobody's zone, or somebody else's, is none of ours.
  const theirs = `vz-${unique('t')}`;
  connection.execute(newLink({ kind: 'bridge', name: theirs }));
  await using _ = await start({ networkZone: unique('y') });
  assert.ok(isGone(bridge));
  assert.not.ok(isGone(theirs));
  connection.execute(deleteLink(theirs));
});

it('an interface that was lent has its name again', async () => {
  using connection = host();
  const [lent, peer] = [unique('a'), unique('b')];
  connection.execute(newLink({ kind: 'veth', name: lent, data: { peer: { name: peer } } }));
  try {
    const { address } = connection.get(getLink(lent));
    for (const name of [lent, `${lent}:lan0`]) {
      await kill([`--network-interface=${name}`]);
      assert.is(hostLinks(lent)[lent]?.address, address, name);
    }

    // Its name is taken.
    await kill([`--network-interface=${lent}`], () => connection.execute(newLink({ kind: 'bridge', name: lent })));
    const { index, name } = Object.values(hostLinks('')).find(link => link.address === address)!;
    assert.match(name, /^nspawn\d+$/);
    connection.execute(deleteLink(lent));
    connection.execute(setLink(index, { name: lent }));
  } finally {
    connection.execute(deleteLink(peer));
  }
});

test.run();
