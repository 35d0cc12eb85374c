/** What an ordinary user's container gets of the host, opened by an agent that may mount. */
import process from 'node:process';
import type { Agent } from '../../syscalls/agent/agent.ts';
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, MOUNT_ATTR, MS, O } from '../../syscalls/constants.ts';
import { makeDirectories, openInRoot } from '../../syscalls/file.ts';
import { cloneTree, newMount, setMountAttributes } from '../../syscalls/mount.ts';
import { setUmask } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { attempt, type Piece, runPieces } from '../execute/attempt.ts';
import type { Origins } from '../execute/host-objects.ts';
import { readLink } from '../host.ts';
import { describeObject, type HostObject } from '../plan/steps.ts';

/** Where objects come from. */
export interface OriginsInAgent extends Pick<Origins, 'ephemeral' | 'terminal' | 'notifySocket'> {
  /** The container's root directory, by its path or as a descriptor of the agent's. */
  root: string | number;
}

/** The calls that open an object; `made` is the one whose result is its descriptor. */
interface Opening {
  calls: Call[];
  made: Call;
}

/**
 * Has an agent open objects, after it has done what `before` says; `fds` gets its descriptors. Throws an Error that names
 * what could not be opened.
 */
export function openInAgent(
  agent: Agent,
  objects: Readonly<Record<string, HostObject>>,
  origins: OriginsInAgent,
  fds: Map<string, number>,
  before: readonly Piece[],
): void {
  const pieces: Piece[] = [...before];
  const made = new Map<Call, string>();
  for (const [key, object] of Object.entries(objects)) {
    const doing = `opening ${describeObject(object, key)}`;
    if (object.kind === 'notify socket') {
      fds.set(
        key,
        attempt(doing, () => agent.sendFds([origins.notifySocket!.fd])[0]!),
      );
      continue;
    }
    const opening = attempt(doing, () => openingOf(object, origins));
    pieces.push({ doing, calls: opening.calls });
    made.set(opening.made, key);
  }
  const results = runPieces(pieces, calls => agent.run(calls));
  for (const [i, each] of pieces.flatMap(({ calls }) => calls).entries()) {
    const key = made.get(each);
    if (key !== undefined) fds.set(key, results[i]!);
  }
}

function openingOf(object: HostObject, { root, ephemeral, terminal }: OriginsInAgent): Opening {
  switch (object.kind) {
    case 'tree':
      return treeOf(object, root);
    case 'scratch': {
      const options = [{ key: 'mode', value: '0755' }, ...(object.options ?? [])];
      const mount = newMount('tmpfs', options, object.readOnly ? MOUNT_ATTR.RDONLY : MOUNT_ATTR.STRICTATIME);
      return { calls: [...mount, call('close', resultOf(mount[0]!))], made: mount.at(-1)! };
    }
    case 'console':
      return consoleOf(terminal!.console.fd);
    case 'ephemeral':
      return copyOf(root as number, '');
    case 'layer':
      return layerOf(object.name, ephemeral!.layers!);
    case 'file system':
    case 'network namespace':
    case 'notify socket':
      throw new Error('only root can have it');
  }
}

/** The terminal of this user, which is root's of the agent's namespace from then on. */
function consoleOf(slave: number): Opening {
  // No user namespace of this user's has a number for the terminals' group, and root gives away only what it can name.
  syscall('fchown', slave, KEEP, process.getegid!());
  // By its name: what this process has open is of other mounts than the agent's.
  const { calls, made } = copyOf(AT.FDCWD, readLink(`/proc/self/fd/${slave}`)!);
  return { calls: [...calls, call('fchownat', resultOf(made), '', 0, 0, AT.EMPTY_PATH)], made };
}

/** chown(2): an owner or a group that stays. */
const KEEP = -1;

function copyOf(at: number, path: string): Opening {
  const made = cloneTree(at, path, { recursive: false });
  return { calls: [made], made };
}

/** A directory in that of the layers, which is made unless an earlier container had it. */
function layerOf(name: string, layers: string): Opening {
  const top = call('openat', AT.FDCWD, layers, O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  const place = openInRoot(top, name, O.PATH | O.DIRECTORY);
  const made = cloneTree(place, '', { recursive: false });
  const making = [setUmask(0), top, ...makeDirectories(top, name, 0o755), place];
  return { calls: [...making, made, ...[top, place].map(each => call('close', resultOf(each)))], made };
}

function treeOf(tree: Extract<HostObject, { kind: 'tree' }>, root: string | number): Opening {
  const { recursive, readOnly } = tree;
  const opening = openFrom(tree, root);
  const made = cloneTree(opening.at(-1)!, '', { recursive });
  const calls = [
    ...opening,
    made,
    setMountAttributes(made, { propagation: MS.SLAVE, recursive: true }),
    ...(readOnly ? [setMountAttributes(made, { set: MOUNT_ATTR.RDONLY, recursive: true })] : []),
    ...opening.map(each => call('close', resultOf(each))),
  ];
  return { calls, made };
}

/** The calls that open the original of a tree, which is the result of the last one. */
function openFrom({ path, inRoot }: Extract<HostObject, { kind: 'tree' }>, root: string | number): Call[] {
  const open = (from: string) => call('openat', AT.FDCWD, from, O.PATH | O.CLOEXEC, 0);
  if (!inRoot) return [open(path)];
  if (typeof root === 'number') return [openInRoot(root, path, O.PATH)];
  const top = open(root);
  return [top, openInRoot(top, path, O.PATH)];
}
