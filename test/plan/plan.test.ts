/** Plans as data: what is done, in which order, for which options. Nothing is started. */
import { existsSync, mkdirSync, readlinkSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ContainerOptions } from '../../src/index.ts';
import { UsageError } from '../../src/index.ts';
import { impliedOptions } from '../../src/options/implied.ts';
import { buildPlan } from '../../src/plan/plan.ts';
import type { Plan, Step, StepAction } from '../../src/plan/steps.ts';
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import { needs } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const check = needs([busybox]);
const off: ContainerOptions = { timezone: 'off', resolvConf: 'off', register: false, keepUnit: true };
const planOf = (options: ContainerOptions = {}, console: Plan['console'] = 'streams') =>
  buildPlan({ directory: busyboxTree(), ...off, ...options }, console);
const kinds = (plan: Plan) => plan.steps.map(({ action }) => action.do);
/** Paths of steps that have one, in their order, from the first mount on /proc on. */
const paths = (plan: Plan) =>
  plan.steps
    .flatMap(({ action }) => ('path' in action ? [action.path] : action.do === 'hide' ? action.paths : []))
    .filter(path => !path.startsWith('/sys/fs/selinux'));
const stepsOf = <K extends StepAction['do']>(plan: Plan, kind: K) =>
  plan.steps.filter((step): step is Step & { action: Extract<StepAction, { do: K }> } => step.action.do === kind);

const API = ['/proc', '/proc/sys', '/sys', '/dev', '/dev/pts', '/dev/shm', '/run'];

check('the order of steps is that of systemd-nspawn', () => {
  const plan = planOf();
  const order = [
    'separate mounts',
    'set host name',
    'enter root',
    'make directories',
    'mount',
    'bind read-only',
    'fill /dev',
    'set up kernel log',
    'set boot id',
  ] as const;
  const positions = order.map(kind => kinds(plan).indexOf(kind));
  assert.equal(
    positions,
    positions.toSorted((a, b) => a - b),
  );
  assert.not.ok(positions.includes(-1));
  assert.equal(paths(plan), API);
  assert.equal(kinds(planOf({}, 'pty')).slice(-3), ['set up console', 'set up kernel log', 'set boot id']);
});

check('with users of its own, what belongs to namespaces of the container is done inside, all else before', () => {
  const users: ContainerOptions = { privateUsers: { base: 65536, count: 65536 }, usersOwnership: 'map' };
  const binds = ['/mnt', '/proc/version'].map(destination => ({
    source: '/etc',
    destination,
    readOnly: true,
    recursive: true,
  }));
  const split = (options: ContainerOptions) => {
    const { steps } = planOf({ ...users, ...options }, 'pty');
    const at = steps.findIndex(({ action }) => action.do === 'hand over');
    const named = ({ action }: Step) => ('path' in action ? action.path : action.do);
    return { before: steps.slice(0, at).map(named), inside: steps.slice(at).map(named), first: steps[at + 1]!.action };
  };
  const plain = split({ binds });
  const mounted = ({ first }: typeof plain) =>
    first.do === 'enter user namespace' && first.mounts.map(({ path }) => path);
  assert.equal(mounted(plain), ['/proc']);
  for (const path of ['/sys', '/dev', '/run', '/mnt', 'set up console']) assert.ok(plain.before.includes(path), path);
  for (const path of ['/proc/sys', '/dev/pts', '/proc/version', 'set host name', 'set boot id'])
    assert.ok(plain.inside.includes(path), path);
  assert.equal(mounted(split({ privateNetwork: true })), ['/proc', '/sys']);
  assert.ok(split({ privateNetwork: true }).inside.includes('bring loopback up'));
  // Nothing is lost but what is done before there are two agents.
  const without = kinds(planOf({ binds }, 'pty')).filter(kind => kind !== 'reset loginuid').length;
  assert.is(plain.before.length + plain.inside.length, without + 2 - 1);
});

check('a mapped tree is what comes from the tree, and nothing of the host', () => {
  const users: ContainerOptions = { privateUsers: 'pick', volatile: 'overlay' };
  const binds = ['/tmp', '+/usr'].map(source => ({ source, destination: '/mnt', readOnly: false, recursive: true }));
  const { hostObjects } = planOf({ ...users, binds });
  const mapped = Object.entries(hostObjects).flatMap(([key, object]) => ('mapped' in object ? [key] : []));
  assert.equal(mapped, [
    'volatile lower',
    Object.keys(hostObjects).find(
      key => hostObjects[key]?.kind === 'tree' && (hostObjects[key] as { path: string }).path === '/usr',
    )!,
  ]);
  assert.not.ok(
    Object.values(planOf({ ...users, usersOwnership: 'off' }).hostObjects).some(object => 'mapped' in object),
  );
});

