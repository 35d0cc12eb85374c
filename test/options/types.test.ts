import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exec, type SandboxOptions, sandbox, spawn, UsageError } from '../../src/index.ts';
import { checkSpawnTypes } from '../../src/options/types.ts';

async function complaint(options: unknown): Promise<string> {
  const error = await spawn(options as object).catch((reason: Error) => reason);
  if (!(error instanceof UsageError)) throw error;
  assert.not.match(error.message, /\n/);
  return error.message;
}

const bind = { source: '/a', destination: '/b', readOnly: true, recursive: true };
const WRONG: [options: unknown, line: string][] = [
  [{ command: 5 }, 'command takes a list, not 5'],
  [{ command: 'ls -l' }, 'command takes a list, not "ls -l"'],
  [{ command: ['ls', 5] }, 'command[1] takes a string, not 5'],
  [{ command: [['ls']] }, 'command[0] takes a string, not a list'],
  [{ environment: 'A=b' }, 'environment takes a list, not "A=b"'],
  [{ environment: { A: 'b' } }, 'environment takes a list, not an object'],
  [{ directory: null }, 'directory takes a string, not null'],
  [{ directory: new URL('file:///') }, 'directory takes a string, not an object'],
  [{ boot: 'yes' }, 'boot takes true or false, not "yes"'],
  [{ readOnly: 1 }, 'readOnly takes true or false, not 1'],
  [{ user: 1000 }, 'user takes a string, not 1000'],
  [{ oomScoreAdjust: '5' }, 'oomScoreAdjust takes a number, not "5"'],
  [{ oomScoreAdjust: Number.NaN }, 'oomScoreAdjust takes a number, not NaN'],
  [{ cpuAffinity: 2 }, 'cpuAffinity takes a list, not 2'],
  [{ cpuAffinity: ['0-2'] }, 'cpuAffinity[0] takes a number, not "0-2"'],
  [{ killSignal: 'SIGTERM' }, 'killSignal takes a number, not "SIGTERM"'],
  [{ volatile: true }, 'volatile takes a string, not true'],
  [{ volatile: 'maybe' }, 'volatile takes one of no, yes, state, overlay, not "maybe"'],
  [{ volatile: 'true' }, 'volatile takes "yes", not "true"'],
  [{ resolvConf: 'copy' }, 'resolvConf takes one of auto, off, '],
  [{ timezone: 'no' }, 'timezone takes "off", not "no"'],
  [{ linkJournal: 'both' }, 'linkJournal takes one of '],
  [{ privateUsers: 5 }, 'privateUsers takes a string, not 5'],
  [{ privateUsers: { base: '1', count: 2 } }, 'privateUsers.base takes a number, not "1"'],
  [{ usersOwnership: 'mine' }, 'usersOwnership takes one of '],
  [{ binds: ['/a:/b'] }, 'binds[0] takes an object with source, destination, readOnly, recursive, idmap, not "/a:/b"'],
  [{ binds: [bind, { ...bind, readOnly: 'no' }] }, 'binds[1].readOnly takes true or false, not "no"'],
  [{ binds: [{ source: '/a' }] }, 'binds[0].destination takes a string, not undefined'],
  [{ binds: [{ ...bind, idmap: true }] }, `binds[0].idmap takes 'idmap', 'rootidmap' or 'owneridmap', not true`],
  [{ tmpfs: [{ path: '/a' }] }, 'tmpfs[0].options takes a string, not undefined'],
  [{ overlays: [{ ...bind, lower: '/a' }] }, 'overlays[0].lower takes a list, not "/a"'],
  [{ overlays: [{ ...bind, lower: ['/a'], upper: 5 }] }, 'overlays[0].upper takes a string, not 5'],
  [{ rlimits: [{ name: 'NOFILE', soft: 5, hard: 5n }] }, "rlimits[0].soft takes a bigint or 'infinity', not 5"],
  [{ systemCallFilter: ['@clock'] }, 'systemCallFilter takes an object with allow, deny, not a list'],
  [{ systemCallFilter: { denny: ['@clock'] } }, 'systemCallFilter has no field denny'],
  [{ files: [{ path: '/a', contents: 'x' }] }, 'files[0] has no field contents'],
  [{ binds: [{ ...bind, rbind: false }] }, 'binds[0] has no field rbind'],
  [{ user: { uid: 1, gid: 1, groups: [2] } }, 'user has no field groups'],
  [{ credentials: [{ id: 'a', path: '/b', value: 'c' }] }, 'credentials[0] has no field value'],
  [{ systemCallFilter: { deny: '@clock' } }, 'systemCallFilter.deny takes a list, not "@clock"'],
  [{ credentials: [{ id: 'a', value: 5 }] }, 'credentials[0].value takes a string or bytes, not 5'],
  [{ credentials: [{ id: 'a', path: 5 }] }, 'credentials[0].path takes a string, not 5'],
  [{ credentials: [{ value: 'secret' }] }, 'credentials[0].id takes a string, not undefined'],
  [{ credentials: ['a:b'] }, 'credentials[0] takes an object with id, not "a:b"'],
  [{ memory: {} }, 'memory takes a number or a string, not an object'],
  [{ cpuWeight: 'busy' }, `cpuWeight takes a number or 'idle', not "busy"`],
  [{ stdio: 'pipes' }, `stdio takes 'pipe', 'pty', 'inherit' or three descriptors, not "pipes"`],
  [{ stdio: null }, `stdio takes 'pipe', 'pty', 'inherit' or three descriptors, not null`],
  [{ stdio: [0, 1] }, `stdio takes 'pipe', 'pty', 'inherit' or three descriptors, not a list`],
  [{ stdio: [0, 1, 'pipe'] }, 'stdio[2] takes a descriptor, not "pipe"'],
  [{ stdio: [0, 1, 1.5] }, 'stdio[2] takes a descriptor, not 1.5'],
  [{ stdio: [0, 1, -1] }, 'stdio[2] takes a descriptor, not -1'],
  [{ stdio: {} }, 'stdio.console takes an object with fd, not undefined'],
  [{ logger: console.log }, 'logger takes an object with trace, debug, info, warn, error, not a function'],
  [{ logger: {} }, 'logger.trace takes a function, not undefined'],
  [{ patience: '5' }, 'patience takes a number, not "5"'],
  [{ listenFds: [3] }, 'listenFds[0] takes an object with fd, name, not 3'],
  [{ listenFds: [{ fd: -1 }] }, 'listenFds[0].fd takes a descriptor, not -1'],
  [{ signal: 15 }, 'signal takes an AbortSignal, not 15'],
  [{ noNewPrivilege: true }, 'spawn has no option noNewPrivilege'],
  [{ toString: 1 }, 'spawn has no option toString'],
  [['ls'], 'spawn takes an object with options, not a list'],
  ['ls', 'spawn takes an object with options, not "ls"'],
  [null, 'spawn takes an object with options, not null'],
];

