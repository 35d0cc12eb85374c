/**
 * Containers of ordinary users: what they can't have and why, whose ids they get, and which steps are done in another
 * way. The agent that makes the mounts has no rights of the host's: it is root of a user namespace, in which that of the
 * container is.
 */
import process from 'node:process';
import type { IdRange } from '../../syscalls/idmap.ts';
import { hostStatus, mayWrite, readHostFile } from '../host.ts';
import { LimitError } from '../limit-error.ts';
import { hasInterfaces } from '../options/check.ts';
import { UsageError } from '../options/usage-error.ts';
import { USUAL_COUNT } from '../options/users.ts';
import type { ContainerOptions } from '../options.ts';
import { viewRoot } from '../root-view.ts';
import { hasHelpers, ownSubordinates, type Subordinate } from '../users/subordinate.ts';
import { cgroupDirectory, hasHostSystemd, isManaged, tryDelegation } from './cgroups.ts';
import {
  isInRoot,
  isOnlyCounted,
  type Plan,
  type PlanPart,
  ROOT,
  type Step,
  type Users,
  VOLATILE_LOWER,
} from './steps.ts';
import { mountPointsBelow } from './submounts.ts';

/** What takes root, why, and what does instead. */
const REFUSALS: readonly [(o: ContainerOptions) => unknown, string][] = [
  [
    o => o.networkVeth || hasInterfaces(o),
    'making and moving network interfaces of the host takes root; --network=user and --private-network do without',
  ],
  [
    o => o.networkNamespacePath !== undefined,
    '--network-namespace-path= takes root: only whoever owns a network namespace may enter it; --network=user and --private-network make one',
  ],
  [o => o.shareSystem, '--share-system takes root: the container would have no rights over what it shares'],
  [o => o.template !== undefined, '--template= takes root: it keeps the owners of files'],
  [o => o.register, "--register=yes takes root: systemd-machined registers no others' containers"],
  [o => o.slice !== undefined, '--slice= takes root; systemd-run --user --slice= starts nspawn in one'],
  [
    o => o.bindUsers?.length,
    "--bind-user= takes root: it gives the container other users' ids; --bind= shows one's own files as root's",
  ],
  [
    o => o.binds?.some(({ idmap }) => idmap),
    "the bind options idmap, rootidmap and owneridmap take root: nobody else may show files as others'; one's own are root's without them",
  ],
  [
    o => o.linkJournal === 'guest' || o.linkJournal === 'host',
    "--link-journal= takes root: the journal is the system's; -j goes on without",
  ],
  [
    o => o.privateUsers === 'no',
    '--private-users=no takes root: anybody else may mount things only in a user namespace; leave it out',
  ],
  [
    o => o.privateUsers === 'identity',
    "--private-users=identity takes root: these are others' ids; without it the user's own are root's",
  ],
  [
    o => o.usersOwnership === 'chown' || o.usersOwnership === 'map',
    "--private-users-ownership=chown and map take root; files that belong to whoever starts nspawn are root's in the container",
  ],
];

/** The options of a container that an ordinary user asks for, with the users that it gets. Throws UsageError. */
export function optionsWithoutRoot(options: ContainerOptions): ContainerOptions {
  const refusal = REFUSALS.find(([applies]) => applies(options));
  if (refusal) throw new UsageError(refusal[1]);
  const { privateUsers } = options;
  const own = { ...options, register: false, keepUnit: true, linkJournal: 'no' } as const;
  if (typeof privateUsers === 'object') return own;
  const hasRange = hasManyIds();
  if (privateUsers && !hasRange) {
    throw new UsageError(
      `--private-users=${privateUsers} takes ranges for this user in /etc/subuid and /etc/subgid, and the commands newuidmap and newgidmap (Debian's package uidmap)`,
    );
  }
  return { ...own, privateUsers: { base: ownId(), count: hasRange ? USUAL_COUNT : 1 }, usersOwnership: 'off' };
}

/** Whether an ordinary user's container can have users beside root. */
export const hasManyIds = (): boolean => ownSubordinates() !== undefined && hasHelpers();

const ownId = () => process.geteuid!();

/** The plan for such options, as it can be carried out. Throws UsageError. */
export async function planWithoutRoot(plan: Plan): Promise<Plan> {
  const users = { ...plan.users!, maps: ownMaps(plan.users!, plan) };
  const split = await splitRoot(plan);
  const cgroups = plan.cgroups.filter(each => mayWrite(cgroupDirectory(each)));
  if (plan.limits && !isOnlyCounted(plan) && cgroups.length < plan.cgroups.length) {
    throw new LimitError(`setting limits: this user may not make cgroups here; ${whatGivesCgroups()}`, {
      isAboutAll: true,
    });
  }
  const warnings = plan.payload.boot && !cgroups.some(isManaged) && hasSystemd(plan) ? [noCgroups()] : [];
  const hostObjects = { ...plan.hostObjects, ...split?.hostObjects };
  const steps = plan.steps.flatMap((step): Step[] => {
    const { action } = step;
    // The host's are seen in its /sys then, and can't be written to.
    if (cgroups.length === 0 && 'path' in action && action.path.startsWith(CGROUPS)) return [];
    switch (action.do) {
      case 'make overlay':
        return action.overlay === ROOT && split ? [] : [withUserAttributes(step)];
      case 'enter root':
        // What is there can be seen as it is: who can't mount it anew can't uncover it either.
        return [
          ...(split?.before ?? []).map(withUserAttributes),
          { ...step, action: { ...action, seen: [] } },
          ...(split?.steps ?? []),
        ];
      case 'fill /dev': {
        const bound = action.nodes.map(({ name }) => {
          const [object, path] = [`the host's /dev/${name}`, `/dev/${name}`];
          hostObjects[object] = { kind: 'tree', path, inRoot: false, recursive: false, readOnly: false };
          return { name, object };
        });
        return [{ ...step, action: { ...action, nodes: [], bound } }];
      }
      case 'take console':
        // It is one of the host's.
        return [];
      case 'mount': {
        if (action.type !== 'sysfs') return [step];
        // It can be mounted only by who owns the network namespace. The one of the private network is done elsewhere.
        const object = "the host's /sys";
        hostObjects[object] = { kind: 'tree', path: '/sys', inRoot: false, recursive: true, readOnly: true };
        return [{ ...step, action: { do: 'attach', object, path: action.path } }];
      }
      default:
        return [step];
    }
  });
  if (split) {
    delete hostObjects[VOLATILE_LOWER];
    delete hostObjects['volatile upper'];
  }
  return { ...plan, warnings: [...(plan.warnings ?? []), ...warnings], users, cgroups, hostObjects, steps };
}
const CGROUPS = '/sys/fs/cgroup';

