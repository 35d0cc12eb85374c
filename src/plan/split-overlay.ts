/**
 * A volatile or ephemeral root for who is not root. In a user namespace mounts that came along are locked together, and
 * a layer below which others are is refused: clone_private_mount() in fs/namespace.c. So there is an overlay for each of
 * the outermost directories without mounts below them, in a root that is made anew. Like one overlay it has nothing of
 * those mounts.
 */
import { AT, O } from '../../syscalls/constants.ts';
import { allEntries, DT, nameText } from '../../syscalls/directory.ts';
import { owned } from '../../syscalls/fd.ts';
import { fileType } from '../../syscalls/file.ts';
import type { MountOption } from '../../syscalls/mount.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { hostStatus, mayList, readLink } from '../host.ts';
import { randomDigits } from '../random-digits.ts';
import { API_PATHS } from './file-systems.ts';
import { type HostObject, must, type PlanPart, ROOT, type Step } from './steps.ts';

const PERMISSIONS = 0o7777;
/** In each layer: what has been written. */
export const UPPER = 'upper';
/** The layer that is the root directory itself. */
export const WHOLE = 'root';

/** Where what is written goes: into memory, or to the layers of an ephemeral root. */
interface Writing {
  root: (path: string) => HostObject;
  part: (path: string, target: string) => HostObject;
  work: () => string;
  options: MountOption[];
}

const IN_MEMORY: Writing = {
  root: () => ({ kind: 'scratch', readOnly: false }),
  part: () => ({ kind: 'scratch', readOnly: false }),
  work: () => 'work',
  options: [],
};

const TO_LAYERS: Writing = {
  root: path => ({ kind: 'layer', name: WHOLE, path }),
  part: (path, target) => ({ kind: 'layer', name: `parts${target}`, path }),
  // What is volatile wants one that no earlier overlay has used.
  work: () => `work-${randomDigits()}`,
  options: [{ key: 'volatile' }],
};

/**
 * The host objects and steps for the tree at `directory`; `mountPoints` are the paths of mounts below it. `lasts`: what is
 * written is there again when the container restarts.
 */
export function splitOverlay(directory: string, mountPoints: readonly string[], lasts: boolean): PlanPart {
  const writing = lasts ? TO_LAYERS : IN_MEMORY;
  const hostObjects: Record<string, HostObject> = { [ROOT]: writing.root(directory) };
  const before: Step[] = [];
  const steps: Step[] = [];
  const above = directory === '/' ? '' : directory;
  const points = new Set(mountPoints);
  const hasMountsBelow = (path: string) => mountPoints.some(point => point.startsWith(`${path}/`));

  const addOverlay = (path: string, target: string, mode: number) => {
    const [overlay, lower, upper] = [`overlay of ${path}`, `lower ${path}`, `upper ${path}`];
    hostObjects[lower] = { kind: 'tree', path, inRoot: false, recursive: false, readOnly: false };
    hostObjects[upper] = writing.part(path, target);
    const writable = { object: upper, directory: UPPER, work: writing.work(), mode };
    before.push(must({ do: 'make overlay', overlay, lower: [lower], upper: writable, options: writing.options }));
    steps.push(must({ do: 'attach', object: overlay, path: target }));
  };

  const addDirectory = (path: string, target: string) => {
    const status = hostStatus(path);
    // It has gone meanwhile.
    if (!status) return;
    const mode = status.mode & PERMISSIONS;
    // Neither what nobody may look at, nor what a mount on it hides, nor what the container has its own of.
    const staysEmpty = !mayList(path) || points.has(path) || API_PATHS.some(api => api === target);
    if (!staysEmpty && !hasMountsBelow(path)) {
      addOverlay(path, target, mode);
      return;
    }
    steps.push(must({ do: 'make directories', directories: [{ path: target, mode }] }));
    if (!staysEmpty) addEntries(path, target);
  };

  const addEntries = (path: string, target: string) => {
    for (const { name, type } of entriesOf(path || '/')) {
      const [inside, shown] = [`${path}/${name}`, `${target}/${name}`];
      const link = type === DT.LNK ? readLink(inside) : undefined;
      if (link !== undefined) steps.push(must({ do: 'make symlink', path: shown, target: link }));
      if (type === DT.DIR) addDirectory(inside, shown);
      if (type !== DT.REG) continue;
      hostObjects[inside] = { kind: 'tree', path: inside, inRoot: false, recursive: false, readOnly: true };
      steps.push(must({ do: 'attach', object: inside, path: shown, isFile: true }));
    }
  };
  addEntries(above, '');
  return { hostObjects, before, steps };
}

/** What is in a directory, by name. */
function entriesOf(path: string): { name: string; type: number }[] {
  using directory = owned(syscall('openat', AT.FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));
  const entries = allEntries(directory.fd).map(({ name, type }) => ({ name: nameText(name), type }));
  return entries
    .map(({ name, type }) => ({ name, type: type === DT.UNKNOWN ? typeOf(`${path}/${name}`) : type }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Where the file system doesn't tell: DT_ numbers are those of st_mode, without permissions. */
function typeOf(path: string): number {
  if (readLink(path) !== undefined) return DT.LNK;
  const status = hostStatus(path);
  return status ? fileType(status.mode) >> 12 : DT.UNKNOWN;
}
