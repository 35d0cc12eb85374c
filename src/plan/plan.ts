/** From options to a plan: everything a container needs, worked out before anything is touched. */
import process from 'node:process';
import { SIG } from '../../syscalls/constants.ts';
import { splitPath } from '../../syscalls/file.ts';
import { canonicalPath, hostHas, hostName, hostStatus, isDirectory, readLink } from '../host.ts';
import type { Image } from '../image/read-image.ts';
import { capabilitySet, retainedCapabilities } from '../options/capabilities.ts';
import { checkOptions, hasInterfaces } from '../options/check.ts';
import { parseHostname, parseUuid } from '../options/identity.ts';
import { impliedOptions } from '../options/implied.ts';
import type { UnitProperty } from '../options/unit-properties.ts';
import { namingOption, UsageError } from '../options/usage-error.ts';
import type { ContainerOptions } from '../options.ts';
import { randomDigits } from '../random-digits.ts';
import { viewRoot } from '../root-view.ts';
import { boundUsers } from './bind-users.ts';
import { cgroupMounts, devicesHierarchy, hierarchiesOf, isManaged, isUnified } from './cgroups.ts';
import { customMounts } from './custom-mounts.ts';
import { API_FILE_SYSTEMS, baseFileSystem, devices, selinuxFileSystem } from './file-systems.ts';
import { resolverConfiguration, timezone } from './host-configuration.ts';
import { journalSteps } from './journal.ts';
import { machineIdOf } from './machine-id.ts';
import { notifySocket } from './notify-socket.ts';
import { registrationOf } from './registration.ts';
import { rootMounts, VOLATILE_VAR } from './root.ts';
import {
  CONSOLE,
  type HostObject,
  isInRoot,
  must,
  NETWORK,
  type Plan,
  type PlanPart,
  ROOT,
  type Step,
  should,
} from './steps.ts';
import { mappedObjects, mayBeMapped, stepsWithUsers, usersOf } from './users.ts';

const NO_SCOPE =
  '--slice= and --property= have no effect but for limits and devices: the container gets no scope unit of its own';

/** Where -M alone looks for a root directory. */
export const MACHINES_DIRECTORY = '/var/lib/machines';
/** The signal that asks systemd to shut down: SIGRTMIN+3, see systemd(1). */
const SIGRTMIN_3 = SIG.RTMIN + 3;

/** What asks for limits, or for counting what is used. */
const LIMITS = [
  'memory',
  'memorySwap',
  'cpus',
  'cpuWeight',
  'tasks',
  'ioWeight',
  'ioMax',
  'stats',
] as const satisfies (keyof ContainerOptions)[];

const asksFor = (value: unknown) =>
  value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);

/**
 * Works out all that a container with these options needs: what buildPlan does, and what only some options ask for, whose
 * modules are loaded only then. Throws as buildPlan does.
 */
export async function planContainer(asked: ContainerOptions, console: Plan['console'], image?: Image): Promise<Plan> {
  const plan = await feasiblePlan(asked, console, image);
  if (asked.tmpfsSize === undefined) return plan;
  const { withTmpfsSize } = await import('./tmpfs-size.ts');
  return withTmpfsSize(plan, asked.tmpfsSize);
}

async function feasiblePlan(asked: ContainerOptions, console: Plan['console'], image?: Image): Promise<Plan> {
  if (process.geteuid!() === 0) return await completePlan(asked, console, image);
  const { optionsWithoutRoot, planWithoutRoot } = await import('./without-root.ts');
  const plan = await planWithoutRoot(await completePlan(optionsWithoutRoot(asked), console, image));
  if (!image) return plan;
  const { throughFuse } = await import('./fuse.ts');
  return throughFuse(plan);
}

