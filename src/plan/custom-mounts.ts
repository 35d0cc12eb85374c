/** --bind=, --bind-ro=, --tmpfs=, --overlay=, --overlay-ro= and --inaccessible=, in this order. */
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import { splitPath } from '../../syscalls/file.ts';
import { canonicalPath } from '../host.ts';
import { UsageError } from '../options/usage-error.ts';
import type { Bind, ContainerOptions, Overlay, Tmpfs } from '../options.ts';
import type { RootView } from '../root-view.ts';
import { parseMountOptions } from './mount-options.ts';
import { type HostObject, must, type PlanPart, type Step, type UpperLayer } from './steps.ts';

/** The container's own tree: its path on the host, and what is in it. */
export interface Tree {
  directory: string;
  /** Undefined for a disk image. */
  view: RootView | undefined;
}

/** The host objects and steps of the mounts that were asked for. Throws UsageError. */
export function customMounts(options: ContainerOptions, tree: Tree): PlanPart {
  refuseRoot(options);
  const part: PlanPart = { hostObjects: {}, before: [], steps: [] };
  const binds = options.binds ?? [];
  for (const bind of [...binds.filter(({ readOnly }) => !readOnly), ...binds.filter(({ readOnly }) => readOnly)]) {
    const object = add(part, bindObject(bind));
    const idmap = bind.source === '' ? undefined : bind.idmap;
    part.steps.push(must({ do: 'bind', object, path: withoutSlash(bind.destination), ...(idmap && { idmap }) }));
  }
  part.steps.push(...(options.tmpfs ?? []).map(tmpfsStep));
  for (const overlay of options.overlays ?? []) addOverlay(part, overlay, tree);
  const { inaccessible: paths = [] } = options;
  if (paths.length > 0) part.steps.push(must({ do: 'hide', paths }));
  return part;
}

/** A mount over the root directory would not be seen. Throws UsageError. */
function refuseRoot({ binds = [], tmpfs = [], overlays = [], inaccessible = [] }: ContainerOptions): void {
  const destinations = [...[...binds, ...overlays].map(each => each.destination), ...tmpfs.map(each => each.path)];
  if (![...destinations, ...inaccessible].some(path => /^[/.]*$/.test(path))) return;
  throw new UsageError(
    "a mount can't be made over the root directory of the container; use --directory= or --volatile=",
  );
}

/** A file can be mounted, and made to mount on, only where the path has no slash at its end. */
const withoutSlash = (path: string): string => path.replace(/\/+$/, '');

/** Adds a host object under a key of its own, and returns the key. */
function add({ hostObjects }: PlanPart, object: HostObject): string {
  const key = `custom ${Object.keys(hostObjects).length}`;
  hostObjects[key] = object;
  return key;
}

/** A path as options write it: '+' in front means inside the container's root directory. */
const pathOf = (source: string) =>
  source.startsWith('+') ? { path: source.slice(1), inRoot: true } : { path: source, inRoot: false };

const bindObject = ({ source, readOnly, recursive }: Bind): HostObject =>
  source === '' ? { kind: 'scratch', readOnly } : { kind: 'tree', ...pathOf(source), recursive, readOnly };

function tmpfsStep({ path, options }: Tmpfs): Step {
  const parsed = parseMountOptions(options);
  const attributes = ((MOUNT_ATTR.NODEV | MOUNT_ATTR.STRICTATIME) & ~parsed.clear) | parsed.set;
  return must({ do: 'mount', type: 'tmpfs', path, options: parsed.options, attributes });
}

function addOverlay(part: PlanPart, { lower, upper, destination }: Overlay, tree: Tree): void {
  const layer = (path: string) => add(part, { kind: 'tree', ...pathOf(path), recursive: false, readOnly: false });
  const overlay = `overlay ${part.before.length}`;
  part.before.push(
    must({
      do: 'make overlay',
      overlay,
      lower: lower.map(layer),
      ...(upper !== undefined && { upper: upperLayer(part, upper, tree) }),
    }),
  );
  part.steps.push(must({ do: 'bind', object: overlay, path: withoutSlash(destination) }));
}

/**
 * The writable layer. The kernel wants its working directory on the same mount, so the object is the directory above,
 * and the working directory stands beside the layer.
 */
function upperLayer(part: PlanPart, upper: string, { directory, view }: Tree): UpperLayer {
  if (upper === '')
    return { object: add(part, { kind: 'scratch', readOnly: false }), directory: 'upper', work: 'work' };
  const { path, inRoot } = pathOf(upper);
  // A layer that is not there yet is made.
  if (inRoot && !view) {
    throw new Error(`making an overlay: its upper layer ${path} can't be in a disk image; that is not supported`);
  }
  const real = inRoot
    ? view!.canonicalPath(path)?.slice(directory === '/' ? 0 : directory.length)
    : canonicalPath(path);
  const { parent, name } = splitPath(real ?? path);
  if (name === '')
    throw new Error('making an overlay: its upper layer is /, which has no room for a working directory beside it');
  return {
    object: add(part, { kind: 'tree', path: parent, inRoot, recursive: false, readOnly: false }),
    directory: name,
    work: `.#${name}${crypto.randomUUID().slice(0, 8)}`,
  };
}
