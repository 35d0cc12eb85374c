/**
 * --system-call-filter=, --suppress-sync= and the library's `confinedSockets`: filters other than the default one. Loaded
 * only for these.
 */
import { hostArchitecture, syscallNumber } from '../../syscalls/machine.ts';
import { allowFilter } from '../../syscalls/seccomp/allow-filter.ts';
import { AUDIT_ARCH } from '../../syscalls/seccomp/arch.ts';
import { compile } from '../../syscalls/seccomp/compile.ts';
import { CONFINED_SOCKETS } from '../../syscalls/seccomp/confined-sockets.ts';
import { isKnown } from '../../syscalls/seccomp/groups.ts';
import { loadProgram } from '../../syscalls/seccomp/interpret.ts';
import { loadArchitecture } from '../../syscalls/seccomp/load-architecture.ts';
import { withNewerCalls } from '../../syscalls/seccomp/newer-calls.ts';
import { HOST_ARCHITECTURES, nspawnFilter } from '../../syscalls/seccomp/nspawn-filter.ts';
import { SUPPRESS_SYNC } from '../../syscalls/seccomp/suppress-sync.ts';
import { UsageError } from '../options/usage-error.ts';
import type { ContainerOptions } from '../options.ts';
import type { Payload, SystemCallFilter } from './steps.ts';

/** What was compiled last, and what for: whoever starts many containers starts alike ones. */
let last: { key: string; filter: SystemCallFilter } | undefined;

/** The filter that these options ask for, for a payload that has all else. Rejects with UsageError. */
export async function systemCallFilter(
  options: Pick<ContainerOptions, 'systemCallFilter' | 'confinedSockets' | 'suppressSync'>,
  payload: Payload,
): Promise<SystemCallFilter> {
  const { systemCallFilter: lists, confinedSockets, suppressSync } = options;
  const key = JSON.stringify([
    lists,
    confinedSockets,
    suppressSync,
    `${payload.capabilities}`,
    callsAfterFilter(payload),
  ]);
  if (last?.key !== key) last = { key, filter: await makeFilter(options, payload) };
  return last.filter;
}

async function makeFilter(
  { systemCallFilter: lists, confinedSockets, suppressSync }: ContainerOptions,
  payload: Payload,
): Promise<SystemCallFilter> {
  const host = hostArchitecture();
  const architectures = (await Promise.all(HOST_ARCHITECTURES[host].map(loadArchitecture))).map(withNewerCalls);
  const base = lists
    ? allowFilter(architectures, payload.capabilities, lists)
    : { ...nspawnFilter(host), architectures };
  const more = [...(confinedSockets ? CONFINED_SOCKETS : []), ...(suppressSync ? SUPPRESS_SYNC : [])];
  const program = compile({ ...base, rules: [...more, ...base.rules] });
  const refused = refusedCall(program, callsAfterFilter(payload));
  if (refused)
    throw new UsageError(`--system-call-filter= forbids ${refused}, without which no payload can be started`);
  const isCall = (name: string) => architectures.some(({ syscalls }) => Object.hasOwn(syscalls, name));
  const names = new Set([...(lists?.allow ?? []), ...(lists?.deny ?? [])]);
  return { program, unknown: [...names].filter(name => !isKnown(name) && !isCall(name)) };
}

/** What nspawn itself has to call on the way from the filter to the payload; see execute/payload.ts. */
export const CALLS_AFTER_FILTER = ['prctl', 'capset', 'setgroups', 'setresgid', 'setresuid', 'execve'];
/** The same below the init of --as-pid2, with what that calls all along. */
export const CALLS_OF_INIT = [
  ...['rt_sigprocmask', 'clone', 'munmap', 'close_range', 'rt_sigtimedwait', 'kill', 'waitid', 'exit_group'],
  ...['setsid', 'ioctl', 'rt_sigaction', 'umask'],
];

const callsAfterFilter = ({ asPid2, chdir }: Payload): string[] => [
  ...(chdir === undefined ? [] : ['chdir']),
  ...CALLS_AFTER_FILTER,
  ...(asPid2 ? CALLS_OF_INIT : []),
];

/** The first of the calls that a program doesn't allow on this machine. */
export function refusedCall(program: Uint8Array, calls: readonly string[]): string | undefined {
  const verdict = loadProgram(program);
  const arch = AUDIT_ARCH[hostArchitecture()];
  return calls.find(call => verdict({ nr: syscallNumber(call), arch }).action !== 'allow');
}
