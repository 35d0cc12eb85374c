/** --system-call-filter= and --suppress-sync=: what they decide, beside systemd-nspawn's own filters. */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCommandLine } from '../../src/cli/parse.ts';
import { capabilityNames } from '../../src/options/capabilities.ts';
import { planContainer } from '../../src/plan/plan.ts';
import { CALLS_AFTER_FILTER } from '../../src/plan/system-call-filter.ts';
import { hostArchitecture } from '../../syscalls/machine.ts';
import { allowFilter } from '../../syscalls/seccomp/allow-filter.ts';
import { expandGroups, isKnown } from '../../syscalls/seccomp/groups.ts';
import { type ArchitectureName, AUDIT_ARCH, compile, loadArchitecture } from '../../syscalls/seccomp/index.ts';
import { withNewerCalls } from '../../syscalls/seccomp/newer-calls.ts';
import { HOST_ARCHITECTURES } from '../../syscalls/seccomp/nspawn-filter.ts';
import { SYSCALL_GROUPS } from '../../syscalls/tables/syscall-groups.ts';
import { type Need, needs, root, tool } from '../support/needs.ts';
import { createRandom, type Random } from '../support/random.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import { type Decide, decideBy, realFilter } from './real-filter.ts';

/** The groups and the list are those of this version. */
const version252: Need = () => {
  const { stdout } = spawnSync('systemd-nspawn', ['--version'], { encoding: 'utf8' });
  return stdout?.startsWith('systemd 252 ') ? undefined : 'systemd-nspawn is not of version 252';
};
const beside = needs([root, busybox, version252, tool('strace')]);
const tables = await Promise.all(HOST_ARCHITECTURES[hostArchitecture()].map(loadArchitecture));
const architectures = tables.map(withNewerCalls);

async function planned(...words: string[]) {
  const { options } = parseCommandLine(['-D', busyboxTree(), '--read-only', ...words, '--', '/bin/true'], {});
  return (await planContainer(options, 'streams')).payload;
}

async function ourFilter(...words: string[]): Promise<Decide> {
  return decideBy((await planned(...words)).filter!.program);
}

/** Flags of open and openat with O_SYNC, O_DSYNC and neither, audit sockets and others, descriptors and none. */
const ARGUMENTS: readonly bigint[][] = [
  [],
  [3n, 0x101002n, 0x101002n],
  [3n, 0x1000n, 0x1000n],
  [3n, 2n, 2n],
  [0x7fff_ffffn, 0x100000n, 0x80000n],
  [16n, 3n, 9n],
  [16n, 0x1003n, 9n],
  [0xffff_ffff_ffff_ffffn, 3n, 9n],
  [0xffff_ffffn, 3n, 0n],
];

/** Numbers to try: all that have a name, and those about them that have none. */
function numbers(name: ArchitectureName): number[] {
  const base = name === 'x32' ? 0x4000_0000 : 0;
  const named = Object.values(architectures.find(each => each.name === name)!.syscalls);
  return [...new Set([...named, ...Array.from({ length: 1000 }, (_, nr) => base + nr)])];
}

/** Names of the calls that two filters don't decide alike. */
function differences(a: Decide, b: Decide): string[] {
  const found = new Set<string>();
  for (const { name, syscalls } of architectures) {
    const names = new Map(Object.entries(syscalls).map(([call, nr]) => [nr, call]));
    for (const nr of numbers(name)) {
      for (const args of ARGUMENTS) {
        const data = { nr, arch: AUDIT_ARCH[name], args };
        const [ours, theirs] = [a(data), b(data)];
        // An audit socket made by socket(2) itself: libseccomp takes no rules on arguments for i386.
        if (name === 'i386' && syscalls['socket'] === nr && ours === 0x50061) continue;
        if (ours !== theirs) found.add(`${name} ${names.get(nr) ?? nr} ${ours.toString(16)} ${theirs.toString(16)}`);
      }
    }
  }
  return [...found];
}

