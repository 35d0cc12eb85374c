/** Running code that isn't trusted: a recipe over spawn() whose defaults are safe. */
import process from 'node:process';
import type { Readable } from 'node:stream';
import { SIG } from '../syscalls/constants.ts';
import { hostHas } from './host.ts';
import { LimitError } from './limit-error.ts';
import { type Logger, silentLogger } from './log.ts';
import { UsageError } from './options/usage-error.ts';
import type { Bind, NewFile, Rlimit, UserIds } from './options.ts';
import { type Container, type Ended, type SpawnOptions, spawn } from './spawn.ts';

export interface SandboxOptions {
  /** The program and its arguments; a name without a slash is searched in PATH. */
  command: string[];
  /** What the program reads. Default: nothing. */
  stdin?: string | Uint8Array;
  /** Files in the working directory, by their names below it, such as `main.py` or `src/main.c`. */
  files?: Record<string, FileContent>;
  /** Variables beside PATH, HOME, USER, LOGNAME and container. Nothing comes from this process's environment. */
  env?: Record<string, string>;
  /**
   * A directory that has a root file system; it is never written to. Default: of this machine's own OS /usr, and of its
   * /etc what programs in there need.
   */
  directory?: string;
  /** Files and directories of the host that can be read, with all mounts below them. */
  readOnlyBinds?: { source: string; destination: string }[];
  /** Milliseconds; then it is killed. Default: 30000. */
  timeout?: number;
  /** Bytes, or text such as '64M' or '25%', of all processes together. Swap space isn't used. Default: '512M'. */
  memory?: number | string;
  /** Processes and threads. Default: 128. */
  tasks?: number;
  /** How many CPUs' time. Default: 1. */
  cpus?: number;
  /** The most that is kept of what is written to files: in each of several file systems in memory. Default: '64M'. */
  diskSize?: number | string;
  /** The most bytes that are kept of standard output, and of standard error. Default: 1 MiB. */
  outputSize?: number;
  /** Limits of each process in place of the defaults. */
  rlimits?: Rlimit[];
  /** Reject with a LimitError where memory, tasks or CPU time can't be limited. Default: do what can be done. */
  requireLimits?: boolean;
  /** Have limits set below this process's own cgroup, rather than in a scope unit of the host's systemd. */
  keepUnit?: boolean;
  /** Run the program as process 2, below an init that reaps. Then a signal that ends it is exit status 255. */
  asPid2?: boolean;
  /** Ends the program at once. */
  signal?: AbortSignal;
  /** Default: one that says nothing. */
  logger?: Logger;
}

/** Text or bytes; or these with permissions, such as 0o755. */
export type FileContent = string | Uint8Array | { content: string | Uint8Array; mode?: number };

/** What a limit is about. */
export type SandboxLimit = 'memory' | 'memorySwap' | 'tasks' | 'cpus';

export interface SandboxResult extends Pick<Ended, 'exitStatus' | 'signal' | 'reason' | 'usage'> {
  /** What the program has written, up to `outputSize`. */
  stdout: Buffer;
  stderr: Buffer;
  /** Whether it was more. The program could write no more then: it got SIGPIPE or EPIPE. */
  cut: { stdout: boolean; stderr: boolean };
  /**
   * What could not be limited for all processes together, as there are no cgroups for that here: memory and tasks are
   * then limited by resource limits, memory for each process alone, and CPU time by `timeout`. Empty if all is.
   */
  unenforced: readonly SandboxLimit[];
  /** Milliseconds from the call to the end. */
  duration: number;
}

/** The working directory, which is also the user's home. */
const HOME = '/sandbox';
/** No user of a tree's has rights by these ids: they only aren't root's. */
const USER: UserIds = { uid: 1000, gid: 1000, name: 'sandbox', home: HOME };
/** For who has one id only. Without capabilities that root is as good as anybody. */
const ONLY_USER: UserIds = { ...USER, uid: 0, gid: 0 };

const DEFAULTS = {
  timeout: 30_000,
  memory: '512M',
  tasks: 128,
  cpus: 1,
  diskSize: '64M',
  outputSize: 1 << 20,
} as const;

/** What is tried, until all that is in it can be had. */
const LIMIT_SETS: readonly (readonly SandboxLimit[])[] = [
  ['memory', 'memorySwap', 'tasks', 'cpus'],
  ['memory', 'tasks', 'cpus'],
  ['memory', 'memorySwap', 'tasks'],
  ['memory', 'tasks'],
  [],
];
const ALL_LIMITS = LIMIT_SETS[0]!;

/** Of the host's /etc: where programs in /usr are by other names, and libraries. */
const SHOWN = ['/etc/alternatives', '/etc/ld.so.cache'];

