import { hostHas } from '../host.ts';
import { parseAmbientCapabilities, parseCapabilities } from '../options/capabilities.ts';
import { parseLoadCredential, parseSetCredential } from '../options/credentials.ts';
import { type Environment, parseAssignment, withAssignment } from '../options/environment.ts';
import { parseHostname, parsePersonality, parseUser, parseUserName, parseUuid } from '../options/identity.ts';
import {
  parseCpus,
  parseCpuWeight,
  parseIoMax,
  parseMemory,
  parseSwap,
  parseTasks,
  parseTimeout,
  parseWeight,
} from '../options/limits.ts';
import {
  parseBoolean,
  parseConsoleMode,
  parseLinkJournal,
  parseMode,
  parseNetworkMode,
  parseResolvConf,
  parseTimezone,
  parseVolatile,
} from '../options/modes.ts';
import { parseBind, parseOverlay, parseTmpfs } from '../options/mounts.ts';
import { parseInterface, parseInterfacePair, parseZone } from '../options/network.ts';
import { parseContainerPath, parseHostFile, parseHostPath } from '../options/paths.ts';
import { parseCpuList, parseOomScoreAdjust } from '../options/resources.ts';
import { parseRlimit, withRlimit } from '../options/rlimit.ts';
import { parseSignal } from '../options/signals.ts';
import { withSystemCalls } from '../options/system-call-filter.ts';
import { parseNonEmpty, parseProperty } from '../options/unit.ts';
import { parseOwnership, parsePrivateUsers } from '../options/users.ts';
import type { ConsoleMode, ContainerOptions } from '../options.ts';
import type { Syntax } from './getopt.ts';

export type LogFormat = 'text' | 'json';
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** What the command line says beyond the container itself. */
export interface Settings {
  action: 'run' | 'help' | 'version' | 'capabilities' | 'dry-run' | 'cleanup';
  /** Absent when it was not given: then it depends on the terminal. */
  console?: ConsoleMode;
  quiet: boolean;
  logLevel: LogLevel;
  logFormat: LogFormat;
}

/** What has been read so far. */
export type Draft = Settings & ContainerOptions;

/** New values for a draft; undefined takes back what was set. */
export type Patch = { [Key in keyof Draft]?: Draft[Key] | undefined };

/** One option of the command line. */
export interface Row extends Syntax {
  help: string;
  /** What it changes, given its value (`yes` when it has none). Throws ValueError. */
  set: (text: string, draft: Draft, environment: Environment) => Patch;
}

/** What a list of capabilities changes; instead of one, `help` asks which there are. */
const unlessHelp = (text: string, set: () => Patch): Patch => (text === 'help' ? { action: 'capabilities' } : set());

