/** systemd-machined and systemd of a real host: what they know of containers. */
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { busyboxTree } from '../../../support/tree.ts';
import { eventually, isGone, isListed, onBusybox, property, scopes, sleeping, start } from '../../machines.ts';
import { ends, inMachine, sh } from '../../support.ts';

const it = inMachine();

it('a container is listed, and has a scope like that of systemd-nspawn', async () => {
  const theirs = ['systemd-nspawn', '-q', '--read-only', '-D', busyboxTree(), '--console=pipe', '-M'];
  await using ours = start(...onBusybox('ours'), ...sleeping);
  await using other = start(...theirs, 'other', ...sleeping);
  await eventually('both are ready', () => ours.said().includes('ready') && other.said().includes('ready'));
  const list = sh('machinectl list --no-legend');
  assert.match(list, /^other +container systemd-nspawn busybox/m);
  assert.match(list, /^ours +container nspawn +busybox/m);
  assert.match(sh('machinectl status ours'), /Service: nspawn; class container\s+Root: .*busybox/);
  const show = (name: string) =>
    sh(`systemctl show machine-${name}.scope`)
      .split('\n')
      .filter(line => !/^(Device|[^=]*(Timestamp|ID|Id|Controller|Names|Path|Current|NSec|ControlGroup))/.test(line))
      .map(line => line.replace(name, 'NAME'));
  assert.equal(show('ours'), show('other'));
  assert.is(property('machine-ours.scope', 'DevicePolicy'), 'strict');
  assert.ok(ends('machinectl terminate ours').status === 0);
  assert.is(await ours.ended, 1);
  await eventually('it has said why', () => ours.said().includes('asks for the end of ours'));
  await isGone('ours');
});

it('slice, properties and limits are those of the scope', async () => {
  const limits = ['--property=MemoryMax=200M', '--property=Description=Mine', '--tasks=50', '--cpus=0.5', '--stats'];
  {
    await using running = start(...onBusybox('limited', '-S', 'my-own', ...limits), ...sleeping);
    await eventually('it is ready', () => running.said().includes('ready'));
    const scope = '/sys/fs/cgroup/my.slice/my-own.slice/machine-limited.scope';
    // systemd hands controllers on to a cgroup when it gets to it.
    await eventually('it has its controllers', () =>
      ['memory.max', 'pids.max', 'cpu.max'].every(name => existsSync(`${scope}/${name}`)),
    );
    assert.is(readFileSync(`${scope}/memory.max`, 'utf8'), `${200 << 20}\n`);
    assert.is(readFileSync(`${scope}/pids.max`, 'utf8'), '50\n');
    assert.is(readFileSync(`${scope}/cpu.max`, 'utf8'), '50000 100000\n');
    assert.is(property('machine-limited.scope', 'Description'), 'Mine');
    assert.ok(existsSync(`${scope}/payload`));
  }
  await isGone('limited');
  const eater = 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done';
  const { status, stderr } = ends(
    [...onBusybox('eater', '--memory=64M', '--memory-swap=0', '--stats'), '/bin/sh', '-c', `'${eater}'`].join(' '),
  );
  assert.is(status, 1);
  assert.match(stderr, /out of memory/);
  await isGone('eater');
});

it('the host reaches it by the interface that machined names', async () => {
  await using running = start(...onBusybox('linked', '-n'), ...sleeping);
  await eventually('it is ready', () => running.said().includes('ready'));
  const index = readFileSync('/sys/class/net/ve-linked/ifindex', 'utf8').trim();
  const machine = '/org/freedesktop/machine1/machine/linked org.freedesktop.machine1.Machine NetworkInterfaces';
  assert.is(sh(`busctl get-property org.freedesktop.machine1 ${machine}`), `ai 1 ${index}`);
});

it('nothing is registered with --register=no, which makes a scope, and with --keep-unit not even that', async () => {
  await using scoped = start(...onBusybox('scoped', '--register=no'), ...sleeping);
  await using bare = start(...onBusybox('bare', '--register=no', '--keep-unit'), ...sleeping);
  await eventually('both are ready', () => scoped.said().includes('ready') && bare.said().includes('ready'));
  assert.not.ok(isListed('scoped') || isListed('bare'));
  assert.is(property('scoped.scope', 'Slice'), 'machine.slice');
  assert.is(property('scoped.scope', 'Delegate'), 'yes');
  assert.ok(scopes().includes('scoped.scope'));
  assert.not.match(scopes().join(), /bare/);
});

it('after kill -9 of nspawn machined and systemd keep nothing', async () => {
  const running = start(...onBusybox('killed', '--stats'), ...sleeping);
  await eventually('it is ready', () => running.said().includes('ready'));
  running.child.kill('SIGKILL');
  assert.is(await running.ended, 'SIGKILL');
  await isGone('killed');
});

it('a name can be used again at once', async () => {
  for (let times = 0; times < 5; times++) {
    const { status, stderr } = ends([...onBusybox('again'), '/bin/true'].join(' '));
    assert.equal([status, stderr], [0, '']);
  }
  await isGone('again');
});

it('a name is one machine only', async () => {
  await using running = start(...onBusybox('once'), ...sleeping);
  await eventually('it is ready', () => running.said().includes('ready'));
  const { status, stderr } = ends([...onBusybox('once'), '/bin/true'].join(' '));
  assert.equal(
    [status, stderr],
    [1, "registering the container with systemd-machined: Machine 'once' already exists\n"],
  );
  assert.ok(isListed('once'));
});

it('without machined a container goes without', async () => {
  sh('systemctl mask --runtime --now systemd-machined 2>&1');
  try {
    assert.equal(ends([...onBusybox('alone'), 'echo', 'hello'].join(' ')), {
      status: 0,
      stdout: 'hello\n',
      stderr: '',
    });
    const { status, stderr } = ends([...onBusybox('alone', '--register=yes'), 'echo', 'hello'].join(' '));
    assert.is(status, 1);
    assert.match(stderr, /^registering the container with systemd-machined: .*masked/);
  } finally {
    sh('systemctl unmask --runtime systemd-machined 2>&1');
  }
});

test.run();
