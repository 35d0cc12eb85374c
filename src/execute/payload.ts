/** The last steps: the agent gives up what the payload must not have, and becomes the payload. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { BECOME_INIT_CALL } from '../../syscalls/agent/arena.ts';
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, LAST_FD, O, PER, SECCOMP_SET_MODE_FILTER, TIOC } from '../../syscalls/constants.ts';
import { errnoByNumber, errnoNumber } from '../../syscalls/errno.ts';
import { F_DUPFD_CLOEXEC } from '../../syscalls/fd.ts';
import { hostArchitecture } from '../../syscalls/machine.ts';
import {
  ALL_SIGNALS,
  clearAmbient,
  defaultSignalAction,
  dieWithParent,
  dropBounding,
  keepCapabilities,
  NO_SIGNALS,
  noNewPrivileges,
  raiseAmbient,
  setAffinity,
  setGid,
  setGroups,
  setInheritable,
  setName,
  setPersonality,
  setSignalMask,
  setUid,
  setUmask,
} from '../../syscalls/process.ts';
import { nspawnProgram } from '../../syscalls/seccomp/nspawn-program.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import { readHostFile } from '../host.ts';
import { capabilityNumbers } from '../options/capabilities.ts';
import type { Payload } from '../plan/steps.ts';
import { attempt, type Piece, StepError } from './attempt.ts';
import { payloadEnvironment, variable } from './environment.ts';
import { limitPieces } from './limits.ts';
import type { User } from './user.ts';

/** The first descriptor that is no standard stream. It is the agent's control socket, unless the payload gets others. */
const FIRST_PASSED = 3;

/** Where a booting payload's init is looked for, in this order. */
const INITS = ['/usr/lib/systemd/systemd', '/lib/systemd/systemd', '/sbin/init'] as const;
/** Login shells, in the order of preference, with the names they are started under. */
const SHELLS = [
  ['/bin/bash', '-bash'],
  ['/bin/sh', '-sh'],
] as const;

/** Standard input, output and error, as the agent has them; 'console' is /dev/console as controlling terminal. */
export type Streams = readonly [number, number, number] | 'console';

/** What is known of the last steps before the payload's user is. */
export interface PreparedPayload {
  payload: Payload;
  /** Where the agent's control socket is to be. */
  control: number;
  streams: Piece;
  /** Of another process than the agent: of a user namespace's, only others can raise them. */
  limits: Piece[];
  pieces: Piece[];
}

/**
 * Works the last steps out, for which it looks at this process. `passed` is what the agent has for the payload's
 * descriptors 3 and up, with numbers above those. `inNamespace` is the agent's process id if it is root of a user
 * namespace. Throws SyscallError.
 */
export function preparePayload(
  payload: Payload,
  streams: Streams,
  passed: readonly number[],
  inNamespace?: number,
): PreparedPayload {
  const sources = [...passed, ...(streams === 'console' ? [] : streams)];
  const control = passed.length === 0 ? FIRST_PASSED : Math.max(FIRST_PASSED + passed.length, ...sources) + 1;
  const limits = limitPieces(payload.rlimits);
  // Lower limits, the agent may set itself.
  const raises = payload.rlimits.length > 0 || limits.some(({ calls }) => calls.length > 1);
  const fromHere = inNamespace !== undefined && raises;
  const own = [
    { doing: 'starting a session', calls: session(streams) },
    { doing: 'resetting the signals', calls: signals() },
  ];
  return {
    payload,
    control,
    streams: { doing: 'connecting the standard streams', calls: streamCalls(streams, passed, control) },
    limits: fromHere ? limitPieces(payload.rlimits, inNamespace) : [],
    pieces: [
      ...(fromHere ? [] : limits),
      // What needs not pass the filter comes before it.
      ...labelled(payload.selinuxContext),
      ...(payload.asPid2 ? [] : own),
      ...confinement(payload, inNamespace !== undefined),
      ...(payload.asPid2 ? [startInit('nspawn-init'), ...own] : []),
    ],
  };
}

/** The label for SELinux that the next program gets, and children of the caller: proc_pid_attr(5). */
export function labelled(context: string | undefined): Piece[] {
  if (context === undefined) return [];
  const open = call('openat', AT.FDCWD, '/proc/self/attr/exec', O.WRONLY | O.CLOEXEC, 0);
  const label = Buffer.from(`${context}\0`);
  const write = call('write', resultOf(open), label, label.length);
  return [{ doing: `setting the SELinux context ${context}`, calls: [open, write, call('close', resultOf(open))] }];
}

