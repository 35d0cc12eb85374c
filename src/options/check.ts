import process from 'node:process';
import type { ContainerOptions, Credential } from '../options.ts';
import { ambientBeyondRetained, parseAmbientCapabilities, parseCapabilities } from './capabilities.ts';
import { parseCredentialId, parseCredentialPath } from './credentials.ts';
import { parseAssignment } from './environment.ts';
import { parseHostname, parseId, parsePersonality, parseUser, parseUserName, parseUuid } from './identity.ts';
import {
  checkMilliseconds,
  ioMaxText,
  parseCpus,
  parseCpuWeight,
  parseIoMax,
  parseMemory,
  parseSwap,
  parseTasks,
  parseWeight,
} from './limits.ts';
import { parseInterface, parseInterfacePair, parseZone } from './network.ts';
import { checkMode, parseContainerPath } from './paths.ts';
import { parseCpuList, parseOomScoreAdjust } from './resources.ts';
import { checkRlimit, rlimitText } from './rlimit.ts';
import { parseSignal } from './signals.ts';
import { parseNonEmpty, parseProperty } from './unit.ts';
import { namingOption, takes, UsageError } from './usage-error.ts';
import { parseOwnership, parsePrivateUsers } from './users.ts';

/** Options that can't go together, and what to say of them. */
const conflicts: readonly [(o: ContainerOptions) => unknown, string][] = [
  [o => !o.boot && o.command?.[0] === '', 'the command to run is an empty word'],
  [o => o.boot && o.asPid2, '--boot and --as-pid2 may not be combined'],
  [o => o.boot && o.shareSystem, '--boot and --share-system may not be combined'],
  [o => o.asPid2 && o.shareSystem, '--as-pid2 and --share-system may not be combined'],
  [o => o.directory && o.image, '--directory= and --image= may not be combined'],
  [o => o.template && o.image, '--template= and --image= may not be combined'],
  [o => o.template && !o.directory && !o.machine, '--template= needs --directory= or --machine='],
  [o => o.ephemeral && o.template, '--ephemeral and --template= may not be combined'],
  [
    o => o.ephemeral && !['no', 'auto'].includes(o.linkJournal ?? 'auto'),
    '--ephemeral and --link-journal= may not be combined, unless it is no or auto',
  ],
  [
    o => o.readOnly && (o.volatile ?? 'no') !== 'no',
    '--read-only and --volatile may not be combined: --volatile has the root directory read-only below it already',
  ],
  [
    o => o.overlays?.some(({ lower, upper }) => lower.length === 0 || (lower.length === 1 && upper === undefined)),
    '--overlay= takes two layers or more, and --overlay-ro= as well',
  ],
  [o => o.boot && o.ambientCapabilities?.length, '--boot and --ambient-capability= may not be combined'],
  [
    o => hasUsers(o) && o.shareSystem,
    '--private-users= and --share-system may not be combined: the container would have no rights over what it shares',
  ],
  [
    o => o.usersOwnership === 'chown' && o.readOnly,
    '--private-users-ownership=chown and --read-only may not be combined',
  ],
  [
    o => o.usersOwnership === 'chown' && (o.volatile ?? 'no') !== 'no',
    '--private-users-ownership=chown and --volatile may not be combined',
  ],
  [o => o.bindUsers?.length && !hasUsers(o) && isRoot(), '--bind-user= needs --private-users= or -U'],
  [o => o.noUserNamespaces && !hasUsers(o) && isRoot(), '--no-user-namespaces needs --private-users= or -U'],
  [o => o.networkBridge && o.networkZone, '--network-bridge= and --network-zone= may not be combined'],
  [
    o => o.network === 'user' && (o.networkVeth || hasInterfaces(o) || o.networkNamespacePath || o.shareSystem),
    '--network=user may not be combined with other networks',
  ],
  [o => o.network === 'host' && o.privateNetwork, '--network=host may not be combined with a private network'],
  [o => o.network === 'user' && isRoot(), '--network=user is for ordinary users; root has --network-zone='],
  [
    o => o.networkNamespacePath && (o.networkVeth || hasInterfaces(o)),
    '--network-namespace-path= and options that make or move interfaces may not be combined',
  ],
];

/** An ordinary user's container has users of its own in any case. */
const isRoot = (): boolean => process.geteuid!() === 0;

type Parse = (text: string) => unknown;
type Values = readonly (string | number | undefined)[];

/** What a value of an option is called, and which parser refuses it; perhaps only parts of it are such values. */
type Check<V> = readonly [option: string, parse: Parse, values?: (value: V) => Values];

