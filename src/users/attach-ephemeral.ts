/**
 * The root of --ephemeral of an ordinary user: each container mounts it itself, as nobody else has rights over the user
 * namespace that it belongs to. What is written lies on the disk and is the same for all of them.
 */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { attachMount, cloneTree, detachMount } from '../../syscalls/mount.ts';
import { makeOverlay } from '../execute/overlay.ts';
import { hostStatus } from '../host.ts';
import type { Users } from '../plan/steps.ts';
import { randomDigits } from '../random-digits.ts';

type Maps = NonNullable<Users['maps']>;

export interface Ephemeral {
  /** The tree that it is made of. */
  directory: string;
  /** The directory for what is written. */
  layers: string;
  /** For a helper while the container is there, which mounts the layers to write. */
  isReadOnly: boolean;
  maps: Maps;
}

/** In an agent: its descriptor there, and the call that takes it away once copies of it have been made. */
export interface Attached {
  fd: number;
  detach: Call;
}

const UPPER = 'upper';
/** 'volatile' as nothing of it outlives the machine; it wants a working directory that no earlier overlay has used. */
const WRITABLE = [{ key: 'userxattr' }, { key: 'volatile' }];

/**
 * Has an agent mount the root over the directory of its layers: before Linux 6.15, copies can be made only of what is
 * attached somewhere. Throws SyscallError.
 */
export function attachEphemeralRoot(agent: Agent, { directory, layers, isReadOnly, maps }: Ephemeral): Attached {
  const work = `work-${randomDigits()}`;
  const top = call('openat', AT.FDCWD, layers, O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  const makeUpper = allowing(call('mkdirat', resultOf(top), UPPER, 0o700), 'EEXIST');
  const tree = call('openat', AT.FDCWD, directory, O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  const lower = cloneTree(tree, '', { recursive: false });
  const above = cloneTree(top, isReadOnly ? UPPER : '', { recursive: false });
  const opening = [
    top,
    makeUpper,
    ...(isReadOnly ? [] : [call('mkdirat', resultOf(top), work, 0o700)]),
    tree,
    lower,
    above,
    call('close', resultOf(tree)),
  ];
  const results = agent.run(opening);
  const opened = (each: Call) => results[opening.indexOf(each)]!;
  if (opened(makeUpper) === 0) agent.run(asTop(opened(top), directory, maps));

  const [below, writable] = [opened(lower), opened(above)];
  const { calls, made } = makeOverlay(
    isReadOnly
      ? { lower: [below, writable], options: [{ key: 'userxattr' }] }
      : { lower: [below], upper: { fd: writable, directory: UPPER, work }, options: WRITABLE },
  );
  const mounting = [...calls, attachMount(made, opened(top)), call('close', opened(top))];
  return { fd: agent.run(mounting)[mounting.indexOf(made)]!, detach: detachMount(layers) };
}

/** Gives the new upper layer what the tree's own directory has, as the container sees that. */
function asTop(layers: number, directory: string, maps: Maps): Call[] {
  const { uid, gid, mode } = hostStatus(directory)!;
  const [user, group] = [within(maps.uids, uid), within(maps.gids, gid)];
  const upper = call('openat', layers, UPPER, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0);
  return [
    upper,
    call('fchown', resultOf(upper), user, group),
    call('fchmod', resultOf(upper), mode & 0o7777),
    call('close', resultOf(upper)),
  ];
}

/** The container's number for an id of the host; that of its root for one that it does not have. */
function within(ranges: Maps['uids'], id: number): number {
  const range = ranges.find(({ outside, count }) => id >= outside && id < outside + count);
  return range ? range.inside + id - range.outside : 0;
}
