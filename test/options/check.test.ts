import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkOptions } from '../../src/options/check.ts';
import { impliedOptions } from '../../src/options/implied.ts';
import { UsageError } from '../../src/options/usage-error.ts';
import type { ContainerOptions } from '../../src/options.ts';
import { needs, root } from '../support/needs.ts';

/** What checkOptions says of them, or '' when they are fine. */
function complaint(options: ContainerOptions): string {
  try {
    checkOptions(options);
    return '';
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return error.message;
  }
}

const conflicts: [options: ContainerOptions, line: string][] = [
  [{ command: ['', 'ls'] }, 'the command to run is an empty word'],
  [{ boot: true, asPid2: true }, '--boot and --as-pid2 may not be combined'],
  [{ boot: true, shareSystem: true }, '--boot and --share-system may not be combined'],
  [{ asPid2: true, shareSystem: true }, '--as-pid2 and --share-system may not be combined'],
  [{ directory: '/a', image: '/b' }, '--directory= and --image= may not be combined'],
  [{ template: '/a', image: '/b', machine: 'm' }, '--template= and --image= may not be combined'],
  [{ template: '/a' }, '--template= needs --directory= or --machine='],
  [{ ephemeral: true, template: '/a', machine: 'm' }, '--ephemeral and --template= may not be combined'],
  [{ ephemeral: true, linkJournal: 'host' }, '--ephemeral and --link-journal= may not be combined'],
  [{ ephemeral: true, linkJournal: 'try-guest' }, '--ephemeral and --link-journal= may not be combined'],
  [{ readOnly: true, volatile: 'yes' }, '--read-only and --volatile may not be combined'],
  [{ readOnly: true, volatile: 'overlay' }, '--read-only and --volatile may not be combined'],
  [{ boot: true, ambientCapabilities: ['CAP_KILL'] }, '--boot and --ambient-capability= may not be combined'],
  [{ ambientCapabilities: ['CAP_BPF'] }, '--ambient-capability= has CAP_BPF, which the container does not retain'],
  [
    {
      credentials: [
        { id: 'a', value: '' },
        { id: 'a', path: '/b' },
      ],
    },
    'the credential a is given more than once',
  ],
  [{ networkBridge: 'a', networkZone: 'b' }, '--network-bridge= and --network-zone= may not be combined'],
  [{ networkNamespacePath: '/n', networkVeth: true }, '--network-namespace-path= and options that make or move'],
  [{ networkNamespacePath: '/n', networkMacvlans: ['a'] }, '--network-namespace-path= and options that make or move'],
];

for (const [options, line] of conflicts) {
  test(`refuses ${JSON.stringify(options)} together`, () => {
    assert.ok(complaint(options).startsWith(line), complaint(options));
  });
}

const fine: ContainerOptions[] = [
  {},
  { directory: '/', machine: 'a', privateNetwork: true, command: ['ls'] },
  { register: false, linkJournal: 'no', keepUnit: false, ephemeral: false, properties: [], networkInterfaces: [] },
  { register: true, keepUnit: true, slice: 'a.slice', properties: ['MemoryMax=1G'] },
  { linkJournal: 'auto' },
  { volatile: 'no', readOnly: true },
  { boot: true, readOnly: true, shareSystem: false },
  { shareSystem: true, register: true },
  { networkZone: 'a', networkMacvlans: ['a', 'b:c'], networkIpvlans: ['a'], networkInterfaces: ['a:b', 'c'] },
  { networkBridge: 'a', networkVethExtra: ['a:b', 'c'] },
  { networkNamespacePath: '/a', privateNetwork: true },
  { privateUsers: 'no', shareSystem: true },
  { privateUsers: { base: 65536, count: 1 }, usersOwnership: 'map', readOnly: true, volatile: 'no' },
  { boot: true, ambientCapabilities: [] },
  { boot: true, command: [''] },
  { command: ['ls', ''] },
  { ambientCapabilities: ['CAP_BPF'], capabilities: ['all'] },
];

for (const options of fine) {
  test(`takes ${JSON.stringify(options)}`, () => assert.is(complaint(impliedOptions(options)), ''));
}

