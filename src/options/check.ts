import process from 'node:process';
import type { ContainerOptions } from '../options.ts';
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
import { parseContainerPath } from './paths.ts';
import { parseCpuList, parseOomScoreAdjust } from './resources.ts';
import { parseSignal } from './signals.ts';
import { parseNonEmpty, parseProperty } from './unit.ts';
import { namingOption, takes, UsageError } from './usage-error.ts';
import { parseOwnership, parsePrivateUsers } from './users.ts';

/** Options that can't go together, and what to say of them. */
const conflicts: readonly [(o: ContainerOptions) => unknown, string][] = [
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
  [o => o.bindUsers?.length && !hasUsers(o), '--bind-user= needs --private-users= or -U'],
  [o => o.noUserNamespaces && !hasUsers(o), '--no-user-namespaces needs --private-users= or -U'],
  [o => o.networkBridge && o.networkZone, '--network-bridge= and --network-zone= may not be combined'],
  [
    o => o.network === 'user' && (o.networkVeth || hasInterfaces(o) || o.networkNamespacePath || o.shareSystem),
    '--network=user may not be combined with other networks',
  ],
  [o => o.network === 'host' && o.privateNetwork, '--network=host may not be combined with a private network'],
  [
    o => o.network === 'user' && process.geteuid!() === 0,
    '--network=user is for ordinary users; root has --network-zone=',
  ],
  [
    o => o.networkNamespacePath && (o.networkVeth || hasInterfaces(o)),
    '--network-namespace-path= and options that make or move interfaces may not be combined',
  ],
];

type Parse = (text: string) => unknown;
type Values = readonly (string | number | undefined)[];

/** The checks of single values, for options that don't come through the parsers of the command line. */
const valueChecks: readonly [option: string, values: (o: ContainerOptions) => Values | undefined, parse: Parse][] = [
  ['--user=', o => (typeof o.user === 'object' ? [] : [o.user]), parseUser],
  ['user', o => (typeof o.user === 'object' ? [o.user.uid, o.user.gid] : []), parseId],
  ['user', o => (typeof o.user === 'object' ? [o.user.home] : []), parseContainerPath],
  ['files', o => o.files?.map(({ path }) => path), parseContainerPath],
  ['--chdir=', o => [o.chdir], parseContainerPath],
  ['--setenv=', o => o.environment, checkAssignment],
  ['--set-credential=', o => o.credentials?.map(({ id }) => id), parseCredentialId],
  ['--load-credential=', o => o.credentials?.flatMap(each => ('path' in each ? [each.path] : [])), parseCredentialPath],
  ['--machine=', o => [o.machine], parseHostname],
  ['--hostname=', o => [o.hostname], parseHostname],
  ['--uuid=', o => [o.uuid], parseUuid],
  ['--kill-signal=', o => [o.killSignal], parseSignal],
  ['--capability=', o => o.capabilities, parseCapabilities],
  ['--drop-capability=', o => o.dropCapabilities, parseCapabilities],
  ['--ambient-capability=', o => o.ambientCapabilities, parseAmbientCapabilities],
  ['--oom-score-adjust=', o => [o.oomScoreAdjust], parseOomScoreAdjust],
  ['--cpu-affinity=', o => o.cpuAffinity, parseCpuList],
  ['--memory=', o => [o.memory], parseMemory],
  ['--memory-swap=', o => [o.memorySwap], parseSwap],
  ['--cpus=', o => [o.cpus], parseCpus],
  ['--cpu-weight=', o => [o.cpuWeight], parseCpuWeight],
  ['--tasks=', o => [o.tasks], parseTasks],
  ['--io-weight=', o => [o.ioWeight], parseWeight],
  ['--io-max=', o => o.ioMax?.map(ioMaxText), parseIoMax],
  ['--timeout=', o => [o.timeout], checkMilliseconds],
  ['--personality=', o => [o.personality], parsePersonality],
  ['--bind=', o => o.binds?.map(bind => bind.destination), parseContainerPath],
  ['--tmpfs=', o => o.tmpfs?.map(tmpfs => tmpfs.path), parseContainerPath],
  ['--tmpfs-size=', o => [o.tmpfsSize], parseMemory],
  ['--overlay=', o => o.overlays?.map(overlay => overlay.destination), parseContainerPath],
  ['--inaccessible=', o => o.inaccessible, parseContainerPath],
  ['--bind-user=', o => o.bindUsers, parseUserName],
  ['--private-users=', o => [wordOf(o.privateUsers)], parsePrivateUsers],
  ['--private-users-ownership=', o => [o.usersOwnership], parseOwnership],
  ['--slice=', o => [o.slice], parseNonEmpty],
  ['--property=', o => o.properties, parseProperty],
  ['--network-interface=', o => o.networkInterfaces, parseInterfacePair],
  ['--network-macvlan=', o => o.networkMacvlans, parseInterfacePair],
  ['--network-ipvlan=', o => o.networkIpvlans, parseInterfacePair],
  ['--network-veth-extra=', o => o.networkVethExtra, parseInterfacePair],
  ['--network-bridge=', o => [o.networkBridge], parseInterface],
  ['--network-zone=', o => [o.networkZone], parseZone],
];

/**
 * Refuses options that no container can be made from: bad values, options that can't go together, and what isn't
 * supported yet. Expects what impliedOptions() gives. Throws UsageError.
 */
export function checkOptions(options: ContainerOptions): void {
  for (const [option, values, parse] of valueChecks) {
    for (const value of values(options) ?? []) {
      if (value !== undefined) namingOption(option, () => parse(String(value)));
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

/** As on the command line. */
const wordOf = (users: ContainerOptions['privateUsers']): string | undefined =>
  typeof users === 'object' ? `${users.base}:${users.count}` : users;

function checkAssignment(text: string): void {
  if (!text.includes('=')) throw takes('NAME=VALUE', text);
  parseAssignment(text);
}