/** Capabilities and lists; each capability that the list of calls depends on is once there and once not. */
const SETS: string[][] = [
  ['--system-call-filter='],
  ['--system-call-filter=', '--capability=all'],
  ['--system-call-filter=', '--drop-capability=all'],
  ['--system-call-filter=', '--capability=CAP_SYS_TIME,CAP_IPC_LOCK', '--drop-capability=CAP_SYS_PTRACE'],
  ['--system-call-filter=', '--capability=CAP_SYS_MODULE,CAP_SYSLOG', '--drop-capability=CAP_SYS_BOOT'],
  ['--system-call-filter=', '--capability=CAP_SYS_RAWIO,CAP_SYS_PACCT', '--drop-capability=CAP_SYS_TTY_CONFIG'],
  ['--system-call-filter=@swap bpf nosuch', '--system-call-filter=@keyring', '--system-call-filter=@system-service'],
  ['--system-call-filter=~mount umount2 nosuch', '--system-call-filter=@clock', '--system-call-filter=~adjtimex'],
  ['--system-call-filter=~socket fsync', '--suppress-sync=yes'],
  ['--system-call-filter=@known', '--suppress-sync=yes'],
  ['--system-call-filter=@privileged', '--system-call-filter=~kexec_load @swap @module'],
];

for (const words of SETS) {
  beside(`decides as systemd-nspawn does with ${words.join(' ')}`, async () => {
    assert.equal(differences(await ourFilter(...words), realFilter(...words)), []);
  });
}

/** Lists and capabilities at random; forbidden are only single calls, and none that a start takes. */
function randomWords(random: Random): string[] {
  const some = (list: readonly string[], most: number) =>
    Array.from({ length: random.below(most) }, () => random.pick(list));
  const calls = [...expandGroups(['@known'])];
  const allowed = [...some(Object.keys(SYSCALL_GROUPS), 3), ...some(calls, 10)];
  const denied = some(calls, 30).filter(call => !CALLS_AFTER_FILTER.includes(call));
  return [
    `--system-call-filter=${allowed.join(' ')}`,
    `--system-call-filter=~${denied.join(' ')}`,
    `--capability=${some(capabilityNames, 10).join(',')}`,
    `--drop-capability=${some(capabilityNames, 10).join(',')}`,
    `--suppress-sync=${random.below(2)}`,
  ];
}

for (const seed of [1, 2, 3]) {
  beside(`decides as systemd-nspawn does with lists at random, seed ${seed}`, async () => {
    const words = randomWords(createRandom(seed));
    assert.equal(differences(await ourFilter(...words), realFilter(...words)), [], words.join(' '));
  });
}

beside('suppresses with the default filter what systemd-nspawn suppresses with its own', async () => {
  const [ours, theirs] = [await ourFilter('--suppress-sync=yes'), realFilter('--suppress-sync=yes')];
  const kept = ['sync', 'fsync', 'fdatasync', 'msync', 'syncfs', 'sync_file_range', 'open', 'openat', 'openat2'];
  const sync = differences(ours, theirs).filter(line => kept.includes(line.split(' ')[1]!));
  assert.equal(sync, []);
});

// Of a forbidden group, systemd-nspawn 252 still allows the calls that another allowed group has, or that stand on its
// list by themselves. Its manual says that all are prohibited.
for (const group of ['@file-system', '@privileged', '@reboot', '@ipc']) {
  beside(`~${group} forbids all of the group, and nothing else`, async () => {
    const words = [`--system-call-filter=~${group}`];
    const members = expandGroups([group]);
    const plain = realFilter('--system-call-filter=');
    // Where nspawn itself can't do without a call, there is no such plan.
    const program = compile(allowFilter(architectures, (await planned()).capabilities, { deny: [group] }));
    const ours = decideBy(program);
    const theirs = realFilter(...words);
    for (const { name, syscalls } of architectures) {
      for (const [call, nr] of Object.entries(syscalls)) {
        const data = { nr, arch: AUDIT_ARCH[name] };
        const numbersOfMembers = new Set([...members].map(member => syscalls[member]));
        if (!numbersOfMembers.has(nr)) assert.is(ours(data), plain(data), call);
        else assert.not.equal(ours(data), 0x7fff0000, call);
        if (ours(data) === 0x7fff0000) assert.is(theirs(data), 0x7fff0000, call);
      }
    }
  });
}