const badValues: [options: ContainerOptions, line: string][] = [
  [{ machine: '../etc' }, '--machine= takes a name of '],
  [{ hostname: 'a_b' }, '--hostname= takes a name of '],
  [{ uuid: 'x' }, '--uuid= takes a UUID'],
  [{ user: '' }, '--user= takes a user name'],
  [{ chdir: 'a' }, '--chdir= takes an absolute path'],
  [{ environment: ['A=b', 'HOME'] }, '--setenv= takes NAME=VALUE, not "HOME"'],
  [{ environment: ['1=b'] }, '--setenv= takes NAME'],
  [{ killSignal: 65 }, '--kill-signal= takes a signal'],
  [{ capabilities: ['CAP_KILL', 'CAP_FOO'] }, '--capability= takes capabilities'],
  [{ dropCapabilities: ['CAP_FOO'] }, '--drop-capability= takes capabilities'],
  [{ ambientCapabilities: ['all'] }, '--ambient-capability= takes capabilities'],
  [{ privateUsers: { base: -1, count: 1 } }, '--private-users= takes '],
  [{ privateUsers: { base: 0.5, count: 1 } }, '--private-users= takes '],
  [{ privateUsers: 'some' as 'no' }, '--private-users= takes yes, no, pick, identity or BASE[:COUNT], not "some"'],
  [{ usersOwnership: 'x' as 'off' }, '--private-users-ownership= takes one of off, '],
  [{ credentials: [{ id: 'a/b', value: '' }] }, '--set-credential= takes an ID'],
  [{ credentials: [{ id: 'a', path: 'b' }] }, '--load-credential= takes an absolute path'],
  [{ oomScoreAdjust: 1.5 }, '--oom-score-adjust= takes a number from -1000 to 1000, not "1.5"'],
  [{ cpuAffinity: [0, -1] }, '--cpu-affinity= takes CPU numbers'],
  [{ personality: 'pdp11' }, '--personality= takes '],
  [{ binds: [{ source: '/a', destination: 'b', readOnly: false, recursive: true }] }, '--bind= takes an absolute path'],
  [{ tmpfs: [{ path: 'a', options: '' }] }, '--tmpfs= takes an absolute path'],
  [{ overlays: [{ lower: ['/a'], destination: 'b', readOnly: true }] }, '--overlay= takes an absolute path'],
  [{ user: { uid: -1, gid: 0 } }, 'user takes ids from 0 to 4294967294, not "-1"'],
  [{ user: { uid: 0, gid: 0, home: 'a' } }, 'user takes an absolute path'],
  [{ files: [{ path: 'a', content: '' }] }, 'files takes an absolute path'],
  [{ files: [{ path: '/a', mode: -1 }] }, 'files takes permissions from 0 to 0o7777, not "-1"'],
  [{ files: [{ path: '/a', mode: 0o100644 }] }, 'files takes permissions from 0 to 0o7777'],
  [{ rlimits: [{ name: 'nofile', soft: 'infinity', hard: 'infinity' }] }, '--rlimit= takes a limit of AS, CORE, '],
  [{ overlays: [{ lower: [], destination: '/b', readOnly: true }] }, '--overlay= takes two layers or more'],
  [{ overlays: [{ lower: ['/a'], destination: '/b', readOnly: true }] }, '--overlay= takes two layers or more'],
  [{ overlays: [{ lower: [], upper: '/a', destination: '/b', readOnly: false }] }, '--overlay= takes two layers or'],
  [{ tmpfsSize: 'much' }, '--tmpfs-size= takes bytes'],
  [{ inaccessible: ['a'] }, '--inaccessible= takes an absolute path'],
  [{ networkInterfaces: ['a', 'a/b'] }, '--network-interface= takes HOST[:CONTAINER], '],
  [{ networkMacvlans: ['a:b:c'] }, '--network-macvlan= takes HOST[:CONTAINER], '],
  [{ networkIpvlans: [''] }, '--network-ipvlan= takes HOST[:CONTAINER], '],
  [{ networkVethExtra: [':a'] }, '--network-veth-extra= takes HOST[:CONTAINER], '],
  [{ networkBridge: '' }, '--network-bridge= takes a network interface name'],
  [{ networkZone: 'a:b' }, '--network-zone= takes a name of '],
];

for (const [options, line] of badValues) {
  test(`refuses the value in ${JSON.stringify(options)}`, () => {
    assert.ok(complaint(options).startsWith(line), complaint(options));
  });
}

// Others have users of their own in any case.
needs([root])('users of its own are what others need', () => {
  assert.match(complaint({ noUserNamespaces: true }), /^--no-user-namespaces needs --private-users=/);
});

const implied: [options: ContainerOptions, more: ContainerOptions][] = [
  [{}, {}],
  [{ networkVeth: true }, { privateNetwork: true }],
  [{ networkBridge: 'a' }, { networkVeth: true, privateNetwork: true }],
  [{ networkZone: 'a' }, { networkVeth: true, privateNetwork: true }],
  [{ networkInterfaces: ['a'] }, { privateNetwork: true }],
  [{ networkMacvlans: ['a'] }, { privateNetwork: true }],
  [{ networkIpvlans: ['a'] }, { privateNetwork: true }],
  [{ networkVethExtra: ['a:b'] }, { privateNetwork: true }],
  [{ networkInterfaces: [], networkVeth: false }, {}],
  [{ networkNamespacePath: '/a' }, {}],
  [{ shareSystem: true, register: true }, { register: false }],
];

for (const [options, more] of implied) {
  test(`what ${JSON.stringify(options)} implies`, () => assert.equal(impliedOptions(options), { ...options, ...more }));
}

test.run();
