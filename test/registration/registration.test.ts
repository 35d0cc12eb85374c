/** Registering with systemd-machined: what is said on the bus, and what comes of the answers. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { spawn } from '../../src/index.ts';
import { hierarchiesOf } from '../../src/plan/cgroups.ts';
import { NSPAWN, nspawn, onBusybox, shell, startNspawn } from '../cli/support.ts';
import { eventually } from '../console/support.ts';
import { machineId, unique } from '../network/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { bus, type Call, type Manager, managedCgroups, propertiesIn, startManager } from './support.ts';

const it = needs([root, busybox, bus]);
const withNetwork = needs([root, busybox, bus, machineId]);
const withCgroups = needs([root, busybox, bus, () => (managedCgroups().length > 0 ? undefined : 'no cgroups')]);

const MANAGER = 'org.freedesktop.machine1.Manager';
const members = (manager: Manager) => manager.calls().map(({ member }) => member);
const hello = shell('echo hello', '--quiet', '--console=pipe');

it('a machine is created with all that machined wants to know, and terminated at the end', async () => {
  await using manager = await startManager();
  const { status, stdout, stderr } = await nspawn(hello, { env: manager.env });
  assert.equal([status, stdout, stderr], [0, 'hello\n', '']);
  assert.equal(members(manager), ['CreateMachineWithNetwork', 'GetMachine', 'Get', 'Terminate']);
  const [created, , , terminated] = manager.calls() as [Call, Call, Call, Call];
  assert.equal(
    [created.path, created.interface, created.signature],
    ['/org/freedesktop/machine1', MANAGER, 'sayssusaia(sv)'],
  );
  const [name, id, service, kind, leader, directory, interfaces] = created.body;
  assert.equal(
    [name, id, service, kind, directory, interfaces],
    ['box', '0'.repeat(32), 'nspawn', 'container', busyboxTree(), []],
  );
  assert.ok((leader as number) > 1);
  assert.equal(propertiesIn(created), {
    Controller: [['s', created.sender]],
    DevicePolicy: [['s', 'strict']],
    DeviceAllow: [
      [
        'a(ss)',
        [
          ...['null', 'zero', 'full', 'random', 'urandom', 'tty', 'net/tun'].map(node => [`/dev/${node}`, 'rwm']),
          ['/dev/pts/ptmx', 'rw'],
          ['char-pts', 'rw'],
        ],
      ],
    ],
  });
  assert.equal(
    [terminated.path, terminated.interface],
    ['/org/freedesktop/machine1/machine/name', 'org.freedesktop.machine1.Machine'],
  );
});

it('slice, properties, machine id and kill signal are passed on', async () => {
  await using manager = await startManager();
  using tree = copyTree(busyboxTree());
  writeFileSync(`${tree.path}/etc/machine-id`, 'c0ffee00c0ffee00c0ffee00c0ffee00\n');
  const options = ['-D', tree.path, '-q', '--console=pipe', '-S', 'my', '--kill-signal=TERM', '--timezone=off'];
  const { status, stderr } = await nspawn(
    [...options, '--property=MemoryMax=1G', '--property=CPUQuota=20%', '--', '/bin/true'],
    { env: manager.env },
  );
  assert.equal([status, stderr], [0, '']);
  const [created] = manager.calls() as [Call];
  assert.is(created.body[1], 'c0ffee00c0ffee00c0ffee00c0ffee00');
  const { Slice, MemoryMax, CPUQuotaPerSecUSec, KillSignal, KillMode } = propertiesIn(created);
  assert.equal(
    [Slice, MemoryMax, CPUQuotaPerSecUSec, KillSignal, KillMode],
    [[['s', 'my.slice']], [['t', '1073741824']], [['t', '200000']], [['i', 15]], [['s', 'mixed']]],
  );
});

it('without registration there is a scope only, whose job is waited for', async () => {
  await using manager = await startManager();
  const { status, stderr } = await nspawn([...hello.slice(0, 2), '--register=no', ...hello.slice(2)], {
    env: manager.env,
  });
  assert.equal([status, stderr], [0, '']);
  assert.equal(members(manager), ['StartTransientUnit']);
  const [{ signature, body, leader, ...call }] = manager.calls() as [Call];
  assert.equal([call.interface, signature], ['org.freedesktop.systemd1.Manager', 'ssa(sv)a(sa(sv))']);
  assert.equal([body[0], body[1], body[3]], ['box.scope', 'fail', []]);
  const { PIDs, Slice, Delegate, CollectMode, Controller, DevicePolicy } = propertiesIn({ body } as Call);
  assert.equal(PIDs, [['au', [leader]]]);
  assert.equal([Slice, Delegate], [[['s', 'machine.slice']], [['b', true]]]);
  assert.equal(
    [CollectMode, Controller, DevicePolicy],
    [[['s', 'inactive-or-failed']], [['s', call.sender]], [['s', 'strict']]],
  );
});

it('with --keep-unit the unit is registered, which is not stopped at the end', async () => {
  await using manager = await startManager();
  const { status } = await nspawn([...hello.slice(0, 2), '--keep-unit', '-S', 'no', ...hello.slice(2)], {
    env: manager.env,
  });
  assert.is(status, 0);
  assert.equal(members(manager), ['RegisterMachineWithNetwork', 'GetMachine', 'Get', 'UnregisterMachine']);
  const [registered, , , unregistered] = manager.calls() as [Call, Call, Call, Call];
  assert.equal([registered.signature, registered.body.length], ['sayssusai', 7]);
  assert.equal([unregistered.interface, unregistered.body], [MANAGER, ['box']]);
});

it('a machine of that name that is another by now is left alone', async () => {
  await using manager = await startManager('other');
  assert.is((await nspawn(hello, { env: manager.env })).status, 0);
  assert.equal(members(manager), ['CreateMachineWithNetwork', 'GetMachine', 'Get']);
});

it('nothing is asked with --register=no --keep-unit, with --share-system, and for helpers', async () => {
  await using manager = await startManager('error', 'org.example.No', 'Nothing should be asked');
  using tree = copyTree(busyboxTree());
  writeFileSync(`${tree.path}/usr/bin/getent`, '#!/bin/sh\necho asked >&2\nexit 2\n', { mode: 0o755, flag: 'wx' });
  for (const options of [
    ['--register=no', '--keep-unit'],
    ['--share-system'],
    ['--share-system', '--register=yes'],
    // Its getent is asked in a container of its own.
    ['-D', tree.path, '--register=no', '--keep-unit', '--user=unknown'],
  ]) {
    await nspawn([...onBusybox(), ...options, '-q', '--console=pipe', '--', '/bin/true'], { env: manager.env });
  }
  assert.equal(members(manager), []);
});

withNetwork('the index is that of the interface on the host', async () => {
  await using manager = await startManager();
  const name = unique('r');
  for (const [option, link] of [
    ['--network-veth', `ve-${name}`],
    [`--network-zone=${name}`, `vz-${name}`],
  ] as const) {
    const { status, stderr } = await nspawn(
      ['-D', busyboxTree(), '--read-only', '-q', '--console=pipe', '-M', name, option, '--', '/bin/true'],
      { env: manager.env },
    );
    assert.equal([status, stderr], [0, '']);
    const { body, interfaces } = manager.calls().findLast(({ member }) => member === 'CreateMachineWithNetwork')!;
    const indices = body[6] as number[];
    assert.is(indices.length, 1);
    assert.is(interfaces![`${indices[0]}`], link);
  }
});

it('what machined refuses ends the start, in its own words', async () => {
  await using manager = await startManager('error', 'org.example.Refused', 'Slice is full');
  const { status, stdout, stderr } = await nspawn(hello, { env: manager.env });
  assert.equal([status, stdout], [1, '']);
  assert.is(stderr, 'registering the container with systemd-machined: Slice is full\n');
});

it('a name that is just being freed is waited for', async () => {
  await using manager = await startManager('taken', '3');
  assert.is((await nspawn(hello, { env: manager.env })).status, 0);
  assert.is(members(manager).filter(member => member === 'CreateMachineWithNetwork').length, 4);
});

/** Who is there to be asked, and what is said of it. */
const NOBODY: readonly [who: string, behaviour: string[], env: Record<string, string>, level: string, says: string][] =
  [
    ['no bus', ['nobody'], { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/nonexistent' }, 'debug', 'No such file or directory'],
    ['a bus elsewhere', ['nobody'], { DBUS_SYSTEM_BUS_ADDRESS: 'tcp:host=x' }, 'debug', 'is not one of this machine'],
    ['no machined', ['nobody'], {}, 'debug', 'The name org.freedesktop.machine1 was not provided'],
    [
      'a machined that is masked',
      ['error', 'org.freedesktop.systemd1.UnitMasked', 'It is masked'],
      {},
      'debug',
      'It is masked',
    ],
    ['no answer', ['silent'], {}, 'warn', 'no answer to CreateMachineWithNetwork within 1 s'],
  ];
for (const [who, behaviour, env, level, says] of NOBODY) {
  it(`${who}: the container goes without, unless --register=yes, --slice= or --property= insist`, async () => {
    await using manager = await startManager(...behaviour);
    const options = { env: { ...manager.env, ...env } };
    const quiet = await nspawn(hello, options);
    assert.equal([quiet.status, quiet.stdout], [0, 'hello\n']);
    assert.is(quiet.stderr.includes(says), level === 'warn');
    const log = await nspawn(['--log-level=debug', '--log-format=json', ...hello], options);
    const line = log.stderr
      .trim()
      .split('\n')
      .map(text => JSON.parse(text))
      .find(({ msg }) => msg.startsWith('the container is not registered: '));
    assert.ok(line?.msg.includes(says), log.stderr);
    for (const option of ['--register=yes', '--slice=a.slice', '--property=Description=mine']) {
      const insisting = await nspawn([option, ...hello], options);
      assert.equal([insisting.status, insisting.stdout], [1, '']);
      assert.match(insisting.stderr, /^registering the container with systemd-machined( in a\.slice)?: [^\n]+\n$/);
      assert.ok(insisting.stderr.includes(says), insisting.stderr);
      if (level === 'warn') break;
    }
  });
}

it('when systemd wants the scope to end, the payload is asked to end if it can be, else killed', async () => {
  await using manager = await startManager('stop');
  const script = 'trap "exit 7" TERM; echo ready; sleep 100 & wait';
  const asked = await nspawn(shell(script, '-q', '--console=pipe', '--kill-signal=TERM'), { env: manager.env });
  assert.is(asked.status, 7);
  const killed = await nspawn(shell(script, '-q', '--console=pipe'), { env: manager.env });
  assert.equal(
    [killed.status, killed.stderr],
    [1, "The host's systemd asks for the end of box.\nContainer box terminated by signal KILL.\n"],
  );
});

it('nobody but systemd can ask for that', async () => {
  await using manager = await startManager('spoof');
  const { status, stdout } = await nspawn(shell('sleep 1; echo still here', '-q', '--console=pipe'), {
    env: manager.env,
  });
  assert.equal([status, stdout], [0, 'still here\n']);
});

it('the library registers, too, and the machine is gone when the container has ended', async () => {
  await using manager = await startManager();
  const { DBUS_SYSTEM_BUS_ADDRESS: before } = process.env;
  process.env['DBUS_SYSTEM_BUS_ADDRESS'] = manager.env['DBUS_SYSTEM_BUS_ADDRESS'];
  try {
    await using container = await spawn({
      directory: busyboxTree(),
      readOnly: true,
      register: true,
      command: ['/bin/cat'],
    });
    await eventually('it is registered', () => manager.calls()[0]?.leader === container.pid);
    container.stdin!.end();
    assert.equal(await container.exited, { exitStatus: 0 });
  } finally {
    if (before === undefined) delete process.env['DBUS_SYSTEM_BUS_ADDRESS'];
    else process.env['DBUS_SYSTEM_BUS_ADDRESS'] = before;
  }
  await eventually('it is terminated', () => members(manager).at(-1) === 'Terminate');
});

for (const options of [[], ['--register=no']]) {
  const how = options.join(' ') || 'registered';
  withCgroups(`${how}: an init sees a cgroup below that of the scope as the root, and leaves no other`, async () => {
    const scope = `nspawn-test-${process.pid}.scope`;
    await using manager = await startManager('move', scope);
    using tree = copyTree(busyboxTree());
    const init = `${tree.path}/usr/sbin/init`;
    // It is a symlink that would lead to the host's busybox.
    rmSync(init);
    writeFileSync(
      init,
      '#!/bin/sh\ncat /proc/self/cgroup\ncd /sys/fs/cgroup\nmkdir mine systemd/mine unified/mine 2>/dev/null\nexit 0\n',
      {
        mode: 0o755,
        flag: 'wx',
      },
    );
    try {
      const { status, stdout, stderr } = await nspawn(
        ['-D', tree.path, '-M', `box${process.pid}`, '-q', '-b', '--timezone=off', '--console=pipe', ...options],
        { env: manager.env },
      );
      assert.equal([status, stderr], [0, '']);
      const inside = stdout.split('\n').filter(line => /^\d+:(name=systemd)?:/.test(line));
      assert.ok(inside.length > 0);
      for (const line of inside) assert.match(line, /:\/$/);
      // A cgroup that it was born in would be beside it.
      for (const directory of managedCgroups()) {
        assert.equal(
          readdirSync(directory).filter(name => name.includes(`box${process.pid}`)),
          [],
        );
        assert.ok(existsSync(`${directory}/${scope}/payload`));
      }
    } finally {
      for (const directory of managedCgroups()) await removeCgroup(`${directory}/${scope}`);
    }
  });
}

/** Removes a cgroup with those below it, as systemd does at the end of a unit, when its last process has gone. */
async function removeCgroup(path: string): Promise<void> {
  const below = existsSync(path) ? readdirSync(path, { withFileTypes: true }).filter(each => each.isDirectory()) : [];
  for (const { name } of below) await removeCgroup(`${path}/${name}`);
  await eventually(`${path} is gone`, () => {
    try {
      rmdirSync(path);
      return true;
    } catch (error) {
      return (error as { code?: string }).code === 'ENOENT';
    }
  });
}

withCgroups('limits are properties of the scope, in whose cgroups is counted what is used', async () => {
  const scope = `nspawn-test-${process.pid}.scope`;
  await using manager = await startManager('move', scope);
  const limits = ['--memory=256M', '--memory-swap=0', '--cpus=1.5', '--cpu-weight=idle', '--tasks=99', '--stats'];
  try {
    const { status, stdout, stderr } = await nspawn(shell('cat /proc/self/cgroup', '--console=pipe', ...limits), {
      env: manager.env,
    });
    assert.is(status, 0);
    const [created] = manager.calls() as [Call];
    const { MemoryMax, MemorySwapMax, CPUQuotaPerSecUSec, CPUWeight, TasksMax, CPUAccounting } = propertiesIn(created);
    assert.equal(
      [MemoryMax, MemorySwapMax, CPUQuotaPerSecUSec, CPUWeight, TasksMax, CPUAccounting],
      [[['t', '268435456']], [['t', '0']], [['t', '1500000']], [['t', '0']], [['t', '99']], [['b', true]]],
    );
    const inside = stdout.split('\n').filter(line => /^\d+:(name=systemd)?:/.test(line));
    for (const line of inside) assert.match(line, /:\/$/);
    assert.match(stderr, /exited successfully/);
    for (const directory of managedCgroups()) {
      assert.ok(existsSync(`${directory}/${scope}/supervisor`));
      assert.equal(
        readdirSync(directory).filter(name => name.startsWith('nspawn-box')),
        [],
      );
    }
  } finally {
    for (const directory of managedCgroups()) await removeCgroup(`${directory}/${scope}`);
  }
});

withCgroups('where nobody answers, an init and limits have cgroups of our own', async () => {
  await using manager = await startManager('nobody');
  const machine = `box${process.pid}`;
  const words = shell('echo ready; read line', '-M', machine, '--console=pipe', '--log-level=debug', '--tasks=99');
  const { child, outcome, until } = startNspawn(words, { env: manager.env });
  await until('ready');
  const inside = execFileSync('pgrep', ['--parent', `${child.pid}`, 'sh'], { encoding: 'utf8' }).trim();
  const own = hierarchiesOf(Number(inside)).filter(({ controllers }) => /^$|pids/.test(controllers));
  assert.ok(own.length > 0);
  for (const { path } of own) assert.match(path, `nspawn-${machine}-`);
  child.stdin!.end();
  const { status, stderr } = await outcome;
  assert.is(status, 1);
  assert.match(stderr, /the container is not registered/);
});

withCgroups('--keep-unit is refused in a user session', async () => {
  const [directory] = managedCgroups() as [string];
  // Of a name that no systemd of this machine has anything to do with.
  const session = [
    `${directory}/test${process.pid}.slice`,
    `${directory}/test${process.pid}.slice/user-65534.slice`,
  ] as const;
  for (const path of session) mkdirSync(path);
  const enter = `echo $$ >${session[1]}/cgroup.procs && exec "$@"`;
  const run = (...options: string[]) =>
    nspawn([...options, ...hello], { command: ['sh', '-c', enter, 'sh', ...NSPAWN] });
  try {
    const { status, stderr } = await run('--keep-unit');
    assert.equal(
      [status, stderr],
      [1, '--keep-unit may not be used from a user session: it would be taken for the container\n'],
    );
    assert.is((await run('--keep-unit', '--register=no')).status, 0);
  } finally {
    for (const path of session.toReversed()) await removeCgroup(path);
  }
});

test.run();
