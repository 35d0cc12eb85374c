import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { refuseLostBytes } from '../../src/cli/lost-bytes.ts';
import { type ParsedCommandLine, parseCommandLine } from '../../src/cli/parse.ts';
import { UsageError } from '../../src/options/usage-error.ts';
import type { ContainerOptions } from '../../src/options.ts';

const environment = { HOME: '/home/me', EMPTY: '' };
const id = '0123456789abcdef0123456789abcdef';
const cwd = process.cwd();

const accepted: [words: string[], options: ContainerOptions][] = [
  [[], {}],
  [['ls', '-l', '--help'], { command: ['ls', '-l', '--help'] }],
  [['007', '-q', '1.50'], { command: ['007', '-q', '1.50'] }],
  [['-q', '--', '-q'], { command: ['-q'] }],

  [['--directory='], {}],
  [['-D', '/', '-D', ''], {}],
  [['-D/nonexistent//a/'], { directory: '/nonexistent/a' }],
  [['-D/usr/..'], { directory: '/' }],
  [['--read-only'], { readOnly: true }],
  [['--volatile'], { volatile: 'yes' }],
  [['--volatile', 'state'], { volatile: 'yes', command: ['state'] }],
  [['--volatile=TRUE'], { volatile: 'yes' }],
  [['--volatile=off'], { volatile: 'no' }],
  [['--volatile=state'], { volatile: 'state' }],
  [['--volatile=overlay'], { volatile: 'overlay' }],
  [['--volatile=no', '--read-only'], { volatile: 'no', readOnly: true }],

  [['-b', 'single'], { boot: true, command: ['single'] }],
  [['-a', 'ls'], { asPid2: true, command: ['ls'] }],
  [['--chdir=/a/../b'], { chdir: '/a/../b' }],
  [['-E', 'A=1', '--setenv=B=x=y', '-EA=2'], { environment: ['B=x=y', 'A=2'] }],
  [['-E', 'HOME', '-E', 'NOT_SET', '-E', 'EMPTY'], { environment: ['HOME=/home/me', 'NOT_SET=', 'EMPTY='] }],
  [['-E', 'A=', '-E', 'B=a\n\tb'], { environment: ['A=', 'B=a\n\tb'] }],
  [['-u', '007'], { user: '007' }],
  [['--kill-signal=SIGRTMIN+3'], { killSignal: 37 }],
  [['--share-system', '--register=yes'], { shareSystem: true, register: false }],

  [['-M', 'a.b-c', '--hostname=X'], { machine: 'a.b-c', hostname: 'X' }],
  [['-M', 'a', '-M', '', '--hostname=a', '--hostname='], {}],
  [[`--machine=${'a'.repeat(64)}`], { machine: 'a'.repeat(64) }],
  [['--uuid=01234567-89AB-cdef-0123-456789abcdef'], { uuid: id }],
  [[`--uuid=${id}`, `--uuid=${'0'.repeat(32)}`], {}],

  [['--register=no', '--link-journal=no'], { register: false, linkJournal: 'no' }],
  [['--register=F', '--link-journal=auto'], { register: false, linkJournal: 'auto' }],
  [['--notify-ready=yes'], { notifyReady: true, notifySocket: true }],
  [['--notify-ready=1', '--notify-ready=no'], { notifyReady: false }],
  [['-j'], { linkJournal: 'try-guest' }],
  [['--link-journal=host', '--link-journal=off'], { linkJournal: 'no' }],
  [['--private-users'], { privateUsers: 'yes' }],
  [['--private-users=0'], { privateUsers: { base: 0, count: 65536 } }],
  [['--private-users=1'], { privateUsers: { base: 1, count: 65536 } }],
  [['--private-users=65536:10'], { privateUsers: { base: 65536, count: 10 } }],
  [['--private-users=off'], { privateUsers: 'no' }],
  [['--private-users=identity'], { privateUsers: 'identity' }],
  [['--private-users=pick'], { privateUsers: 'pick' }],
  [['-U'], { privateUsers: 'pick' }],
  [['--private-users=pick', '--private-users-ownership=map'], { privateUsers: 'pick', usersOwnership: 'map' }],
  // What -U implies holds wherever nothing else is said, before or after it.
  [['--private-users-ownership=chown', '-U'], { privateUsers: 'pick', usersOwnership: 'chown' }],
  [['-U', '--private-users=5'], { privateUsers: { base: 5, count: 65536 } }],
  [['--private-users-chown'], { usersOwnership: 'chown' }],
  [['--private-network'], { privateNetwork: true }],
  [['--network=private'], { network: 'private', privateNetwork: true }],
  [['--network=host'], { network: 'host' }],
  [['-n'], { networkVeth: true, privateNetwork: true }],
  [['--network-zone=z'], { networkZone: 'z', networkVeth: true, privateNetwork: true }],
  [['--network-bridge=br0'], { networkBridge: 'br0', networkVeth: true, privateNetwork: true }],
  [
    ['--network-interface=a', '--network-interface=b:c', '--network-veth-extra=d:', '--network-ipvlan=e'],
    { networkInterfaces: ['a', 'b:c'], networkVethExtra: ['d'], networkIpvlans: ['e'], privateNetwork: true },
  ],
  [['--network-macvlan=a:b'], { networkMacvlans: ['a:b'], privateNetwork: true }],
  [['--network-namespace-path=/proc/self/ns/net'], { networkNamespacePath: '/proc/self/ns/net' }],
  [['--network-namespace-path=/a', '--network-namespace-path='], {}],

  [
    ['--capability=cap_net_admin,Sys_Time,,all', '--capability=12'],
    { capabilities: ['CAP_NET_ADMIN', 'CAP_SYS_TIME', 'all', 'CAP_NET_ADMIN'] },
  ],
  [['--drop-capability=CAP_KILL', '--drop-capability='], { dropCapabilities: ['CAP_KILL'] }],
  [
    ['--ambient-capability=cap_kill,Chown', '--ambient-capability=', '--ambient-capability=5'],
    { ambientCapabilities: ['CAP_KILL', 'CAP_CHOWN', 'CAP_KILL'] },
  ],
  [
    ['--system-call-filter=@clock  mkdir', '--system-call-filter=~ @mount\tx', '--system-call-filter=y'],
    { systemCallFilter: { allow: ['@clock', 'mkdir', 'y'], deny: ['@mount', 'x'] } },
  ],
  [['--system-call-filter='], { systemCallFilter: { allow: [], deny: [] } }],
  [['--suppress-sync=1'], { suppressSync: true }],
  [['--tmpfs-size=1M'], { tmpfsSize: 1 << 20 }],
  [['--private-users=pick', '--no-user-namespaces'], { privateUsers: 'pick', noUserNamespaces: true }],
  [
    ['--set-credential=a:b\\n', '--load-credential=c:/d'],
    {
      credentials: [
        { id: 'a', value: Buffer.from('b\n') },
        { id: 'c', path: '/d' },
      ],
    },
  ],
  [['--no-new-privileges=yes'], { noNewPrivileges: true }],
  [['--no-new-privileges', 'off'], { noNewPrivileges: false }],

  [
    ['--rlimit=NOFILE=1:2', '--rlimit=RLIMIT_NPROC=3', '--rlimit=LimitNOFILE=4'],
    {
      rlimits: [
        { name: 'NPROC', soft: 3n, hard: 3n },
        { name: 'NOFILE', soft: 4n, hard: 4n },
      ],
    },
  ],
  [['--oom-score-adjust=-1000'], { oomScoreAdjust: -1000 }],
  [['--oom-score-adjust', '0x10'], { oomScoreAdjust: 16 }],
  [['--oom-score-adjust=010'], { oomScoreAdjust: 8 }],
  [['--cpu-affinity=9,0 2-4,3'], { cpuAffinity: [0, 2, 3, 4, 9] }],
  [['--cpu-affinity=0', '--cpu-affinity=1'], { cpuAffinity: [1] }],
  [['--cpu-affinity=0', '--cpu-affinity='], {}],

  [['--resolv-conf=replace-uplink', '--timezone=symlink'], { resolvConf: 'replace-uplink', timezone: 'symlink' }],
  [['--resolv-conf=no', '--timezone=no'], { resolvConf: 'off', timezone: 'off' }],
  [['--resolv-conf=yes', '--timezone=delete'], { resolvConf: 'auto', timezone: 'delete' }],

  [['--bind-user=anna', '--bind-user=_b-2', '-U'], { bindUsers: ['anna', '_b-2'], privateUsers: 'pick' }],
  [['--bind=/a'], { binds: [{ source: '/a', destination: '/a', readOnly: false, recursive: true }] }],
  [['--bind-ro=/a:/b'], { binds: [{ source: '/a', destination: '/b', readOnly: true, recursive: true }] }],
  [['--bind=/a:/b:norbind'], { binds: [{ source: '/a', destination: '/b', readOnly: false, recursive: false }] }],
  [
    ['--bind=/a:/b:norbind,,rbind,noidmap'],
    { binds: [{ source: '/a', destination: '/b', readOnly: false, recursive: true }] },
  ],
  [
    ['--bind=/a:/b:idmap'],
    { binds: [{ source: '/a', destination: '/b', readOnly: false, recursive: true, idmap: 'idmap' }] },
  ],
  [
    ['--bind-ro=/a:/b:rootidmap,norbind,owneridmap'],
    { binds: [{ source: '/a', destination: '/b', readOnly: true, recursive: false, idmap: 'owneridmap' }] },
  ],
  [
    ['--bind=/a:/b:rootidmap,noidmap'],
    { binds: [{ source: '/a', destination: '/b', readOnly: false, recursive: true }] },
  ],
  [['--bind=:/b'], { binds: [{ source: '', destination: '/b', readOnly: false, recursive: true }] }],
  [['--bind=+/a'], { binds: [{ source: '+/a', destination: '/a', readOnly: false, recursive: true }] }],
  [['--bind=../a:/b'], { binds: [{ source: `${cwd}/../a`, destination: '/b', readOnly: false, recursive: true }] }],
  [
    ['--bind=/a\\:b\\\\:/c\\:d', '--bind-ro=/x'],
    {
      binds: [
        { source: '/a:b\\', destination: '/c:d', readOnly: false, recursive: true },
        { source: '/x', destination: '/x', readOnly: true, recursive: true },
      ],
    },
  ],
  [
    ['--tmpfs=/a', '--tmpfs=/b:', '--tmpfs=/c\\:d:size=1M,mode=0700'],
    {
      tmpfs: [
        { path: '/a', options: 'mode=0755' },
        { path: '/b', options: 'mode=0755' },
        { path: '/c:d', options: 'size=1M,mode=0700' },
      ],
    },
  ],
  [['--overlay=/a:+/b'], { overlays: [{ lower: ['/a'], upper: '+/b', destination: '/b', readOnly: false }] }],
  [
    ['--overlay=/a:b:/c\\:d:/e'],
    { overlays: [{ lower: ['/a', `${cwd}/b`], upper: '/c:d', destination: '/e', readOnly: false }] },
  ],
  [['--overlay=+/var::/var'], { overlays: [{ lower: ['+/var'], upper: '', destination: '/var', readOnly: false }] }],
  [['--overlay-ro=/a:/b'], { overlays: [{ lower: ['/a', '/b'], destination: '/b', readOnly: true }] }],
  [['--overlay-ro=/a:/b:/c'], { overlays: [{ lower: ['/a', '/b'], destination: '/c', readOnly: true }] }],
  [['--inaccessible=/a', '--inaccessible=/b'], { inaccessible: ['/a', '/b'] }],
];