/** The agent stays above the payload, under this name, reaps, and passes signals on. */
export const startInit = (name: string): Piece => ({
  doing: 'starting an init',
  calls: [setName(name), setSignalMask(ALL_SIGNALS), BECOME_INIT_CALL],
});

/** Turns the agent into the payload. Throws an Error when no program could be run. */
export function runPayload(agent: Agent, prepared: PreparedPayload, user: User): void {
  const { payload, control, streams, limits } = prepared;
  const { chdir = payload.boot || payload.command.length ? undefined : user.home } = payload;
  const change: Call = { ...call('chdir', chdir ?? ''), allow: payload.chdir ? undefined : 'any' };
  if (control !== FIRST_PASSED) agent.moveControl(control);
  if (limits.length > 0) {
    // Not before: what it still opens may be more than they allow.
    attempt(streams.doing, () => agent.run(streams.calls));
    for (const { doing, calls } of limits) attempt(doing, () => calls.map(perform));
  }
  const pieces = [
    ...(limits.length > 0 ? [] : [streams]),
    ...prepared.pieces,
    { doing: `becoming the user ${user.name}`, calls: identity(user, payload.ambientCapabilities) },
    ...(chdir ? [{ doing: `changing into the directory ${chdir}`, calls: [change] }] : []),
  ];
  const environment = payloadEnvironment(payload, user);
  execFirst(agent, pieces, candidates(payload, environment), environment);
}

/** Puts the streams on 0 to 2 and `passed` on 3 and up, and closes everything else but the control socket. */
export function streamCalls(streams: Streams, passed: readonly number[] = [], control = FIRST_PASSED): Call[] {
  const first = FIRST_PASSED + passed.length;
  const pass = passed.map((fd, i) => call('dup3', fd, FIRST_PASSED + i, 0));
  const closeOthers = [
    ...(first < control ? [call('close_range', first, control - 1, 0)] : []),
    call('close_range', control + 1, LAST_FD, 0),
  ];
  if (streams === 'console') {
    const open = call('openat', AT.FDCWD, '/dev/console', O.RDWR | O.NOCTTY | O.CLOEXEC, 0);
    // It may have got one of the three numbers itself.
    const beyond = call('fcntl', resultOf(open), F_DUPFD_CLOEXEC, first);
    return [...pass, open, beyond, ...[0, 1, 2].map(fd => call('dup3', resultOf(beyond), fd, 0)), ...closeOthers];
  }
  return [
    ...streams.flatMap((stream, fd) => (stream === fd ? [] : [call('dup3', stream, fd, 0)])),
    ...pass,
    ...closeOthers,
  ];
}

const session = (streams: Streams): Call[] => [
  call('setsid'),
  ...(streams === 'console' ? [call('ioctl', 0, TIOC.SCTTY, 0)] : []),
];

/**
 * What holds for whatever the payload becomes: system call filter, bounding set, personality. `inNamespace`: the agent is
 * root of a user namespace.
 */
export function confinement(
  { capabilities, ambientCapabilities, noNewPrivileges: never, filter, personality, cpuAffinity }: Payload,
  inNamespace: boolean,
): Piece[] {
  const dropped = capabilityNumbers(~capabilities);
  return [
    ...(cpuAffinity?.length
      ? [{ doing: `running on the CPUs ${cpuAffinity.join(',')}`, calls: [setAffinity(cpuAffinity)] }]
      : []),
    ...(personality
      ? [{ doing: `setting the personality ${personality}`, calls: [setPersonality(PERSONALITIES[personality]!)] }]
      : []),
    // Loading a filter takes CAP_SYS_ADMIN: before the credentials change.
    {
      doing: 'loading the system call filter',
      calls: [loadFilter(filter?.program ?? nspawnProgram(hostArchitecture()))],
    },
    ...(never ? [{ doing: 'giving up new privileges', calls: [noNewPrivileges] }] : []),
    {
      doing: 'dropping capabilities',
      calls: [
        // EINVAL: a capability that this kernel does not know.
        ...dropped.map(number => ({ ...dropBounding(number), allow: ['EINVAL'] })),
        clearAmbient,
        setInheritable(ambientCapabilities, inNamespace),
      ],
    },
  ];
}

/** linux/personality.h */
const PERSONALITIES: Readonly<Record<string, number>> = {
  'x86-64': PER.LINUX,
  x86: PER.LINUX32,
  arm64: PER.LINUX,
  arm: PER.LINUX32,
};

