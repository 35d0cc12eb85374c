/** Whose the files of a bind look like: idmap, rootidmap and owneridmap of --bind=. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { fileStatus } from '../../syscalls/file.ts';
import { type IdRange, makeUserNamespace } from '../../syscalls/idmap.ts';
import type { BindIdmap } from '../options.ts';
import { type IdmapSource, idmapTree } from './idmap.ts';
import type { IdsOfHost } from './namespace.ts';

/**
 * Shows a detached mount, which an agent has, by the map that is asked for. `covered` is the container's id of who owns
 * what the mount goes over; undefined if that is made for it. Throws an Error that names the file system which can't be shown so.
 */
export type IdmapBind = (what: DetachedMount, idmap: BindIdmap, covered?: number) => void;

interface DetachedMount {
  agent: Agent;
  /** The agent's descriptor. */
  mount: number;
  source: IdmapSource;
}

export const idmapBindFor =
  (ids: IdsOfHost): IdmapBind =>
  ({ agent, mount, source }, idmap, covered) => {
    // Only this process has the right to it for file systems that the container may not mount.
    using copy = agent.takeFd(mount);
    const { uid } = fileStatus(copy.fd);
    using users = makeUserNamespace([bindMap(idmap, ids, uid, covered)]);
    idmapTree(copy.fd, users.fd, source, true);
  };

/** The map of a bind whose source belongs to `owner` and covers what belongs to `covered`. The same for groups. */
export function bindMap(idmap: BindIdmap, { base, count }: IdsOfHost, owner: number, covered = 0): IdRange {
  switch (idmap) {
    case 'idmap':
      return { inside: 0, outside: base, count };
    case 'rootidmap':
      return { inside: owner, outside: base, count: 1 };
    case 'owneridmap':
      return { inside: owner, outside: base + covered, count: 1 };
  }
}