const whatGivesCgroups = (): string =>
  hasHostSystemd()
    ? tryDelegation()
    : 'it takes a cgroup that root has given to this user: cgroups(7), "Cgroups delegation"';

const noCgroups = (): string =>
  `systemd as the init takes cgroups, and this user may not make any here; ${whatGivesCgroups()}`;

function hasSystemd({ directory, isImage }: Plan): boolean {
  if (isImage) return false;
  using tree = viewRoot(directory);
  return tree.has('/usr/lib/systemd/systemd') || tree.has('/lib/systemd/systemd');
}

/** In a user namespace an overlay has no attributes of the trusted kind: overlayfs.rst, "User xattr". */
function withUserAttributes(step: Step): Step {
  const { action } = step;
  if (action.do !== 'make overlay' || !action.upper) return step;
  return { ...step, action: { ...action, options: [...(action.options ?? []), { key: 'userxattr' }] } };
}

const mountPoints = (directory: string): string[] =>
  mountPointsBelow(directory, readHostFile('/proc/self/mountinfo').toString());

/**
 * A volatile or ephemeral root where one overlay would have mounts below it: the kernel makes none of a directory with
 * mounts in it for who could not unmount them.
 */
async function splitRoot({ hostObjects, directory, ephemeral, isImage, steps }: Plan): Promise<PlanPart | undefined> {
  if (ephemeral && isImage) {
    throw new UsageError('--ephemeral of a disk image takes root; --volatile=overlay does without');
  }
  if (!ephemeral && !(VOLATILE_LOWER in hostObjects)) return undefined;
  const points = mountPoints(directory);
  if (points.length === 0) return undefined;
  if (ephemeral && Object.values(hostObjects).some(isInRoot)) {
    throw new UsageError(
      `paths of the ephemeral root (+/…) take root for ${directory}, as file systems are mounted in it`,
    );
  }
  const isWritten = !steps.some(({ action }) => action.do === 'make read-only' && action.path === '/');
  const { splitOverlay } = await import('./split-overlay.ts');
  return splitOverlay(directory, points, ephemeral && isWritten);
}

/**
 * The container's ids. Its root is whoever starts it, and its other users have this one's subordinate ids; on a tree that
 * belongs to a subordinate id, root has that one and the others those behind it.
 */
function ownMaps({ base, count }: Users, { directory, isImage }: Plan): { uids: IdRange[]; gids: IdRange[] } {
  const [uid, gid] = [ownId(), process.getegid!()];
  if (base === uid && count === 1) return { uids: one(uid), gids: one(gid) };
  const own = ownSubordinates();
  if (base !== uid || !own) {
    const first = base as number;
    if (own && has(own.uids, first, count) && has(own.gids, first, count)) {
      return { uids: fromZero(first, count), gids: fromZero(first, count) };
    }
    throw new UsageError(
      `--private-users=${first}:${count} takes ids that /etc/subuid and /etc/subgid give to this user, or without them its own alone: ${uid}:1`,
    );
  }
  const { uids, gids } = own;
  // Files in an image have owners of their own.
  const owner = isImage ? { uid, gid } : hostStatus(directory)!;
  // A user's groups may begin with another number than the users.
  const group = has(gids, owner.gid, 1) ? owner.gid : owner.uid;
  if (has(uids, owner.uid, 1) && has(gids, group, 1)) {
    const most = Math.min(count, endOf(uids) - owner.uid, endOf(gids) - group);
    return { uids: fromZero(owner.uid, most), gids: fromZero(group, most) };
  }
  const others = Math.min(count - 1, uids.count, gids.count);
  const behind = ({ start }: Subordinate): IdRange => ({ inside: 1, outside: start, count: others });
  return { uids: [...one(uid), behind(uids)], gids: [...one(gid), behind(gids)] };
}

const fromZero = (outside: number, count: number): IdRange[] => [{ inside: 0, outside, count }];
const one = (outside: number): IdRange[] => fromZero(outside, 1);
const endOf = ({ start, count }: Subordinate): number => start + count;
const has = (range: Subordinate, first: number, count: number): boolean =>
  first >= range.start && first + count <= endOf(range);