async function completePlan(asked: ContainerOptions, console: Plan['console'], image?: Image): Promise<Plan> {
  const { options, devices, others } = await withPropertyLimits(impliedOptions(asked));
  const isLimited = LIMITS.some(key => asksFor(options[key])) || devices.length > 0;
  const { interfaceSteps } = options.networkVeth || hasInterfaces(options) ? await import('./network.ts') : {};
  let plan = buildPlan(asked, console, image, { interfaceSteps, isLimited, properties: others });
  if (isLimited) {
    const { withLimits } = await import('./limits.ts');
    plan = withLimits(plan, options, devices);
  }
  if (options.systemCallFilter || options.confinedSockets || options.suppressSync) {
    const { systemCallFilter } = await import('./system-call-filter.ts');
    plan.payload.filter = await systemCallFilter(options, plan.payload);
  }
  if (options.selinuxContext !== undefined || options.selinuxApifsContext !== undefined) {
    const { withSelinux } = await import('./selinux.ts');
    plan = withSelinux(plan, options);
  }
  return plan;
}

/**
 * The options with the limits that are among the properties, where options of the same meaning go before them; and the
 * properties that are none.
 */
async function withPropertyLimits(
  options: ContainerOptions,
): Promise<{ options: ContainerOptions; devices: UnitProperty[]; others: UnitProperty[] }> {
  const { properties = [], ioMax = [] } = options;
  if (properties.length === 0) return { options, devices: [], others: [] };
  const [{ parseUnitProperty }, { sortProperties }] = await Promise.all([
    import('../options/unit-properties.ts'),
    import('./limit-properties.ts'),
  ]);
  const all = properties.map(text => namingOption('--property=', () => parseUnitProperty(text)));
  const { limits, devices, others } = sortProperties(all);
  return { options: { ...limits, ...options, ioMax: [...(limits.ioMax ?? []), ...ioMax] }, devices, others };
}

/** What is worked out elsewhere, as not every container needs it; without it there is nothing of that. */
export interface Prepared {
  interfaceSteps?: ((options: ContainerOptions, machine: string) => Step[]) | undefined;
  isLimited?: boolean;
  /** Properties of the scope unit. */
  properties?: readonly UnitProperty[];
}

/**
 * Works out what a container with these options needs, but for limits and a filter of its own. `console` says whether it
 * gets a pseudo terminal; `image` is what imageOf() gives for them. Looks at the host (paths, device nodes, mounts),
 * changes nothing and needs no privileges. Throws an Error, or a UsageError for options that can't be.
 */
