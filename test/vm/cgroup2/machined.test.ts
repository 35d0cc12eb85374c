/** systemd-machined and systemd of a real host: what they know of containers, and what they can do to them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { busyboxTree, debianTree } from '../../support/tree.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

interface Running extends AsyncDisposable {
  child: ChildProcess;
  /** What it has said so far. */
  said(): string;
  /** Its exit status or signal, once it has ended. */
  ended: Promise<number | string>;
}

/** Starts a command whose end is waited for. */
function start(...command: string[]): Running {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk;
    });
  }
  // Not its streams' end: a container of systemd-nspawn's that is left behind would keep them.
  const ended = once(child, 'exit').then(([status, signal]) => status ?? signal);
  return {
    child,
    said: () => text,
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      const timer = global.setTimeout(() => child.kill('SIGKILL'), 30_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

const onBusybox = (name: string, ...options: string[]): string[] => [
  ...['nspawn', '-q', '-D', busyboxTree(), '--read-only', '--console=pipe', '-M', name, ...options, '--'],
];
const sleeping = ['/bin/sh', '-c', 'echo ready; exec sleep 1000'];

/** Emulated machines are slow. */
async function eventually(what: string, condition: () => unknown): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (condition()) return;
    await setTimeout(200);
  }
  throw new Error(`waiting until ${what}`);
}

const property = (unit: string, name: string) => sh(`systemctl show --value --property=${name} ${unit}`);
const isListed = (name: string) => ends(`machinectl show ${name}`).status === 0;
const scopes = () => readdirSync('/sys/fs/cgroup/machine.slice').filter(name => name.endsWith('.scope'));

/** Nothing of it is left for machined and systemd; they may need a moment. */
async function isGone(name: string): Promise<void> {
  await eventually(`${name} is not listed`, () => !isListed(name));
  await eventually('its scope has gone', () => !existsSync(`/sys/fs/cgroup/machine.slice/machine-${name}.scope`));
  assert.equal(sh(`systemctl list-units --all --plain --no-legend 'machine-${name}*'`), '');
}

it('a container is listed, and has a scope like that of systemd-nspawn', async () => {
  const theirs = ['systemd-nspawn', '-q', '--read-only', '-D', busyboxTree(), '--console=pipe', '-M'];
  await using ours = start(...onBusybox('ours'), ...sleeping);
  await using other = start(...theirs, 'other', ...sleeping);
  await eventually('both are ready', () => ours.said().includes('ready') && other.said().includes('ready'));
  const list = sh('machinectl list --no-legend');
  assert.match(list, /^other +container systemd-nspawn busybox/m);
  assert.match(list, /^ours +container nspawn +busybox/m);
  assert.match(sh('machinectl status ours'), /Service: nspawn; class container\n +Root: .*busybox/);
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
  assert.match(sh('machinectl list'), /^No machines\.$/);
  assert.is(property('scoped.scope', 'Slice'), 'machine.slice');
  assert.is(property('scoped.scope', 'Delegate'), 'yes');
  assert.equal(scopes(), ['scoped.scope']);
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

const boot = (name: string, ...options: string[]) =>
  ['nspawn', '-q', '-bD', debianTree(), '--volatile=overlay', '--console=passive', '-M', name, ...options] as const;
const inside = (name: string, script: string) =>
  ends(`machinectl shell ${name} /bin/sh -c '${script}' </dev/null`).stdout.replaceAll('\r', '');
const isUp = (name: string) =>
  eventually(`${name} is up`, () => /^(running|degraded)$/m.test(inside(name, 'systemctl is-system-running')));

it('a booted one has shell and login, cgroups of its own below the scope, and is powered off', async () => {
  await using running = start(...boot('full'));
  await isUp('full');
  assert.match(inside('full', 'cat /proc/1/cgroup'), /^0::\/init\.scope$/m);
  assert.match(inside('full', 'cat /sys/fs/cgroup/cgroup.controllers'), /^cpuset cpu io memory .*pids/m);
  assert.equal(
    sh('ls -d /sys/fs/cgroup/machine.slice/machine-full.scope/*/'),
    '/sys/fs/cgroup/machine.slice/machine-full.scope/payload/',
  );
  assert.match(sh('(sleep 5; echo) | timeout 60 script -qc "machinectl login full" /dev/null || true'), /login:/);
  assert.match(sh('machinectl status full'), /OS: Debian GNU\/Linux 12.*payload.*init\.scope/s);
  sh('machinectl poweroff full');
  assert.is(await running.ended, 0);
  await isGone('full');
});

it('one with users of its own boots, and its init manages the cgroup that it gets in the scope', async () => {
  await using running = start(...boot('users', '-U'));
  await isUp('users');
  const payload = '/sys/fs/cgroup/machine.slice/machine-users.scope/payload';
  const owner = Number(sh(`stat -c %u ${payload}`));
  assert.ok(owner >= 0x80000, `${owner}`);
  assert.is(sh(`stat -c %u ${payload}/init.scope`), `${owner}`);
  sh('machinectl poweroff users');
  assert.is(await running.ended, 0);
  await isGone('users');
});

it('systemd ends a booted one in order, and machinectl restarts it', async () => {
  await using running = start(...boot('ordered'));
  await isUp('ordered');
  const leader = sh('machinectl show --value --property=Leader ordered');
  sh('machinectl reboot ordered');
  await eventually('it has another leader', () => {
    const now = ends('machinectl show --value --property=Leader ordered').stdout.trim();
    return now !== '' && now !== leader;
  });
  await isUp('ordered');
  sh('systemctl stop machine-ordered.scope');
  assert.is(await running.ended, 0);
  await isGone('ordered');
});

it('in a service with --keep-unit that is what is registered; in a session it is refused', async () => {
  const unit = ['--unit=kept', '--collect', '-p', 'Delegate=yes', '-p', 'KillMode=mixed', '-p', 'Type=notify'];
  sh(['systemd-run', '-q', ...unit, ...boot('kept', '--keep-unit')].join(' '));
  await isUp('kept');
  assert.match(sh('machinectl status kept'), /Unit: kept\.service/);
  assert.equal(scopes(), []);
  sh('machinectl poweroff kept');
  await eventually('the service has ended', () => ends('systemctl is-active kept').status !== 0);
  await isGone('kept');
  const session = 'systemd-run -q --scope --slice=user-1000.slice';
  const { status, stderr } = ends(`${session} ${[...onBusybox('refused', '--keep-unit'), '/bin/true'].join(' ')}`);
  assert.is(status, 1);
  assert.match(stderr, /--keep-unit may not be used from a user session/);
});

test.run();