check('what must not fail, and what may', () => {
  const plan = planOf(
    {
      timezone: 'copy',
      resolvConf: 'replace-host',
      privateNetwork: true,
      binds: [{ source: '/tmp', destination: '/mnt', readOnly: false, recursive: true }],
    },
    'pty',
  );
  const mayFail = new Map(
    plan.steps.filter(({ onFailure }) => onFailure !== 'fail').map(({ action, onFailure }) => [action.do, onFailure]),
  );
  mayFail.delete('bind'); // SELinux's file system, where the host has it.
  mayFail.delete('reset loginuid'); // Where the kernel has audit.
  assert.equal(
    [...mayFail],
    [
      ['make directories', 'debug'],
      ['copy file', 'warn'],
    ],
  );
});

check('the mount table', () => {
  const { NOSUID, NOEXEC, NODEV, RDONLY, STRICTATIME } = MOUNT_ATTR;
  const table = stepsOf(planOf(), 'mount').map(({ action: { type, path, attributes, options }, onFailure }) => [
    type,
    path,
    attributes,
    options.map(({ key, value }) => `${key}=${value}`).join(),
    onFailure,
  ]);
  assert.equal(table, [
    ['proc', '/proc', NOSUID | NOEXEC | NODEV, '', 'fail'],
    ['sysfs', '/sys', RDONLY | NOSUID | NOEXEC | NODEV, '', 'fail'],
    ['tmpfs', '/dev', NOSUID | STRICTATIME, 'mode=755', 'fail'],
    ['devpts', '/dev/pts', NOSUID | NOEXEC, 'ptmxmode=0666,mode=620,gid=5', 'fail'],
    ['tmpfs', '/dev/shm', NOSUID | NODEV | STRICTATIME, 'mode=1777', 'fail'],
    ['tmpfs', '/run', NOSUID | NODEV | STRICTATIME, 'mode=755', 'fail'],
  ]);
});

check('--share-system: no boot id, host name or login uid, and no registration', () => {
  const without = ['reset loginuid', 'set boot id', 'set host name'];
  const shared = kinds(planOf({ shareSystem: true }));
  assert.equal(
    shared,
    kinds(planOf()).filter(kind => !without.includes(kind)),
  );
  assert.is(planOf({ shareSystem: true }).shareSystem, true);
  assert.is(impliedOptions({ shareSystem: true }).register, false);
  assert.is(impliedOptions({}).register, undefined);
});

check('--private-network: loopback, and resolv.conf left alone', () => {
  const plan = planOf({ privateNetwork: true, resolvConf: 'auto' });
  assert.is(kinds(plan).at(-1), 'bring loopback up');
  assert.ok(plan.privateNetwork);
  assert.equal(stepsOf(plan, 'copy file'), []);
});

check('read-only before the API file systems, after what is made in the tree', () => {
  const all = kinds(planOf({ readOnly: true }));
  assert.ok(all.indexOf('make directories') < all.indexOf('make read-only'));
  assert.ok(all.indexOf('make read-only') < all.indexOf('mount'));
  assert.equal(paths(planOf({ readOnly: true })), ['/', ...API]);
});

check('--volatile=', () => {
  const state = planOf({ volatile: 'state' });
  assert.equal(paths(state), ['/', '/var', ...API]);
  const yes = planOf({ volatile: 'yes' });
  assert.equal(paths(yes).slice(0, 4), ['/usr', '/bin', '/sbin', '/lib']);
  assert.equal(yes.hostObjects['root'], { kind: 'scratch', readOnly: false });
  const overlay = planOf({ volatile: 'overlay' });
  assert.equal(
    stepsOf(overlay, 'make overlay').map(({ action }) => action.overlay),
    ['root'],
  );
  assert.ok(kinds(overlay).indexOf('make overlay') < kinds(overlay).indexOf('enter root'));
});

check('the tree is locked for who writes to it', () => {
  const locks = [{}, { readOnly: true }, { volatile: 'yes' }, { volatile: 'state' }, { volatile: 'overlay' }] as const;
  assert.equal(
    locks.map(options => planOf(options).lock),
    ['exclusive', 'shared', 'shared', 'shared', 'shared'],
  );
});