export function buildPlan(
  asked: ContainerOptions,
  console: Plan['console'],
  image?: Image,
  { interfaceSteps, isLimited = false, properties = [] }: Prepared = {},
): Plan {
  const options = impliedOptions(asked);
  checkOptions(options);
  if (image && options.template) throw new UsageError('--template= is for directories, not for disk images');
  const { directory, template } = image ? { directory: image.path } : rootDirectory(options);
  const volatile = options.volatile ?? 'no';
  // The other kinds of a volatile root write nothing to the tree.
  const ephemeral = options.ephemeral === true && (volatile === 'no' || volatile === 'state');
  const name = image ? directory.replace(/\.(raw|img)$/, '') : directory;
  const machine = options.machine || machineName(name, options.ephemeral ? `-${randomDigits()}` : '');
  const uuid = options.uuid && parseUuid(options.uuid);
  if (directory === '/' && volatile === 'no' && !ephemeral) {
    throw new Error(
      'starting a container on the root directory / needs --ephemeral or --volatile: it would write to the running system',
    );
  }

  const keptReadOnly = options.readOnly || volatile === 'state';
  // The directory will look like the template that it is made from.
  const looksLike = template ?? directory;
  // A disk image is not looked into before it is mounted.
  using tree = image ? undefined : viewRoot(looksLike);
  const root = tree ? rootMounts(directory, tree, volatile, ephemeral) : image!.rootMounts({ ...options, ephemeral });
  const readOnly = keptReadOnly || (!ephemeral && isReadOnly(root.hostObjects[ROOT]));
  const selinux = selinuxFileSystem();
  const hierarchies = options.boot || options.shareSystem ? hierarchiesOf('self') : [];
  const policing = devicesHierarchy(hierarchies);
  const custom = customMounts(options, { directory: looksLike, view: tree });
  const zone = timezone(options.timezone ?? 'auto', readOnly, volatile === 'yes' ? undefined : tree);
  const resolvConf = resolverConfiguration(options, readOnly);
  const notify = notifySocket(options);
  const users = usersOf(options);
  const bound = boundUsers(users?.bound ?? []);
  const hostObjects = {
    ...root.hostObjects,
    ...(console === 'pty' && { [CONSOLE]: { kind: 'console' } as const }),
    ...selinux.hostObjects,
    ...zone.hostObjects,
    ...resolvConf.hostObjects,
    ...custom.hostObjects,
    ...bound.hostObjects,
    ...networkNamespace(options),
    ...notify.hostObjects,
  };

  const lock = options.readOnly || volatile !== 'no' || image?.isReadOnly || ephemeral ? 'shared' : 'exclusive';
  const interfaces = interfaceSteps?.(options, machine) ?? [];
  const registration = registrationOf(options, {
    directory: image || ephemeral ? '' : directory,
    hostInterface: options.networkVeth ? hostInterface(interfaces) : undefined,
    machineId: () => (volatile === 'yes' ? undefined : tree && machineIdOf(tree)),
    properties,
    killSignal: killSignal(options).killSignal,
  });

  const hasScope = registration !== undefined && registration.as !== 'unit';
  const forScope = options.slice !== undefined || properties.length > 0;

  const steps: Step[] = [
    ...only(!options.shareSystem, should({ do: 'reset loginuid' })),
    must({ do: 'separate mounts' }),
    ...only(console === 'pty', must({ do: 'take console' })),
    ...only(!options.shareSystem, must({ do: 'set host name', name: options.hostname || machine })),
    // Before sysfs is mounted, which shows the network that it was mounted in.
    ...only(NETWORK in hostObjects, must({ do: 'join network namespace', object: NETWORK })),
    ...root.before,
    ...(image ? [] : custom.before),
    must({ do: 'enter root' }),
    ...root.steps,
    ...only(image !== undefined, must({ do: 'check tree' })),
    ...baseFileSystem(tree, volatile === 'yes'),
    ...only(keptReadOnly, must({ do: 'make read-only', path: '/', recursive: true })),
    ...only(volatile === 'state', VOLATILE_VAR),
    // Before /proc/sys is read-only, which it is with these.
    ...only(options.noUserNamespaces, must({ do: 'forbid user namespaces' })),
    ...API_FILE_SYSTEMS,
    ...selinux.steps,
    devices(),
    ...only(console === 'pty', must({ do: 'set up console' })),
    must({ do: 'set up kernel log' }),
    ...only(!options.shareSystem, must({ do: 'set boot id' })),
    ...zone.steps,
    ...resolvConf.steps,
    ...journalSteps(options, tree, lock === 'exclusive' && !image ? directory : undefined),
    ...only(options.privateNetwork, must({ do: 'bring loopback up' })),
    ...only(options.network === 'user', must({ do: 'connect network' })),
    ...interfaces,
    // What machined wants to know is there by now, and its device policy denies nothing that is still to be made.
    ...(registration ? [must({ do: 'register', ...registration })] : []),
    // After the last move between cgroups: where it is then is the root of what it sees.
    ...only(options.boot || (isLimited && !options.shareSystem), must({ do: 'separate cgroups' })),
    ...only(options.boot, ...cgroupMounts(hierarchies)),
    ...(image ? [...takenFromTree(custom), ...custom.before] : []),
    ...custom.steps,
    ...bound.steps,
    ...only(options.boot, must({ do: 'share mounts' })),
    ...notify.steps,
  ];

  const privateNetwork = (options.privateNetwork ?? false) && options.networkNamespacePath === undefined;
  return {
    machine,
    directory,
    isImage: image !== undefined,
    ...(template !== undefined && { template }),
    ephemeral,
    ...(users && { users }),
    privateNetwork,
    shareSystem: options.shareSystem ?? false,
    cgroups: hierarchies.filter(options.boot ? each => isManaged(each) || each === policing : isUnified),
    ...given(options, 'timeout'),
    lock,
    console,
    ...(forScope && !hasScope && { warnings: [NO_SCOPE] }),
    hostObjects: users && mayBeMapped(users) ? mappedObjects(hostObjects) : hostObjects,
    steps: users ? stepsWithUsers(steps, users, privateNetwork) : steps,
    payload: {
      command: options.command ?? [],
      boot: options.boot ?? false,
      asPid2: options.asPid2 ?? false,
      user: options.user ?? 'root',
      environment: [...notify.environment, ...(options.environment ?? [])],
      capabilities: retainedCapabilities(options),
      ambientCapabilities: capabilitySet(options.ambientCapabilities ?? []),
      noNewPrivileges: options.noNewPrivileges ?? false,
      credentials: options.credentials ?? [],
      files: options.files ?? [],
      rlimits: options.rlimits ?? [],
      ...(uuid && { uuid }),
      ...(image?.personality && { personality: image.personality }),
      ...given(options, 'chdir', 'cpuAffinity', 'oomScoreAdjust', 'personality'),
    },
    ...killSignal(options),
  };
}