for (const [options, line] of WRONG) {
  test(line, async () => {
    const said = await complaint(options);
    assert.ok(said.startsWith(line), said);
  });
}

test('what is undefined is absent', () => checkSpawnTypes({ command: undefined, stdio: undefined }));

test('right ones are fine', () => {
  // It may be more than that.
  const logger = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, fatal() {} };
  checkSpawnTypes({});
  checkSpawnTypes({
    command: ['ls'],
    directory: '/',
    boot: false,
    volatile: 'overlay',
    binds: [bind],
    overlays: [{ lower: ['/a'], upper: '/b', destination: '/c', readOnly: false }],
    rlimits: [{ name: 'NOFILE', soft: 1n, hard: 'infinity' }],
    credentials: [
      { id: 'a', value: 'b' },
      { id: 'c', value: new Uint8Array(1) },
      { id: 'd', path: '/e' },
    ],
    systemCallFilter: {},
    privateUsers: { base: 65536, count: 65536 },
    memory: '64M',
    stdio: [0, 1, 2],
    logger,
    patience: 5,
    listenFds: [{ fd: 7 }],
    onNotification() {},
    signal: AbortSignal.timeout(1000),
  });
});

test('sandbox takes a command in any case', async () => {
  const said = await sandbox({} as SandboxOptions).catch((error: Error) => error);
  assert.instance(said, UsageError);
  assert.is((said as Error).message, 'command takes a list, not undefined');
});

test('exec has fewer', async () => {
  const said = await exec('x', { comand: ['ls'] } as object).catch((error: Error) => error.message);
  assert.is(said, 'exec has no option comand');
  assert.is(
    await exec('x', { command: 'ls' } as object).catch((error: Error) => error.message),
    'command takes a list, not "ls"',
  );
});

test.run();
