/**
 * A volatile root for who is not root. In a user namespace mounts that came along are locked together, and a layer below
 * which others are is refused: clone_private_mount() in fs/namespace.c. So there is an overlay for each of the outermost
 * directories without mounts below them, in a root that is made anew. Like one overlay it has nothing of those mounts.
 */
import { AT, O, S } from '../../syscalls/constants.ts';
import { allEntries, nameText } from '../../syscalls/directory.ts';
import { owned } from '../../syscalls/fd.ts';
import { fileType } from '../../syscalls/file.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { hostStatus, mayRead, readLink } from '../host.ts';
import { API_PATHS } from './file-systems.ts';
import { type HostObject, must, type PlanPart, ROOT, type Step } from './steps.ts';

const PERMISSIONS = 0o7777;

/** The host objects and steps for the tree at `directory`; `mountPoints` are the paths of mounts below it. */
export function splitOverlay(directory: string, mountPoints: readonly string[]): PlanPart {
  const hostObjects: Record<string, HostObject> = { [ROOT]: { kind: 'scratch', readOnly: false } };
  const before: Step[] = [];
  const steps: Step[] = [];
  const above = directory === '/' ? '' : directory;
  const points = new Set(mountPoints);
  const hasMountsBelow = (path: string) => mountPoints.some(point => point.startsWith(`${path}/`));

  const addOverlay = (path: string, target: string, mode: number) => {
    const [overlay, lower, upper] = [`overlay of ${path}`, `lower ${path}`, `upper ${path}`];
    hostObjects[lower] = { kind: 'tree', path, inRoot: false, recursive: false, readOnly: false };
    hostObjects[upper] = { kind: 'scratch', readOnly: false };
    const writable = { object: upper, directory: 'upper', work: 'work', mode };
    before.push(must({ do: 'make overlay', overlay, lower: [lower], upper: writable }));
    steps.push(must({ do: 'attach', object: overlay, path: target }));
  };

  const addEntries = (path: string, target: string) => {
    for (const name of namesIn(path || '/')) {
      const [inside, shown] = [`${path}/${name}`, `${target}/${name}`];
      const link = readLink(inside);
      if (link !== undefined) {
        steps.push(must({ do: 'make symlink', path: shown, target: link }));
        continue;
      }
      const status = hostStatus(inside);
      const type = status && fileType(status.mode);
      if (type === S.IFREG) {
        hostObjects[inside] = { kind: 'tree', path: inside, inRoot: false, recursive: false, readOnly: true };
        steps.push(must({ do: 'bind', object: inside, path: shown }));
      }
      if (type !== S.IFDIR) continue;
      const mode = status!.mode & PERMISSIONS;
      // Neither what nobody may look at, nor what a mount on it hides, nor what the container has its own of.
      const staysEmpty = !mayRead(inside) || points.has(inside) || API_PATHS.some(path => path === shown);
      if (!staysEmpty && !hasMountsBelow(inside)) {
        addOverlay(inside, shown, mode);
        continue;
      }
      steps.push(must({ do: 'make directories', directories: [{ path: shown, mode }] }));
      if (!staysEmpty) addEntries(inside, shown);
    }
  };
  addEntries(above, '');
  return { hostObjects, before, steps };
}

function namesIn(path: string): string[] {
  using directory = owned(syscall('openat', AT.FDCWD, path, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0));
  return allEntries(directory.fd)
    .map(({ name }) => nameText(name))
    .sort();
}