for (const [host, names] of Object.entries(HOST_ARCHITECTURES)) {
  test(`on ${host}, the program says what the lists say`, async () => {
    const all = await Promise.all(names.map(loadArchitecture));
    const decide = decideBy(compile(allowFilter(all, 1n << 25n, { allow: ['bpf', '@swap'], deny: ['@aio', 'mkdir'] })));
    const word = (name: ArchitectureName, call: string) => {
      const nr = all.find(each => each.name === name)!.syscalls[call];
      return nr === undefined ? undefined : decide({ nr, arch: AUDIT_ARCH[name] });
    };
    const [allow, eperm] = [0x7fff0000, 0x50001];
    for (const name of names) {
      for (const call of ['read', 'bpf', 'swapon', 'settimeofday']) assert.is(word(name, call), allow, call);
      for (const call of ['io_setup', 'ptrace', 'kexec_load', 'reboot', 'mkdir']) {
        assert.ok([eperm, undefined].includes(word(name, call)), call);
      }
      const base = name === 'x32' ? 0x4000_0000 : 0;
      assert.is(decide({ nr: base + 999, arch: AUDIT_ARCH[name] }), 0x50026);
    }
    const others = Object.values(AUDIT_ARCH).filter(arch => !names.some(name => AUDIT_ARCH[name] === arch));
    for (const arch of others) assert.is(decide({ nr: 0, arch }), 0x80000000);
  });
}

test('names that no call and no group has are told', async () => {
  const words = ['--system-call-filter=read nosuch @clock', '--system-call-filter=~@no mkdir@ nosuch arm_fadvise64_64'];
  assert.equal((await planned(...words)).filter!.unknown, ['nosuch', '@no', 'mkdir@']);
  assert.equal((await planned('--suppress-sync=yes')).filter!.unknown, []);
  assert.ok(isKnown('@known') && isKnown('nanosleep') && !isKnown('@nosuch') && !isKnown('constructor'));
});

test('calls that are newer than the groups can be listed', async () => {
  const { program, unknown } = (await planned('--system-call-filter=mseal cachestat')).filter!;
  assert.equal(unknown, []);
  const decide = decideBy(program);
  const arch = AUDIT_ARCH[hostArchitecture()];
  assert.equal(
    [451, 462, 463].map(nr => decide({ nr, arch })),
    [0x7fff0000, 0x7fff0000, 0x50026],
  );
});

test('without these options there is no filter but the default one', async () => {
  assert.is((await planned()).filter, undefined);
  assert.is((await planned('--suppress-sync=no')).filter, undefined);
});

const REFUSED: [words: string[], call: string][] = [
  [['--system-call-filter=~execve'], 'execve'],
  [['--system-call-filter=~@setuid'], 'setgroups'],
  [['--system-call-filter=~setresuid'], 'setresuid'],
  [['--system-call-filter=~prctl'], 'prctl'],
  [['--system-call-filter=~chdir', '--chdir=/'], 'chdir'],
  [['--system-call-filter=~clone', '--as-pid2'], 'clone'],
  [['--system-call-filter=~rt_sigtimedwait', '-a'], 'rt_sigtimedwait'],
];
for (const [words, call] of REFUSED) {
  test(`refuses ${words.join(' ')}, as nspawn needs ${call} itself`, async () => {
    const line = await planned(...words).then(String, (error: Error) => error.message);
    assert.is(line, `--system-call-filter= forbids ${call}, without which no payload can be started`);
  });
}

test.run();