for (const [words, options] of accepted) {
  test(`takes ${JSON.stringify(words)}`, () => assert.equal(parseCommandLine(words, environment).options, options));
}

const refused: [words: string[], line: string][] = [
  [['--register=maybe'], '--register= takes yes or no, not "maybe"'],
  [['--register='], '--register= takes yes or no, not ""'],
  [['--volatile='], '--volatile= takes one of no, yes, state, overlay, not ""'],
  [['--volatile=State'], '--volatile= takes one of no, yes, state, overlay, not "State"'],
  [['--chdir=a'], '--chdir= takes an absolute path in the container, not "a"'],
  [['-E', '1A=b'], '--setenv= takes NAME or NAME=VALUE, not "1A=b"'],
  [['-E', '=b\n'], '--setenv= takes NAME or NAME=VALUE, not "=b\\n"'],
  [['-E', 'A-B=c'], '--setenv= takes NAME or NAME=VALUE, not "A-B=c"'],
  [['-u', ''], '--user= takes a user name or uid, not ""'],
  [['--uuid=1234'], '--uuid= takes a UUID or 32 hexadecimal digits, not "1234"'],
  [['--uuid=0123456789ab-cdef-0123-456789abcdef'], '--uuid= takes a UUID or 32 hexadecimal digits'],
  [['--kill-signal=term'], '--kill-signal= takes a signal such as SIGTERM, RTMIN+3 or 15, not "term"'],
  ...['a_b', '-a', 'a-', 'a.', '.a', 'a..b', 'a.-b', 'é', '.host', 'a'.repeat(65)].map((name): [string[], string] => [
    ['-M', name],
    '--machine= takes a name of letters, digits, inner hyphens and dots',
  ]),
  [['--hostname=a.'], '--hostname= takes a name of letters, digits, inner hyphens and dots, 64 at most, not "a."'],
  [['--notify-ready=maybe'], '--notify-ready= takes yes or no, not "maybe"'],
  [['--link-journal=AUTO'], '--link-journal= takes one of no, auto, guest, host, try-guest, try-host, not "AUTO"'],
  [['--capability=CAP_FOO'], '--capability= takes capabilities such as CAP_NET_ADMIN, separated by commas, or all'],
  [['--drop-capability=64'], '--drop-capability= takes capabilities such as CAP_NET_ADMIN'],
  [['--no-new-privileges=2'], '--no-new-privileges= takes yes or no, not "2"'],
  [['--rlimit=NOFILE'], '--rlimit= takes LIMIT=VALUE or LIMIT=SOFT:HARD, not "NOFILE"'],
  [['--oom-score-adjust=1001'], '--oom-score-adjust= takes a number from -1000 to 1000, not "1001"'],
  [['--oom-score-adjust=5.0'], '--oom-score-adjust= takes a number from -1000 to 1000, not "5.0"'],
  ...['a', '1-', '-1', '3-1', '1-2-3', '8192'].map((list): [string[], string] => [
    [`--cpu-affinity=${list}`],
    `--cpu-affinity= takes CPU numbers and ranges such as 0,2-4, up to 8191, not "${list}"`,
  ]),
  [['--personality=pdp11'], '--personality= takes '],
  [['--resolv-conf=copy'], '--resolv-conf= takes one of auto, off, copy-host, '],
  [['--timezone=copy-host'], '--timezone= takes one of auto, off, copy, bind, symlink, delete, not "copy-host"'],
  ...['', 'a', '/a:b', ':', '/a:', '+a:/b', '+:/b', '/a\\', '/a::rbind'].map((bind): [string[], string] => [
    [`--bind=${bind}`],
    '--bind= takes PATH[:PATH[:OPTIONS]] with an absolute path in the container, not ',
  ]),
  [
    ['--bind-ro=/a:/b:foo'],
    '--bind-ro= takes the options rbind, norbind, noidmap, idmap, rootidmap and owneridmap, not "foo"',
  ],
  [
    ['--bind=/a:/b:rbind:x'],
    '--bind= takes the options rbind, norbind, noidmap, idmap, rootidmap and owneridmap, not "rbind:x"',
  ],
  [
    ['--bind=/a:/b:constructor'],
    '--bind= takes the options rbind, norbind, noidmap, idmap, rootidmap and owneridmap, not "constructor"',
  ],
  ...['', 'a', ':size=1'].map((tmpfs): [string[], string] => [
    [`--tmpfs=${tmpfs}`],
    '--tmpfs= takes PATH[:OPTIONS] with an absolute path in the container, not ',
  ]),
  ...['', '/a', '/a:', ':/b', '/a:/b:c', '/a:/b:+/c', '::/c', '/a::/c:/d', '+a:/b:/c', '+::/c', '/a:/b\\'].map(
    (overlay): [string[], string] => [[`--overlay=${overlay}`], '--overlay= takes LOWER[:LOWER…]:UPPER:DESTINATION'],
  ),
  [['--inaccessible=a'], '--inaccessible= takes an absolute path in the container, not "a"'],
  [['--network-bridge=a/b'], '--network-bridge= takes a network interface name, 15 characters at most, not "a/b"'],
  [['--network-interface=12'], '--network-interface= takes HOST[:CONTAINER], network interface names of 15 characters'],
  [['--network-zone=aaaaaaaaaaaaa'], '--network-zone= takes a name of 12 characters at most'],
  [['--network-veth-extra=a:b:c'], '--network-veth-extra= takes HOST[:CONTAINER], '],
  [['--property=foo'], '--property= takes NAME=VALUE, not "foo"'],
  [['--console=tty'], '--console= takes one of interactive, read-only, passive, pipe, not "tty"'],
  [['--log-level=loud'], '--log-level= takes one of trace, debug, info, warn, error, not "loud"'],
  [['--log-format=xml'], '--log-format= takes one of text, json, not "xml"'],
  [['--private-users=some'], '--private-users= takes yes, no, pick, identity or BASE[:COUNT], not "some"'],
  [['--private-users=1:0'], '--private-users= takes BASE:COUNT with a COUNT of 1 or more and no id above 4294967294'],
  [['--private-users=4294967290:6'], '--private-users= takes BASE:COUNT'],
  [['--private-users=1:2:3'], '--private-users= takes yes, no, pick'],
  [['--private-users-ownership=yes'], '--private-users-ownership= takes one of off, chown, map, auto, not "yes"'],
  [['-U', '--share-system'], '--private-users= and --share-system may not be combined'],
  [['--private-users-chown', '--read-only'], '--private-users-ownership=chown and --read-only may not be combined'],
  [['--private-users-chown', '--volatile'], '--private-users-ownership=chown and --volatile may not be combined'],
  [['-ab'], '--boot and --as-pid2 may not be combined'],
  [['--read-only', '--volatile=state'], '--read-only and --volatile may not be combined'],
];