/** What tells of the machine, or of others on it, and is no process's own. */
const HIDDEN = [
  ...['acpi', 'asound', 'bus', 'cmdline', 'config.gz', 'diskstats', 'driver', 'fs', 'interrupts', 'iomem', 'ioports'],
  ...[
    'irq',
    'kallsyms',
    'kcore',
    'key-users',
    'keys',
    'mdstat',
    'modules',
    'mtrr',
    'partitions',
    'sched_debug',
    'scsi',
  ],
  ...['swaps', 'sysrq-trigger', 'timer_list', 'tty'],
].map(name => `/proc/${name}`);

/** Beyond what takes a capability: kernel code that few programs need, and that had many holes. */
const DENIED_CALLS = [
  ...['@mount', 'io_uring_enter', 'io_uring_register', 'io_uring_setup', 'setns', 'unshare', 'userfaultfd'],
  ...['kcmp', 'name_to_handle_at', 'sethostname', 'setdomainname'],
];

/**
 * Runs a command that isn't trusted, and resolves when nothing is left of it. It has users of its own and is none of
 * the host's, no network, no capabilities and no way to new ones, a short list of system calls, a root file system that goes at the end,
 * and of the host only what is named here. Rejects with UsageError for options that can't be, with what `signal` was
 * aborted with if that was before, and else with an Error if it can't be run; how it ends is no error.
 */
export async function sandbox(options: SandboxOptions): Promise<SandboxResult> {
  const start = performance.now();
  const { checkSandboxTypes } = await import('./options/types.ts');
  checkSandboxTypes(options);
  if (options.command.length === 0)
    throw new UsageError('command takes a program and its arguments, not an empty list');
  const { outputSize = DEFAULTS.outputSize, logger = silentLogger } = options;
  const user = await userOf();
  let refusal: LimitError | undefined;
  for (const limits of LIMIT_SETS) {
    if (refusal?.isAboutAll && limits.length > 0) continue;
    const unenforced = ALL_LIMITS.filter(each => !limits.includes(each));
    let container: Container;
    try {
      container = await spawn(await spawnOptions(options, user, limits));
    } catch (error) {
      refusal = limitErrorIn(error);
      if (!refusal) throw error;
      if (options.requireLimits) throw refusal;
      continue;
    }
    if (refusal) logger.warn(`the sandbox runs without limits on ${unenforced.join(', ')}: ${refusal.message}`);
    return {
      ...(await outcome(container, options.stdin, outputSize)),
      unenforced,
      duration: performance.now() - start,
    };
  }
  throw refusal;
}

/** What went wrong with limits, also where it is the cause of a step's failure. */
function limitErrorIn(error: unknown): LimitError | undefined {
  if (error instanceof LimitError) return error;
  return error instanceof Error ? limitErrorIn(error.cause) : undefined;
}

/** An ordinary user without subordinate ids has no others to give. */
async function userOf(): Promise<UserIds> {
  if (process.geteuid!() === 0) return USER;
  const { hasManyIds } = await import('./plan/without-root.ts');
  return hasManyIds() ? USER : ONLY_USER;
}

async function spawnOptions(
  options: SandboxOptions,
  user: UserIds,
  limits: readonly SandboxLimit[],
): Promise<SpawnOptions> {
  const { command, env = {}, directory, readOnlyBinds = [], asPid2 = false, keepUnit = false } = options;
  const { timeout = DEFAULTS.timeout, diskSize = DEFAULTS.diskSize, signal, logger } = options;
  const root = directory === undefined ? ownSystem(user) : givenTree(directory);
  return {
    command,
    asPid2,
    user,
    chdir: HOME,
    environment: Object.entries(env).map(assignment),
    machine: `sandbox-${crypto.randomUUID().slice(0, 8)}`,
    hostname: 'sandbox',
    directory: root.directory,
    volatile: root.volatile,
    binds: [...root.binds, ...readOnlyBinds.map(shown)],
    files: [...root.files, { path: HOME }, ...filesBelowHome(options.files ?? {})],
    tmpfsSize: diskSize,
    inaccessible: ['/sys', ...HIDDEN.filter(hostHas)],
    ...(process.geteuid!() === 0 && { privateUsers: 'pick' }),
    // Its files are read by who is nobody to them in any case.
    usersOwnership: 'off',
    noUserNamespaces: true,
    privateNetwork: true,
    dropCapabilities: ['all'],
    noNewPrivileges: true,
    systemCallFilter: { deny: DENIED_CALLS },
    confinedSockets: true,
    ...(await limitOptions(options, limits)),
    oomScoreAdjust: OOM_SCORE_ADJUST,
    timeout,
    killSignal: SIG.KILL,
    timezone: 'off',
    resolvConf: 'off',
    linkJournal: 'no',
    register: false,
    keepUnit,
    ...(signal && { signal }),
    ...(logger && { logger }),
  };
}

