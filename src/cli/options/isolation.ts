/** Options: what keeps the container apart from its host. */
import { hostHas } from '../../host.ts';
import { parseAmbientCapabilities, parseCapabilities } from '../../options/capabilities.ts';
import { parsePersonality } from '../../options/identity.ts';
import {
  parseCpus,
  parseCpuWeight,
  parseIoMax,
  parseMemory,
  parseSwap,
  parseTasks,
  parseTimeout,
  parseWeight,
} from '../../options/limits.ts';
import { parseBoolean, parseNetworkMode } from '../../options/modes.ts';
import { parseInterface, parseInterfacePair, parseZone } from '../../options/network.ts';
import { parseHostFile } from '../../options/paths.ts';
import { parseCpuList, parseOomScoreAdjust } from '../../options/resources.ts';
import { parseRlimit, withRlimit } from '../../options/rlimit.ts';
import { withSystemCalls } from '../../options/system-call-filter.ts';
import { parseNonEmpty } from '../../options/unit.ts';
import { parseOwnership, parsePrivateUsers } from '../../options/users.ts';
import { type Section, unlessHelp } from './row.ts';

export const ISOLATION: readonly Section[] = [
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
];