for (const [words, line] of refused) {
  test(`refuses ${JSON.stringify(words)}`, () => {
    assert.throws(
      () => parseCommandLine(words, environment),
      (error: unknown) => {
        if (!(error instanceof UsageError)) throw error;
        assert.ok(error.message.startsWith(line), `says: ${error.message}`);
        assert.not.match(error.message, '\n');
        return true;
      },
    );
  });
}

type SettingsOnly = Omit<ParsedCommandLine, 'options'>;
const defaults: SettingsOnly = { action: 'run', quiet: false, logLevel: 'info', logFormat: 'text' };

const settings: [words: string[], settings: SettingsOnly][] = [
  [[], defaults],
  [
    ['-q', '--log-level=debug', '--log-format=json'],
    { ...defaults, quiet: true, logLevel: 'debug', logFormat: 'json' },
  ],
  [['-P'], { ...defaults, console: 'pipe' }],
  [['--pipe', '--console=read-only'], { ...defaults, console: 'read-only' }],
  [['--dry-run', 'ls'], { ...defaults, action: 'dry-run' }],
  [['--dry-run', '--version', '--bogus'], { ...defaults, action: 'version' }],
  [['-ab', '-h', '--uuid=x'], { ...defaults, action: 'help' }],
  [['-qhy'], { ...defaults, action: 'help', quiet: true }],
  [['--capability=help', '--bogus'], { ...defaults, action: 'capabilities' }],
  [['--drop-capability=help'], { ...defaults, action: 'capabilities' }],
  [['-b', '--ambient-capability', 'help'], { ...defaults, action: 'capabilities' }],
];