const isReadOnly = (object: HostObject | undefined) => object?.kind === 'file system' && object.readOnly;

/** What is asked for of an image's tree can be opened only when that is mounted. */
const takenFromTree = ({ hostObjects }: PlanPart): Step[] =>
  Object.keys(hostObjects)
    .filter(key => isInRoot(hostObjects[key]!))
    .map(object => must({ do: 'take', object }));

const only = (condition: boolean | undefined, ...steps: Step[]): Step[] => (condition ? steps : []);

function networkNamespace({ networkNamespacePath: path }: ContainerOptions): Record<string, HostObject> {
  return path === undefined ? {} : { [NETWORK]: { kind: 'network namespace', path } };
}

/** The options of these names that are set. */
function given<K extends keyof ContainerOptions>(options: ContainerOptions, ...keys: K[]): Pick<ContainerOptions, K> {
  return Object.fromEntries(keys.filter(key => options[key] !== undefined).map(key => [key, options[key]])) as Pick<
    ContainerOptions,
    K
  >;
}

/** The one by which the host reaches the container: its end of the veth link, or the bridge that this is on. */
function hostInterface(interfaces: readonly Step[]): string | undefined {
  const link = interfaces.map(({ action }) => action).find(action => action.do === 'make veth link');
  return link?.bridge?.name ?? link?.name;
}

function killSignal({ killSignal: asked, boot }: ContainerOptions): { killSignal?: number } {
  if (asked !== undefined) return { killSignal: asked };
  return boot ? { killSignal: SIGRTMIN_3 } : {};
}

/**
 * The root directory's canonical path, and that of the template where it is missing and has one. Throws when there is
 * no such directory.
 */
function rootDirectory({ directory, machine, template }: ContainerOptions): { directory: string; template?: string } {
  const asked = directory ?? (machine ? `${MACHINES_DIRECTORY}/${machine}` : process.cwd());
  // A symlink to nowhere is something, too, that is not replaced.
  if (template === undefined || hostHas(asked) || readLink(asked) !== undefined) {
    return { directory: existingDirectory('opening the root directory', asked) };
  }
  const from = existingDirectory('opening the template', template);
  const { parent, name } = splitPath(asked.startsWith('/') ? asked : `${process.cwd()}/${asked}`);
  const above = existingDirectory(`making ${asked}: opening the directory above it`, parent);
  return { directory: `${above === '/' ? '' : above}/${name}`, template: from };
}

/** A directory's canonical path. Throws an Error that says what was being done. */
function existingDirectory(doing: string, path: string): string {
  try {
    const status = hostStatus(path);
    if (!status) throw new Error('no such directory');
    if (!isDirectory(status)) throw new Error('it is not a directory');
    return canonicalPath(path)!;
  } catch (error) {
    throw new Error(`${doing} ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * A machine name from the name of the root directory or image, with something behind it; that of / is the host's. Throws
 * when nothing of it can be used.
 */
function machineName(directory: string, suffix: string): string {
  const source = directory === '/' ? hostName() : splitPath(directory).name;
  const labels = source
    .replace(/[^a-zA-Z0-9.-]/g, '')
    // As systemd-nspawn does it, whose names for network interfaces depend on the machine's.
    .replace(/-\.+/g, '-')
    .split('.')
    .map(label => label.replace(/^-+|-+$/g, ''));
  const name = labels
    .filter(Boolean)
    .join('.')
    .slice(0, 64 - suffix.length)
    .replace(/[.-]+$/, '');
  if (!name) throw new Error(`naming the machine after ${source}: nothing of it can be part of a name; use --machine=`);
  return parseHostname(`${name}${suffix}`)!;
}