check('mounts that are asked for come last, by kind: bind, bind-ro, tmpfs, overlay, inaccessible', () => {
  const bind = (destination: string, readOnly: boolean) => ({ source: '/tmp', destination, readOnly, recursive: true });
  const plan = planOf({
    inaccessible: ['/i'],
    overlays: [{ lower: ['/tmp', '/tmp'], destination: '/o', readOnly: true }],
    tmpfs: [
      { path: '/t1', options: '' },
      { path: '/t2', options: '' },
    ],
    binds: [bind('/r1', true), bind('/w1', false), bind('/r2', true), bind('/w2', false)],
  });
  assert.equal(paths(plan).slice(API.length), ['/w1', '/w2', '/r1', '/r2', '/t1', '/t2', '/o', '/i']);
});

check('sources of mounts', () => {
  const bind = (source: string, changes = {}) => ({
    source,
    destination: '/mnt',
    readOnly: false,
    recursive: true,
    ...changes,
  });
  const { hostObjects } = planOf({
    binds: [bind('/a'), bind('+/b', { recursive: false }), bind(''), bind('/c', { readOnly: true })],
  });
  const tree = { kind: 'tree', inRoot: false, recursive: true, readOnly: false };
  const custom = Object.entries(hostObjects).flatMap(([key, object]) => (key.startsWith('custom') ? [object] : []));
  assert.equal(custom, [
    { ...tree, path: '/a' },
    { ...tree, path: '/b', inRoot: true, recursive: false },
    { kind: 'scratch', readOnly: false },
    { ...tree, path: '/c', readOnly: true },
  ]);
});

check('a writable overlay has its working directory beside the upper layer', () => {
  const plan = planOf({ overlays: [{ lower: ['/a', '/b'], upper: '/c/up', destination: '/o', readOnly: false }] });
  const [step] = stepsOf(plan, 'make overlay');
  const { lower, upper } = step!.action;
  const pathOf = (key: string) => (plan.hostObjects[key] as { path: string }).path;
  assert.equal(lower.map(pathOf), ['/a', '/b']);
  assert.equal([pathOf(upper!.object), upper!.directory], ['/c', 'up']);
  assert.match(upper!.work, /^\.#up[0-9a-f]{8}$/);
});

check('a tmpfs is nodev and strict about times, unless its options say otherwise', () => {
  const { NODEV, STRICTATIME, NOEXEC } = MOUNT_ATTR;
  const tmpfs = ['mode=0700', 'dev,noexec', 'relatime'].map(options => ({ path: '/t', options }));
  const attributes = stepsOf(planOf({ tmpfs }), 'mount')
    .slice(6)
    .map(({ action }) => action.attributes);
  assert.equal(attributes, [NODEV | STRICTATIME, STRICTATIME | NOEXEC, NODEV]);
});

check('the payload', () => {
  const { payload } = planOf({
    command: ['a', 'b c'],
    environment: ['A=b'],
    chdir: '/x',
    asPid2: true,
    noNewPrivileges: true,
    user: 'guest',
    uuid: 'DEADBEEF-dead-beef-dead-beefdeadbeef',
  });
  const { capabilities, ambientCapabilities, ...rest } = payload;
  assert.equal(rest, {
    command: ['a', 'b c'],
    boot: false,
    asPid2: true,
    user: 'guest',
    environment: ['A=b'],
    noNewPrivileges: true,
    credentials: [],
    files: [],
    rlimits: [],
    uuid: 'deadbeefdeadbeefdeadbeefdeadbeef',
    chdir: '/x',
  });
  assert.ok(capabilities > 0n);
  assert.is(ambientCapabilities, 0n);
  assert.is(planOf({ uuid: '0'.repeat(32) }).payload.uuid, undefined);
});

check('an init is asked to end by SIGRTMIN+3, or the signal that was named; another command is killed', () => {
  assert.equal(
    [planOf({ boot: true }), planOf(), planOf({ killSignal: 15 }), planOf({ boot: true, killSignal: 12 })].map(
      plan => plan.killSignal,
    ),
    [37, undefined, 15, 12],
  );
});

test('machine names come from the resolved directory, cleaned', () => {
  using parent = temporaryDirectory();
  const nameOf = (name: string, options: ContainerOptions = {}) => {
    const directory = join(parent.path, name);
    if (!existsSync(directory)) mkdirSync(directory);
    return buildPlan({ directory, ...off, ...options }, 'streams');
  };
  const names: Record<string, string> = {
    debian: 'debian',
    'Web_Server 1': 'WebServer1',
    'a.b-c.example': 'a.b-c.example',
    '-x-.': 'x',
    '..a..b..': 'a.b',
    'a-.b': 'a-b',
    'a_-..-..b-.': 'a--b',
    'a.-.b': 'a.b',
    über: 'ber',
    [`${'x'.repeat(70)}`]: 'x'.repeat(64),
    [`${'x'.repeat(63)}.y`]: 'x'.repeat(63),
  };
  for (const [name, machine] of Object.entries(names)) assert.is(nameOf(name).machine, machine, name);
  assert.throws(
    () => nameOf('___'),
    /^naming the machine after ___: nothing of it can be part of a name; use --machine=$/,
  );
  assert.is(nameOf('___', { machine: 'given' }).machine, 'given');
  assert.is(nameOf('debian', { machine: '' }).machine, 'debian');
  symlinkSync('debian', join(parent.path, 'link'));
  assert.equal(
    [nameOf('link').machine, nameOf('link').directory],
    ['debian', join(realpathSync(parent.path), 'debian')],
  );
  rmSync(join(parent.path, 'link'));
  assert.is(
    buildPlan({ directory: '/', volatile: 'overlay', ...off }, 'streams').machine,
    hostname().replace(/[^a-zA-Z0-9.-]/g, ''),
  );
});

test("what can't be a root directory is refused", () => {
  using directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'file'), '');
  const refusal = (options: ContainerOptions) => {
    try {
      buildPlan(options, 'streams');
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  };
  const { path } = directory;
  assert.is(refusal({ directory: `${path}/no` }), `opening the root directory ${path}/no: no such directory`);
  assert.is(refusal({ directory: `${path}/file` }), `opening the root directory ${path}/file: it is not a directory`);
  // Only root may look into that directory.
  assert.match(refusal({ machine: 'no-such' })!, /^opening the root directory \/var\/lib\/machines\/no-such: /);
  assert.is(
    refusal({ directory: '/' }),
    'starting a container on the root directory / needs --ephemeral or --volatile: it would write to the running system',
  );
  assert.match(refusal({ directory: '/', readOnly: true })!, 'needs --ephemeral or --volatile');
});

