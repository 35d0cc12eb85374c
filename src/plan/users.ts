/**
 * Containers with users of their own. Two agents set them up: one with the rights of the host makes the root and nearly
 * all mounts, which the kernel locks when the other one, in the user namespace, gets its copy of them: so root in the
 * container can neither take them away nor make them writable. See mount_namespaces(7), "Restrictions on mount
 * namespaces". What is left for the other one belongs to its namespaces.
 */
import { hasUsers } from '../options/check.ts';
import { ownershipOf, USUAL_COUNT } from '../options/users.ts';
import type { ContainerOptions } from '../options.ts';
import { hostUsers } from './bind-users.ts';
import {
  type HostObject,
  isInRoot,
  must,
  ROOT,
  type Step,
  type StepAction,
  type Users,
  VOLATILE_LOWER,
} from './steps.ts';

type Mount = Extract<StepAction, { do: 'mount' }>;

/** Which users a container has; undefined for the host's. */
export function usersOf(options: ContainerOptions): Users | undefined {
  if (!hasUsers(options)) return undefined;
  const { privateUsers: asked } = options;
  const ownership = ownershipOf(options);
  const bound = hostUsers(options.bindUsers ?? []);
  if (typeof asked === 'object') return { ...asked, ownership, bound };
  const base = asked === 'identity' ? 0 : asked === 'pick' ? 'pick' : 'of tree';
  return { base, count: USUAL_COUNT, ownership, bound };
}

/** Whether the tree may be shown as belonging to them, without being changed. */
export const mayBeMapped = ({ ownership }: Users): boolean => ownership === 'map' || ownership === 'auto';

/** The same host objects, where those of the container's own tree are to be shown as belonging to its users. */
export function mappedObjects(objects: Record<string, HostObject>): Record<string, HostObject> {
  const ofTree = (key: string, object: HostObject) =>
    isInRoot(object) ||
    object.kind === 'file system' ||
    object.kind === 'ephemeral' ||
    (object.kind === 'tree' && OWN.includes(key));
  return Object.fromEntries(
    Object.entries(objects).map(([key, object]) => [key, ofTree(key, object) ? { ...object, mapped: true } : object]),
  );
}
const OWN: readonly string[] = [ROOT, VOLATILE_LOWER];

/** Puts the steps into the order in which the two agents do them; see above. */
export function stepsWithUsers(steps: readonly Step[], { count }: Users, privateNetwork: boolean): Step[] {
  const outside: Step[] = [];
  const inside: Step[] = [];
  const mounts: Mount[] = [];
  // They may be mounted only where all of another one can be seen: mount_too_revealing() in fs/namespace.c.
  const guarded = privateNetwork ? ['proc', 'sysfs'] : ['proc'];
  const places = privateNetwork ? ['/proc', '/sys', '/dev/pts'] : ['/proc', '/sys/fs/cgroup', '/dev/pts'];
  for (const step of steps) {
    const { action } = step;
    // Done before there are two.
    if (action.do === 'reset loginuid' || action.do === 'join network namespace') continue;
    if (action.do === 'enter root') {
      const seen = privateNetwork ? ['/proc', '/sys'] : ['/proc'];
      outside.push({ ...step, action: { ...action, seen } });
    } else if (action.do === 'bring loopback up' && !privateNetwork) {
      // In a network namespace that was there before, the container has no rights.
      outside.push(step);
    } else if (action.do === 'hide') {
      const below = action.paths.filter(path => isPathBelow(path, places));
      const others = action.paths.filter(path => !below.includes(path));
      if (others.length > 0) outside.push({ ...step, action: { ...action, paths: others } });
      if (below.length > 0) inside.push({ ...step, action: { ...action, paths: below } });
    } else if (action.do === 'mount' && guarded.includes(action.type)) mounts.push(action);
    else if (OF_NAMESPACES.includes(action.do) || isBelow(action, places)) inside.push(withinRange(step, count));
    else outside.push(step);
  }
  const objects = inside.flatMap(({ action }) => ('object' in action ? [action.object] : []));
  return [...outside, must({ do: 'hand over', objects }), must({ do: 'enter user namespace', mounts }), ...inside];
}

const OF_NAMESPACES: readonly StepAction['do'][] = [
  'separate cgroups',
  'set host name',
  'forbid user namespaces',
  'set up kernel log',
  'set boot id',
  'bring loopback up',
  'connect network',
  'share mounts',
];

const isBelow = (action: StepAction, places: readonly string[]): boolean =>
  'path' in action && isPathBelow(action.path, places);
const isPathBelow = (path: string, places: readonly string[]): boolean =>
  places.some(place => `${path}/`.startsWith(`${place}/`));

/** Without a group for terminals that the container doesn't have. */
function withinRange(step: Step, count: number): Step {
  const { action } = step;
  if (action.do !== 'mount') return step;
  const options = action.options.filter(({ key, value }) => key !== 'gid' || Number(value) < count);
  return { ...step, action: { ...action, options } };
}