/** seccomp(2) with struct sock_fprog: the number of instructions of 8 bytes, and their address. */
function loadFilter(program: Uint8Array): Call {
  const header = new Uint8Array(16);
  new DataView(header.buffer).setUint16(0, program.length / 8, true);
  return call('seccomp', SECCOMP_SET_MODE_FILTER, 0, { bytes: header, pointers: [[8, program]] });
}

/** Becomes the user; `ambient` are the capabilities that its programs get, with bit N for capability N. */
export function identity(user: User, ambient: bigint): Call[] {
  return [
    ...(user.groups ? [setGroups(user.groups)] : []),
    setGid(user.gid),
    ...(ambient ? [keepCapabilities] : []),
    setUid(user.uid),
    ...capabilityNumbers(ambient).map(raiseAmbient),
    // A change of credentials has cleared it.
    dieWithParent,
  ];
}

/** A Bun process ignores some signals, and what is ignored stays so over exec, as does the mask for new files. */
export const signals = (): Call[] => [
  ...ignoredSignals().map(defaultSignalAction),
  setSignalMask(NO_SIGNALS),
  setUmask(0o022),
];

/** Numbers of the signals that this process ignores, from proc_pid_status(5). */
function ignoredSignals(): number[] {
  const mask = BigInt(`0x${/^SigIgn:\s*([0-9a-f]+)/m.exec(readHostFile('/proc/self/status').toString())?.[1] ?? '0'}`);
  const ignored: number[] = [];
  for (let signal = 1; mask >> BigInt(signal - 1); signal++)
    if ((mask >> BigInt(signal - 1)) & 1n) ignored.push(signal);
  return ignored;
}

interface Candidate {
  program: string;
  argv: string[];
}

/** The programs to try in their order, and what they stand for. */
interface Candidates {
  what: string;
  programs: readonly Candidate[];
}

export function candidates(payload: Payload, environment: string[]): Candidates {
  const { boot, command } = payload;
  if (boot) return { what: 'an init', programs: INITS.map(program => ({ program, argv: [program, ...command] })) };
  const [name] = command;
  if (name === undefined) {
    return { what: 'a shell', programs: SHELLS.map(([program, shell]) => ({ program, argv: [shell] })) };
  }
  // execvp(3): a name without a slash is searched in the payload's PATH.
  const directories = (variable(environment, 'PATH') ?? '').split(':');
  const paths = name.includes('/') ? [name] : directories.map(directory => `${directory || '.'}/${name}`);
  return { what: name, programs: paths.map(program => ({ program, argv: command })) };
}

/** Errors after which the next place is tried. */
const NOT_HERE = ['ENOENT', 'ENOTDIR', 'EACCES', 'ENAMETOOLONG', 'ELOOP'];

/**
 * Runs pieces, and then executes the first candidate that can be. One without a format that the kernel knows goes to a
 * shell, as with execvp(3). Throws StepError for a piece that failed, or an Error when there is nothing to execute.
 */
export function execFirst(
  agent: Agent,
  pieces: readonly Piece[],
  { what, programs }: Candidates,
  environment: string[],
): void {
  const executions = programs.map(({ program, argv }): Call => {
    return { ...call('execve', program, argv, environment), allow: NOT_HERE };
  });
  let results: number[] | undefined;
  try {
    results = agent.exec([...pieces.flatMap(({ calls }) => calls), ...executions]);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const failed = pieces.find(({ calls }) => calls.includes(error.call));
    if (failed) throw new StepError(failed.doing, error);
    const tried = programs[executions.indexOf(error.call)];
    // A call of this process's own, to the agent.
    if (!tried) throw error;
    if (error.code !== 'ENOEXEC') throw cannotRun(tried.program, error.code);
    const shell = { program: '/bin/sh', argv: ['sh', tried.program, ...tried.argv.slice(1)] };
    execFirst(agent, [], { what: tried.program, programs: [shell] }, environment);
    return;
  }
  if (!results) return;
  const errors = results.slice(-executions.length).map(result => errnoByNumber(-result).name);
  // A program that is there, and can't be run, says more than places where there is none.
  const there = errors.findIndex(error => error !== 'ENOENT');
  if (there >= 0) throw cannotRun(programs[there]!.program, errors[there]!);
  const places = programs.map(({ program }) => program).join(', ');
  throw cannotRun(programs.length === 1 ? places : `${what} (looked for ${places})`, 'ENOENT');
}

function cannotRun(program: string, error: string): Error {
  const { text, name } = errnoByNumber(errnoNumber(error));
  return new Error(`running ${program} in the container: ${text} (${name})`);
}