check("options that can't be are a UsageError", () => {
  const impossible: ContainerOptions[] = [
    { boot: true, asPid2: true },
    { readOnly: true, volatile: 'yes' },
    { chdir: 'relative' },
    { user: '' },
    { uuid: 'x' },
    { machine: 'a b' },
    { environment: ['A'] },
    { capabilities: ['CAP_NONE'] },
    { tmpfs: [{ path: '/', options: '' }] },
    { binds: [{ source: '/tmp', destination: '/./', readOnly: false, recursive: true }] },
    { image: '/x' },
  ];
  for (const options of impossible) {
    assert.throws(
      () => planOf(options),
      (error: unknown) => error instanceof UsageError && !error.message.includes('\n'),
      JSON.stringify(options),
    );
  }
});

check('links into /usr are made where the tree lacks them and can use them', () => {
  using directory = temporaryDirectory();
  for (const path of ['usr/bin', 'usr/lib', 'bin']) mkdirSync(join(directory.path, path), { recursive: true });
  const links = stepsOf(buildPlan({ directory: directory.path, ...off }, 'streams'), 'make symlink');
  assert.equal(
    links.map(({ action }) => `${action.path} ${action.target}`),
    ['/lib usr/lib'],
  );
});

check('host objects are opened once for each mount, the console only for a pseudo terminal', () => {
  assert.equal(
    Object.keys(planOf().hostObjects).filter(key => key === 'console'),
    [],
  );
  assert.equal(planOf({}, 'pty').hostObjects['console'], { kind: 'console' });
});

check('building a plan changes nothing and leaves no descriptor', () => {
  planOf();
  const count = () => Array.from({ length: 256 }, (_, fd) => existsOpen(fd)).filter(Boolean).length;
  const before = count();
  for (let i = 0; i < 50; i++) planOf({ volatile: 'overlay', timezone: 'auto', resolvConf: 'auto' });
  assert.is(count(), before);
});

function existsOpen(fd: number): boolean {
  try {
    readlinkSync(`/proc/self/fd/${fd}`);
    return true;
  } catch {
    return false;
  }
}

test.run();