for (const [words, expected] of settings) {
  test(`understands ${JSON.stringify(words)}`, () => {
    const { options: _, ...rest } = parseCommandLine(words, environment);
    assert.equal(rest, expected);
  });
}

test('an unknown option before --help is still an error', () => {
  assert.throws(() => parseCommandLine(['--bogus', '--help'], {}), /unknown option --bogus/);
});

test('the root directory is resolved', () => {
  const tree = realpathSync(mkdtempSync(join(tmpdir(), 'nspawn-options-')));
  try {
    mkdirSync(join(tree, 'root'));
    symlinkSync('root', join(tree, 'link'));
    writeFileSync(join(tree, 'file'), '');
    const directory = (path: string) => parseCommandLine(['-D', path], {}).options.directory;
    assert.is(directory(join(tree, 'link')), join(tree, 'root'));
    assert.is(directory(`${tree}//link/.`), join(tree, 'root'));
    assert.is(directory(join(tree, 'missing')), join(tree, 'missing'));
    assert.throws(() => directory(join(tree, 'file/x')), /--directory= takes a path that can be looked up.*ENOTDIR/);
  } finally {
    rmSync(tree, { recursive: true });
  }
});

test('bytes that are lost are refused, a typed replacement character is not', () => {
  const line =
    (...bytes: number[]) =>
    () =>
      Uint8Array.from(bytes);
  refuseLostBytes(['ls', 'é'], line(0xff));
  refuseLostBytes(['\uFFFD'], line(0xef, 0xbf, 0xbd, 0));
  assert.throws(() => refuseLostBytes(['a\uFFFD'], line(0x61, 0xff, 0)), /"a\uFFFD" can't be passed on/);
});

test.run();
