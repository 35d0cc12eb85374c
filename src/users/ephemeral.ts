/** Users of the containers on an ephemeral root, which is shown as theirs from the beginning: no file changes its owner. */
import { fileStatus } from '../../syscalls/file.ts';
import { type IdRange, makeUserNamespace } from '../../syscalls/idmap.ts';
import type { OtherOwners } from '../container/ephemeral.ts';
import type { ContainerOptions } from '../options.ts';
import type { Plan, Users } from '../plan/steps.ts';
import { idmapTree } from './idmap.ts';
import { settledBaseOfTree } from './range.ts';
import { settleIds } from './start.ts';

/** To be disposed of when the last container on the root has ended. */
export interface EphemeralUsers extends Disposable {
  /** What containers on the root are to be asked for. */
  options: Pick<ContainerOptions, 'privateUsers' | 'usersOwnership'>;
  /** Undefined where the tree belongs to them, or is to be left as it is. */
  owners: OtherOwners | undefined;
}

/** What this process has made for itself, such as the directory that a layer is in, stays its own. */
const OURS: IdRange = { inside: 0, outside: 0, count: 1 };

/** Settles on the ids of containers on a tree whose root directory this is. Throws an Error. */
export function settleEphemeral(plan: Plan & { users: Users }, root: number): EphemeralUsers {
  using settling = new DisposableStack();
  const { base, count } = settling.use(settleIds(plan, root));
  const { ownership, base: asked } = plan.users;
  // Unlike what stays on disk, this can be shown as belonging to yet others.
  const ofTree = ownership === 'map' && typeof asked === 'number' ? 0 : settledBaseOfTree(fileStatus(root));
  const isTheirs = ownership === 'off' || base === ofTree;
  const namespace = isTheirs
    ? undefined
    : settling.use(makeUserNamespace([{ inside: ofTree, outside: base, count }, ...(ofTree === 0 ? [] : [OURS])]));
  const held = settling.move();
  return {
    options: { privateUsers: { base, count }, usersOwnership: 'off' },
    owners: namespace && {
      root: base,
      map: (mount, path = plan.directory) => idmapTree(mount, namespace.fd, { path }, false),
    },
    [Symbol.dispose]: () => held.dispose(),
  };
}