/** All options, in the sections of the help. The parser, the help and cac's declarations are made from this table. */
export const sections: readonly { title: string; rows: readonly Row[] }[] = [
  {
    title: '',
    rows: [
      { letter: 'h', name: 'help', help: 'Show this help', set: () => ({ action: 'help' }) },
      { name: 'version', help: 'Show the version', set: () => ({ action: 'version' }) },
      { letter: 'q', name: 'quiet', help: 'Say nothing about the container itself', set: () => ({ quiet: true }) },
      {
        name: 'cleanup',
        help: 'Remove what killed runs with --ephemeral or --template have left, in the directories that follow',
        set: () => ({ action: 'cleanup' }),
      },
      { name: 'dry-run', help: 'Show what would be done, and do nothing', set: () => ({ action: 'dry-run' }) },
    ],
  },
  {
    title: 'Image',
    rows: [
      {
        letter: 'D',
        name: 'directory',
        value: 'PATH',
        help: 'Root directory of the container',
        set: text => ({ directory: parseHostPath(text) }),
      },
      {
        name: 'template',
        value: 'PATH',
        help: 'Make the root directory from this one, if it is missing',
        set: text => ({ template: parseHostPath(text) }),
      },
      {
        letter: 'x',
        name: 'ephemeral',
        help: 'Run from a snapshot of the root directory, and remove it at the end',
        set: () => ({ ephemeral: true }),
      },
      {
        letter: 'i',
        name: 'image',
        value: 'PATH',
        help: 'Disk image or block device with the root of the container',
        set: text => ({ image: parseHostPath(text) }),
      },
      { name: 'read-only', help: 'Mount the root directory read-only', set: () => ({ readOnly: true }) },
      {
        name: 'volatile',
        value: 'MODE',
        valueOptional: true,
        help: 'Forget changes to the root directory at the end: yes, no, state (only those to /var) or overlay',
        set: text => ({ volatile: parseVolatile(text) }),
      },
    ],
  },
  {
    title: 'Execution',
    rows: [
      {
        letter: 'a',
        name: 'as-pid2',
        help: 'Run the command as PID 2, below a small init',
        set: () => ({ asPid2: true }),
      },
      {
        letter: 'b',
        name: 'boot',
        help: 'Boot the system: search for an init and run it',
        set: () => ({ boot: true }),
      },
      {
        name: 'chdir',
        value: 'PATH',
        help: 'Working directory in the container',
        set: text => ({ chdir: parseContainerPath(text) }),
      },
      {
        letter: 'E',
        name: 'setenv',
        value: 'NAME[=VALUE]',
        help: 'Set an environment variable, without VALUE to what it is here',
        set: (text, draft, environment) => ({
          environment: withAssignment(draft.environment ?? [], parseAssignment(text, environment)),
        }),
      },
      {
        letter: 'u',
        name: 'user',
        value: 'USER',
        help: 'Run the command as this user of the container',
        set: text => ({ user: parseUser(text) }),
      },
      {
        name: 'kill-signal',
        value: 'SIGNAL',
        help: 'Signal that asks the init to shut down',
        set: text => ({ killSignal: parseSignal(text) }),
      },
      {
        name: 'notify-ready',
        value: 'BOOLEAN',
        help: 'Tell the service manager that the container is ready when its init says so, not when that is started',
        set: text => ({ notifyReady: parseBoolean(text) }),
      },
      {
        name: 'suppress-sync',
        value: 'BOOLEAN',
        help: 'Let fsync and its like succeed without writing to disk',
        set: text => ({ suppressSync: parseBoolean(text) }),
      },
      {
        name: 'share-system',
        help: 'Share the PID, UTS and IPC namespaces with the host',
        set: () => ({ shareSystem: true }),
      },
    ],
  },
  {
    title: 'System Identity',
    rows: [
      {
        letter: 'M',
        name: 'machine',
        value: 'NAME',
        help: 'Name of the container',
        set: text => ({ machine: parseHostname(text) }),
      },
      {
        name: 'hostname',
        value: 'NAME',
        help: 'Host name in the container, if not its name',
        set: text => ({ hostname: parseHostname(text) }),
      },
      { name: 'uuid', value: 'UUID', help: 'Machine ID of the container', set: text => ({ uuid: parseUuid(text) }) },
    ],
  },
  {
    title: 'Properties',
    rows: [
      {
        letter: 'S',
        name: 'slice',
        value: 'SLICE',
        help: 'Slice to place the container in',
        set: text => ({ slice: parseNonEmpty(text) }),
      },
      {
        name: 'property',
        value: 'NAME=VALUE',
        help: "Set a property of the container's scope unit",
        set: (text, draft) => ({ properties: [...(draft.properties ?? []), parseProperty(text)] }),
      },
      {
        name: 'register',
        value: 'BOOLEAN',
        help: 'Register the container with systemd-machined',
        set: text => ({ register: parseBoolean(text) }),
      },
      {
        name: 'keep-unit',
        help: 'Stay in the unit that nspawn runs in, instead of making a scope unit',
        set: () => ({ keepUnit: true }),
      },
    ],
  },
  {
    title: 'User Namespacing',
    rows: [
      {
        name: 'private-users',
        value: 'MODE',
        valueOptional: true,
        help: "Give the container users of its own: no, yes, pick, identity, or BASE[:COUNT] of the host's ids",
        set: text => ({ privateUsers: parsePrivateUsers(text) }),
      },
      {
        name: 'private-users-ownership',
        value: 'MODE',
        help: "How the tree's files come to belong to them: chown, map, off or auto",
        set: text => ({ usersOwnership: parseOwnership(text) }),
      },
      {
        name: 'no-user-namespaces',
        help: 'Let nobody in the container make user namespaces',
        set: () => ({ noUserNamespaces: true }),
      },
      {
        name: 'private-users-chown',
        help: 'Same as --private-users-ownership=chown',
        set: () => ({ usersOwnership: 'chown' }),
      },
      {
        letter: 'U',
        help: 'Same as --private-users=pick --private-users-ownership=auto, where the kernel has user namespaces',
        set: () => (hostHas('/proc/self/uid_map') ? { privateUsers: 'pick' } : {}),
      },
    ],
  },
  {
    title: 'Networking',
    rows: [
      {
        name: 'private-network',
        help: 'Give the container a network of its own, with a loopback interface only',
        set: () => ({ privateNetwork: true }),
      },
      {
        name: 'network',
        value: 'MODE',
        help: 'The network: host, private, or user (a private one that reaches the world as its user does)',
        set: text => ({ network: parseNetworkMode(text) }),
      },
      {
        name: 'network-interface',
        value: 'HOST[:CONTAINER]',
        help: 'Move this network interface into the container, under the second name if there is one',
        set: (text, draft) => ({ networkInterfaces: [...(draft.networkInterfaces ?? []), parseInterfacePair(text)] }),
      },
      {
        name: 'network-macvlan',
        value: 'HOST[:CONTAINER]',
        help: 'Make a macvlan interface on top of this one for the container',
        set: (text, draft) => ({ networkMacvlans: [...(draft.networkMacvlans ?? []), parseInterfacePair(text)] }),
      },
      {
        name: 'network-ipvlan',
        value: 'HOST[:CONTAINER]',
        help: 'Make an ipvlan interface on top of this one for the container',
        set: (text, draft) => ({ networkIpvlans: [...(draft.networkIpvlans ?? []), parseInterfacePair(text)] }),
      },
      {
        letter: 'n',
        name: 'network-veth',
        help: 'Make a virtual Ethernet link between host and container',
        set: () => ({ networkVeth: true }),
      },
      {
        name: 'network-veth-extra',
        value: 'HOST[:CONTAINER]',
        help: 'Make one more such link, with these interface names',
        set: (text, draft) => ({ networkVethExtra: [...(draft.networkVethExtra ?? []), parseInterfacePair(text)] }),
      },
      {
        name: 'network-bridge',
        value: 'INTERFACE',
        help: 'As --network-veth, with the host side attached to this bridge',
        set: text => ({ networkBridge: parseInterface(text) }),
      },
      {
        name: 'network-zone',
        value: 'NAME',
        help: 'As --network-bridge, with a bridge that comes and goes with its containers',
        set: text => ({ networkZone: parseZone(text) }),
      },
      {
        name: 'network-namespace-path',
        value: 'PATH',
        help: 'Run in the network namespace that this file stands for',
        set: text => ({ networkNamespacePath: parseHostFile(text) }),
      },
    ],
  },
  {
    title: 'Security',
    rows: [
      {
        name: 'capability',
        value: 'CAP[,CAP...]',
        help: 'Retain these capabilities beyond the default ones, or all; help lists them',
        set: (text, draft) =>
          unlessHelp(text, () => ({ capabilities: [...(draft.capabilities ?? []), ...parseCapabilities(text)] })),
      },
      {
        name: 'drop-capability',
        value: 'CAP[,CAP...]',
        help: 'Drop these capabilities, or all',
        set: (text, draft) =>
          unlessHelp(text, () => ({
            dropCapabilities: [...(draft.dropCapabilities ?? []), ...parseCapabilities(text)],
          })),
      },
      {
        name: 'ambient-capability',
        value: 'CAP[,CAP...]',
        help: 'Give these capabilities to the programs of the payload, whoever its user is',
        set: (text, draft) =>
          unlessHelp(text, () => ({
            ambientCapabilities: [...(draft.ambientCapabilities ?? []), ...parseAmbientCapabilities(text)],
          })),
      },
      {
        name: 'no-new-privileges',
        value: 'BOOLEAN',
        help: 'Keep the payload from gaining privileges by setuid programs and file capabilities',
        set: text => ({ noNewPrivileges: parseBoolean(text) }),
      },
      {
        name: 'system-call-filter',
        value: '[~]CALLS',
        help: 'Allow system calls and groups of them such as @clock beyond those of a default list, or with ~ forbid them',
        set: (text, draft) => ({ systemCallFilter: withSystemCalls(draft.systemCallFilter ?? {}, text) }),
      },
      {
        letter: 'Z',
        name: 'selinux-context',
        value: 'LABEL',
        help: "SELinux context of the container's processes",
        set: text => ({ selinuxContext: parseNonEmpty(text) }),
      },
      {
        letter: 'L',
        name: 'selinux-apifs-context',
        value: 'LABEL',
        help: "SELinux context of the container's API and tmpfs file systems",
        set: text => ({ selinuxApifsContext: parseNonEmpty(text) }),
      },
    ],
  },
  {
    title: 'Resources',
    rows: [
      {
        name: 'rlimit',
        value: 'LIMIT=SOFT[:HARD]',
        help: 'Set a resource limit of the payload, such as NOFILE=1024',
        set: (text, draft) => ({ rlimits: withRlimit(draft.rlimits ?? [], parseRlimit(text)) }),
      },
      {
        name: 'oom-score-adjust',
        value: 'VALUE',
        help: 'How soon the payload is killed when memory is short, from -1000 (never) to 1000',
        set: text => ({ oomScoreAdjust: parseOomScoreAdjust(text) }),
      },
      {
        name: 'cpu-affinity',
        value: 'CPUS',
        help: 'CPUs that the payload may use, such as 0,2-4',
        set: text => ({ cpuAffinity: parseCpuList(text) }),
      },
      {
        name: 'memory',
        value: 'BYTES',
        help: "Most memory, such as 512M, 1.5G or 25% of the machine's; beyond it processes are killed",
        set: text => ({ memory: parseMemory(text) }),
      },
      {
        name: 'memory-swap',
        value: 'BYTES',
        help: 'Most swap space beside that',
        set: text => ({ memorySwap: parseSwap(text) }),
      },
      {
        name: 'cpus',
        value: 'NUMBER',
        help: "How many CPUs' time, such as 0.5 or 2",
        set: text => ({ cpus: parseCpus(text) }),
      },
      {
        name: 'cpu-weight',
        value: 'WEIGHT',
        help: 'Share of the CPUs when others want them, too: 1 to 10000, where others have 100, or idle',
        set: text => ({ cpuWeight: parseCpuWeight(text) }),
      },
      {
        name: 'tasks',
        value: 'NUMBER',
        help: 'Most processes and threads, such as 100 or 10% of what the machine can have',
        set: text => ({ tasks: parseTasks(text) }),
      },
      {
        name: 'io-weight',
        value: 'WEIGHT',
        help: 'Share of disks when others want them, too: 1 to 10000, where others have 100',
        set: text => ({ ioWeight: parseWeight(text) }),
      },
      {
        name: 'io-max',
        value: "'PATH RATE=NUMBER...'",
        help: 'Most bytes (rbps=, wbps=) and operations (riops=, wiops=) read and written a second, of the disk that PATH is, or is on',
        set: (text, draft) => ({ ioMax: [...(draft.ioMax ?? []), parseIoMax(text)] }),
      },
      {
        name: 'timeout',
        value: 'TIME',
        help: 'Ask the payload to end after this time, such as 30s or 1h 30min, and kill it 10 seconds later',
        set: text => ({ timeout: parseTimeout(text) }),
      },
      { name: 'stats', help: 'Say at the end what was used', set: () => ({ stats: true }) },
      {
        name: 'personality',
        value: 'ARCH',
        help: 'Architecture that uname shows in the container',
        set: text => ({ personality: parsePersonality(text) }),
      },
    ],
  },
  {
    title: 'Integration',
    rows: [
      {
        name: 'resolv-conf',
        value: 'MODE',
        help: 'How /etc/resolv.conf comes about: off, auto, delete, or one of copy, replace and bind with one of -host, -static, -uplink and -stub',
        set: text => ({ resolvConf: parseResolvConf(text) }),
      },
      {
        name: 'timezone',
        value: 'MODE',
        help: 'How /etc/localtime comes about: off, auto, copy, bind, symlink or delete',
        set: text => ({ timezone: parseTimezone(text) }),
      },
      {
        name: 'link-journal',
        value: 'MODE',
        help: "Link the container's journal with the host's: no, auto, guest, host, try-guest or try-host",
        set: text => ({ linkJournal: parseLinkJournal(text) }),
      },
      { letter: 'j', help: 'Same as --link-journal=try-guest', set: () => ({ linkJournal: 'try-guest' }) },
    ],
  },
  {
    title: 'Mounts',
    rows: [
      {
        name: 'bind',
        value: 'PATH[:PATH[:OPTIONS]]',
        help: 'Bind mount a file or directory of the host into the container',
        set: (text, draft) => ({ binds: [...(draft.binds ?? []), parseBind(text, false)] }),
      },
      {
        name: 'bind-ro',
        value: 'PATH[:PATH[:OPTIONS]]',
        help: 'The same, read-only',
        set: (text, draft) => ({ binds: [...(draft.binds ?? []), parseBind(text, true)] }),
      },
      {
        name: 'bind-user',
        value: 'NAME',
        help: 'Make a user of the host known to the container, with the home directory in /run/host/home',
        set: (text, draft) => ({ bindUsers: [...(draft.bindUsers ?? []), parseUserName(text)] }),
      },
      {
        name: 'inaccessible',
        value: 'PATH',
        help: 'Hide a file or directory of the container',
        set: (text, draft) => ({ inaccessible: [...(draft.inaccessible ?? []), parseContainerPath(text)] }),
      },
      {
        name: 'tmpfs',
        value: 'PATH[:OPTIONS]',
        help: 'Mount an empty tmpfs in the container',
        set: (text, draft) => ({ tmpfs: [...(draft.tmpfs ?? []), parseTmpfs(text)] }),
      },
      {
        name: 'tmpfs-size',
        value: 'BYTES',
        help: 'Most bytes in each of /dev, /dev/shm, /run and what is written to a volatile root',
        set: text => ({ tmpfsSize: parseMemory(text) }),
      },
      {
        name: 'overlay',
        value: 'PATH[:PATH...]:PATH',
        help: 'Mount an overlay of directories of the host in the container',
        set: (text, draft) => ({ overlays: [...(draft.overlays ?? []), parseOverlay(text, false)] }),
      },
      {
        name: 'overlay-ro',
        value: 'PATH[:PATH...]:PATH',
        help: 'The same, read-only',
        set: (text, draft) => ({ overlays: [...(draft.overlays ?? []), parseOverlay(text, true)] }),
      },
    ],
  },
  {
    title: 'Input/Output',
    rows: [
      {
        name: 'console',
        value: 'MODE',
        help: 'What standard input and output and /dev/console are: interactive (the default on a terminal), read-only (the default elsewhere), passive or pipe',
        set: text => ({ console: parseConsoleMode(text) }),
      },
      { letter: 'P', name: 'pipe', help: 'Same as --console=pipe', set: () => ({ console: 'pipe' }) },
    ],
  },
  {
    title: 'Credentials',
    rows: [
      {
        name: 'set-credential',
        value: 'ID:VALUE',
        help: 'Pass this value to the payload, as a file that only its user can read',
        set: (text, draft) => ({ credentials: [...(draft.credentials ?? []), parseSetCredential(text)] }),
      },
      {
        name: 'load-credential',
        value: 'ID:PATH',
        help: 'The same with the content of a file, or what a socket says',
        set: (text, draft, environment) => ({
          credentials: [...(draft.credentials ?? []), parseLoadCredential(text, environment)],
        }),
      },
    ],
  },
  {
    title: 'Logging',
    rows: [
      {
        name: 'log-format',
        value: 'FORMAT',
        help: 'text (the default) or json',
        set: text => ({ logFormat: parseMode<LogFormat>(text, ['text', 'json']) }),
      },
      {
        name: 'log-level',
        value: 'LEVEL',
        help: 'The least that is logged: trace, debug, info (the default), warn or error',
        set: text => ({ logLevel: parseMode<LogLevel>(text, ['trace', 'debug', 'info', 'warn', 'error']) }),
      },
    ],
  },
];