/** The checks of single values, for options that don't come through the parsers of the command line. */
const valueChecks: { readonly [K in keyof ContainerOptions]?: readonly Check<NonNullable<ContainerOptions[K]>>[] } = {
  user: [
    ['--user=', parseUser, user => (typeof user === 'object' ? [] : [user])],
    ['user', parseId, user => (typeof user === 'object' ? [user.uid, user.gid] : [])],
    ['user', parseContainerPath, user => (typeof user === 'object' ? [user.home] : [])],
  ],
  files: [
    ['files', parseContainerPath, files => files.map(({ path }) => path)],
    ['files', checkMode, files => files.map(({ mode }) => mode)],
  ],
  chdir: [['--chdir=', parseContainerPath]],
  environment: [['--setenv=', checkAssignment]],
  credentials: [
    ['--set-credential=', parseCredentialId, credentials => credentials.map(({ id }) => id)],
    ['--load-credential=', parseCredentialPath, pathsOf],
  ],
  machine: [['--machine=', parseHostname]],
  hostname: [['--hostname=', parseHostname]],
  uuid: [['--uuid=', parseUuid]],
  killSignal: [['--kill-signal=', parseSignal]],
  capabilities: [['--capability=', parseCapabilities]],
  dropCapabilities: [['--drop-capability=', parseCapabilities]],
  ambientCapabilities: [['--ambient-capability=', parseAmbientCapabilities]],
  rlimits: [['--rlimit=', checkRlimit, limits => limits.map(rlimitText)]],
  oomScoreAdjust: [['--oom-score-adjust=', parseOomScoreAdjust]],
  cpuAffinity: [['--cpu-affinity=', parseCpuList]],
  memory: [['--memory=', parseMemory]],
  memorySwap: [['--memory-swap=', parseSwap]],
  cpus: [['--cpus=', parseCpus]],
  cpuWeight: [['--cpu-weight=', parseCpuWeight]],
  tasks: [['--tasks=', parseTasks]],
  ioWeight: [['--io-weight=', parseWeight]],
  ioMax: [['--io-max=', parseIoMax, limits => limits.map(ioMaxText)]],
  timeout: [['--timeout=', checkMilliseconds]],
  personality: [['--personality=', parsePersonality]],
  binds: [['--bind=', parseContainerPath, binds => binds.map(({ destination }) => destination)]],
  tmpfs: [['--tmpfs=', parseContainerPath, tmpfs => tmpfs.map(({ path }) => path)]],
  tmpfsSize: [['--tmpfs-size=', parseMemory]],
  overlays: [['--overlay=', parseContainerPath, overlays => overlays.map(({ destination }) => destination)]],
  inaccessible: [['--inaccessible=', parseContainerPath]],
  bindUsers: [['--bind-user=', parseUserName]],
  privateUsers: [['--private-users=', parsePrivateUsers, users => [wordOf(users)]]],
  usersOwnership: [['--private-users-ownership=', parseOwnership]],
  slice: [['--slice=', parseNonEmpty]],
  properties: [['--property=', parseProperty]],
  networkInterfaces: [['--network-interface=', parseInterfacePair]],
  networkMacvlans: [['--network-macvlan=', parseInterfacePair]],
  networkIpvlans: [['--network-ipvlan=', parseInterfacePair]],
  networkVethExtra: [['--network-veth-extra=', parseInterfacePair]],
  networkBridge: [['--network-bridge=', parseInterface]],
  networkZone: [['--network-zone=', parseZone]],
};

/**
 * Refuses options that no container can be made from: bad values, options that can't go together, and what isn't
 * supported yet. Expects what impliedOptions() gives. Throws UsageError.
 */
export function checkOptions(options: ContainerOptions): void {
  for (const [key, given] of Object.entries(options)) {
    if (given === undefined) continue;
    const checks: readonly Check<never>[] = valueChecks[key as keyof ContainerOptions] ?? [];
    for (const [option, parse, valuesOf = listed] of checks) {
      for (const value of valuesOf(given as never)) {
        if (value !== undefined) namingOption(option, () => parse(String(value)));
      }
    }
  }
  const conflict = conflicts.find(([applies]) => applies(options));
  if (conflict) throw new UsageError(conflict[1]);
  const [beyond] = ambientBeyondRetained(options);
  if (beyond) {
    throw new UsageError(
      `--ambient-capability= has ${beyond}, which the container does not retain; see --capability= and --drop-capability=`,
    );
  }
  const ids = options.credentials?.map(({ id }) => id) ?? [];
  const twice = ids.find((id, at) => ids.indexOf(id) !== at);
  if (twice !== undefined) throw new UsageError(`the credential ${twice} is given more than once`);
}

/** Whether interfaces are asked for, other than the veth link. */
export function hasInterfaces(o: ContainerOptions): boolean {
  return [o.networkInterfaces, o.networkMacvlans, o.networkIpvlans, o.networkVethExtra].some(list => list?.length);
}

/** Whether the container has users of its own. */
export const hasUsers = ({ privateUsers = 'no' }: ContainerOptions): boolean => privateUsers !== 'no';

const listed = (value: unknown) => (Array.isArray(value) ? value : [value]);

function pathsOf(credentials: readonly Credential[]): string[] {
  return credentials.flatMap(each => ('path' in each ? [each.path] : []));
}

/** As on the command line. */
const wordOf = (users: ContainerOptions['privateUsers']): string | undefined =>
  typeof users === 'object' ? `${users.base}:${users.count}` : users;

function checkAssignment(text: string): void {
  if (!text.includes('=')) throw takes('NAME=VALUE', text);
  parseAssignment(text);
}