function assignment([name, value]: [string, string]): string {
  if (name.includes('=')) throw new UsageError(`env has ${JSON.stringify(name)}, which is no name of a variable`);
  return `${name}=${value}`;
}

/** When the machine has no memory left, it goes before others. */
const OOM_SCORE_ADJUST = 500;

/** Limits by cgroups, and resource limits in place of those that can't be. */
async function limitOptions(
  { memory = DEFAULTS.memory, tasks = DEFAULTS.tasks, cpus = DEFAULTS.cpus, diskSize, rlimits = [] }: SandboxOptions,
  limits: readonly SandboxLimit[],
): Promise<SpawnOptions> {
  const all = { memory, tasks, cpus, memorySwap: 0 };
  const byCgroups = Object.fromEntries(limits.map(each => [each, all[each]]));
  const defaults = [NO_CORES];
  if (limits.length === 0) {
    const { limitsOf } = await import('./plan/limits.ts');
    const { memory: bytes, tasks: most } = limitsOf({ memory, tasks });
    const { memory: largest } = limitsOf({ memory: diskSize ?? DEFAULTS.diskSize });
    defaults.push(...rlimit('AS', bytes), ...rlimit('NPROC', most), ...rlimit('FSIZE', largest));
  }
  const others = defaults.filter(({ name }) => !rlimits.some(each => each.name === name));
  return { ...byCgroups, stats: true, rlimits: [...others, ...rlimits] };
}

const rlimit = (name: string, most: number | undefined): Rlimit[] =>
  most === undefined ? [] : [{ name, soft: BigInt(most), hard: BigInt(most) }];
/** By one byte not even programs of the host's get them: core(5), "Piping core dumps to a program". */
const NO_CORES: Rlimit = { name: 'CORE', soft: 1n, hard: 1n };

interface Root {
  directory: string;
  volatile: 'yes' | 'overlay';
  binds: Bind[];
  files: NewFile[];
}

const shown = (bind: { source: string; destination: string }): Bind => ({ ...bind, readOnly: true, recursive: true });

/**
 * The host's /usr in an empty root. Its other directories are the machine's own business: /home and /root, /var, and in
 * /etc keys and passwords.
 */
function ownSystem({ uid, gid, name, home }: UserIds): Root {
  const root = uid === 0 ? '' : 'root:x:0:0::/:/usr/sbin/nologin\n';
  const files = {
    '/etc/passwd': `${root}${name}:x:${uid}:${gid}::${home}:/bin/sh\n`,
    '/etc/group': `${uid === 0 ? '' : 'root:x:0:\n'}${name}:x:${gid}:\n`,
    '/etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
    '/etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
  };
  return {
    directory: '/',
    volatile: 'yes',
    binds: SHOWN.filter(hostHas).map(path => shown({ source: path, destination: path })),
    files: Object.entries(files).map(([path, content]) => ({ path, content, mode: 0o444 })),
  };
}

/** A tree with an overlay over it, and places of its own for what the program writes, whoever the tree belongs to. */
function givenTree(directory: string): Root {
  const places = [HOME, '/tmp'].map(destination => ({ source: '', destination, readOnly: false, recursive: false }));
  return { directory, volatile: 'overlay', binds: places, files: [{ path: '/tmp', mode: 0o1777 }] };
}

function filesBelowHome(files: Record<string, FileContent>): NewFile[] {
  return Object.entries(files).map(([name, given]) => {
    const isBelow = name.split('/').every(part => !['', '.', '..'].includes(part));
    if (!isBelow || name.includes('\0')) {
      throw new UsageError(`files has ${JSON.stringify(name)}, which is no name below the working directory`);
    }
    const file = typeof given === 'object' && 'content' in given ? given : { content: given };
    return { ...file, path: `${HOME}/${name}` };
  });
}

type Outcome = Omit<SandboxResult, 'unenforced' | 'duration'>;

async function outcome(container: Container, stdin: SandboxOptions['stdin'], size: number): Promise<Outcome> {
  await using running = container;
  const input = running.stdin!;
  // The program need not read it, or not to its end.
  input.on('error', () => {});
  input.end(stdin ?? '');
  const [stdout, stderr, ending] = await Promise.all([
    collect(running.stdout!, size),
    collect(running.stderr!, size),
    running.exited,
  ]);
  const { reboot: _, ...how } = ending;
  return {
    ...how,
    stdout: stdout.content,
    stderr: stderr.content,
    cut: { stdout: stdout.isCut, stderr: stderr.isCut },
  };
}

/** Reads so much, and then lets go of the stream: who goes on writing gets SIGPIPE, and costs nobody anything. */
async function collect(stream: Readable, most: number): Promise<{ content: Buffer; isCut: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    // Leaving the loop destroys the stream.
    if (size > most) break;
  }
  return { content: Buffer.concat(chunks).subarray(0, most), isCut: size > most };
}
