/** What systemd-nspawn says on the bus, and what we say. */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Value } from '../../dbus/index.ts';
import { parseUnitProperty } from '../../src/options/unit-properties.ts';
import { NSPAWN, nspawn, type Outcome } from '../cli/support.ts';
import { machineId, unique } from '../network/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { bus, type Call, propertiesIn, startManager } from './support.ts';

const it = needs([root, busybox, bus, machineId, tool('systemd-nspawn')]);

/** The first call of each about a container that is given these options. */
async function sideBySide(options: readonly string[]): Promise<{ ours: Call; theirs: Call }> {
  await using manager = await startManager();
  using tree = copyTree(busyboxTree());
  const words = ['-q', '--console=pipe', '-D', tree.path, ...options, '--', '/bin/true'];
  const run = async (command: readonly string[]): Promise<Call> => {
    const before = manager.calls().length;
    const { status, stderr }: Outcome = await nspawn(words, { command, env: manager.env });
    assert.is(status, 0, stderr);
    return manager.calls()[before]!;
  };
  const theirs = await run(['systemd-nspawn']);
  return { theirs, ours: await run(NSPAWN) };
}

/** What differs between two runs, and what the README says is different. */
const ELSEWHERE = ['Controller', 'PIDs', 'AddRef', 'DevicePolicy', 'DeviceAllow'];
const comparable = (call: Call) =>
  Object.fromEntries(Object.entries(propertiesIn(call)).filter(([name]) => !ELSEWHERE.includes(name)));

const OPTIONS: readonly string[][] = [
  ['-M', 'web'],
  ['-M', 'web', '-S', 'my', '--kill-signal=SIGUSR1', '--uuid=0123456789abcdef0123456789abcdef'],
  ['-M', 'web', '--keep-unit', '-S', 'my'],
  ['-M', 'web', '--register=no'],
  ['-M', 'web', '--register=no', '-S', 'my.slice', '--property=Description=Mine', '--property=CollectMode=inactive'],
  ['-M', unique('s'), '-n', '--bind-ro=/dev/null:/dev/zero', '--bind=/dev/tty'],
  ['-M', unique('s'), '--network-veth-extra=a:b'],
];
for (const options of OPTIONS) {
  it(`${options.join(' ')} has them say the same`, async () => {
    const { ours, theirs } = await sideBySide(options);
    const said = ({ member, path, interface: name, signature }: Call) => [member, path, name, signature];
    assert.equal(said(ours), said(theirs));
    assert.equal(comparable(ours), comparable(theirs));
    assert.is(ours.body[0], theirs.body[0]);
    if (ours.member === 'StartTransientUnit') return assert.equal([ours.body[1], ours.body[3]], ['fail', []]);
    const [, id, , kind, , directory, interfaces] = theirs.body as [string, string, ...unknown[], unknown[]];
    assert.equal([ours.body[3], ours.body[5]], [kind, directory]);
    assert.is((ours.body[6] as unknown[]).length, (interfaces as unknown[]).length);
    if (options.some(option => option.startsWith('--uuid'))) assert.is(ours.body[1], id);
    const devices = (call: Call) => propertiesIn(call)['DeviceAllow']?.flatMap(([, list]) => list as string[][]) ?? [];
    for (const [path, access] of devices(theirs)) {
      assert.ok(
        devices(ours).some(([ourPath, ourAccess]) => ourPath === path && ourAccess === access),
        `${path} ${access}`,
      );
    }
  });
}

/** One of each kind, and what is written in an unusual way. */
const PROPERTIES = [
  ...[
    'MemoryMax=1.5G',
    'MemoryHigh=50%',
    'MemoryLow=12.25%',
    'MemoryMin=',
    'MemorySwapMax=infinity',
    'DefaultMemoryLow=1K',
  ],
  ...['TasksMax=33%', 'CPUWeight=idle', 'StartupCPUWeight=9', 'CPUQuota=150.5%', 'CPUQuotaPeriodSec=10ms'],
  ...['IOWeight=77', 'IODeviceWeight=/dev/null 5', 'IOReadBandwidthMax=/tmp 5.5M', 'IOWriteIOPSMax=/tmp infinity'],
  ...['IODeviceLatencyTargetSec=/ 25ms', 'AllowedCPUs=0,2-4 17', 'AllowedMemoryNodes=0'],
  ...['IPAddressAllow=10.0.0.0/8 2001:db8::/32', 'IPAddressDeny=any'],
  ...['IOAccounting=yes', 'IPAccounting=off', 'Delegate=cpu memory', 'DisableControllers=io cpu'],
  ...['ManagedOOMSwap=kill', 'ManagedOOMMemoryPressure=auto', 'ManagedOOMPreference=avoid'],
  ...['Description=a  text = with blanks', 'CollectMode=inactive', 'SourcePath=/x'],
  ...['KillSignal=SIGRTMIN+3', 'RestartKillSignal=HUP', 'FinalKillSignal=9', 'SendSIGHUP=1', 'SendSIGKILL=no'],
  ...['RuntimeMaxSec=1h 30min', 'TimeoutStopSec=infinity'],
  ...['Documentation=man:a(1) https://b', 'RequiresMountsFor=/a /b'],
  ...['After=a.service b.mount', 'Wants=c.service', 'BindsTo=d.service', 'PropagatesStopTo=e.service'],
  ...['DefaultDependencies=no', 'StopWhenUnneeded=true', 'SuccessAction=none'],
  ...['JobTimeoutSec=5', 'StartLimitIntervalSec=10s', 'StartLimitBurst=0x10'],
];

it('properties are what systemctl makes of them', async () => {
  await using manager = await startManager();
  using tree = copyTree(busyboxTree());
  const { status, stderr } = await nspawn(
    [
      '-q',
      '--console=pipe',
      '-D',
      tree.path,
      '-M',
      'web',
      ...PROPERTIES.map(each => `--property=${each}`),
      '--',
      '/bin/true',
    ],
    { command: ['systemd-nspawn'], env: manager.env },
  );
  assert.is(status, 0, stderr);
  const theirs = comparable(manager.calls()[0]!);
  for (const assignment of PROPERTIES) {
    const { name, signature, value } = parseUnitProperty(assignment);
    const given = (theirs[name] ?? []).map(([type, content]) => written(type, content));
    const ours = written(signature, value);
    assert.ok(given.includes(ours), `${assignment}: ${name} ${ours}, not ${given}`);
  }
});

/** Sets of CPUs without the zero bytes that may stand at their end. */
const written = (signature: string, value: unknown): string => {
  const text = JSON.stringify(value, plain);
  return `${signature} ${signature === 'ay' ? text.replace(/(00)+"$/, '"') : text}`;
};

/** As fake-manager.ts prints values. */
const plain = (_: string, value: Value) => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return typeof value === 'bigint' ? `${value}` : value;
};

/** Properties that ours and theirs refuse. */
const REFUSED = ['MemoryMax=lots', 'CPUQuota=2', 'CPUWeight=0', 'IOWeight=idle', 'KillSignal=NO', 'NoSuchThing=1'];

it('what is no property for systemctl is none for us', () => {
  using tree = copyTree(busyboxTree());
  for (const assignment of REFUSED) {
    assert.throws(() => parseUnitProperty(assignment));
    const words = ['-q', '--console=pipe', '-D', tree.path, `--property=${assignment}`, '--', '/bin/true'];
    // Without a bus it would get no further.
    assert.is.not(spawnSync('systemd-nspawn', words, { env: { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/x' } }).status, 0);
  }
});

test.run();
