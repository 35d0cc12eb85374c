/** Users of the host in a container of other ids: which ids they have there, and what tells the container of them. */
import type { IdRange } from '../../syscalls/idmap.ts';
import { homeInContainer } from '../plan/bind-users.ts';
import type { HostUser } from '../plan/steps.ts';
import type { RootView } from '../root-view.ts';
import type { IdMaps, IdsOfHost } from './namespace.ts';

/** Ids for users of the host: systemd's UIDS-GIDS.md */
const FIRST = 60514;
const LAST = 60577;

export interface BoundUser extends HostUser {
  /** Of the user and the group, in the container. */
  id: number;
}

/** Chooses ids that nobody has in a tree yet. Throws an Error when there is a user of that name, or no free id. */
export function placeUsers(users: readonly HostUser[], { base, count }: IdsOfHost, tree: RootView): BoundUser[] {
  if (users.length === 0) return [];
  const files = ['/etc/passwd', '/etc/group'].map(path => (tree.readText(path) ?? '').split('\n'));
  const [logins, groups] = files.map(lines => lines.map(line => line.split(':')));
  const taken = new Set([...logins!, ...groups!].map(([, , id]) => Number(id)));
  const isInRange = (id: number) => id >= base && id < base + count;
  let next = FIRST;
  return users.map(user => {
    const refuse = (why: string) => new Error(`binding the user ${user.name}: ${why}`);
    const has = (entries: string[][]) => entries.some(([name]) => name === user.name);
    if (has(logins!)) throw refuse('the container has a user of this name');
    if (has(groups!)) throw refuse('the container has a group of this name');
    for (const id of [user.uid, user.gid]) {
      if (isInRange(id))
        throw refuse(`its id ${id} is one of the container's (${base} to ${base + count - 1}) already`);
    }
    while (taken.has(next)) next++;
    if (next > LAST || next >= count) throw refuse(`the container has no free id from ${FIRST} to ${LAST}`);
    return { ...user, id: next++ };
  });
}

/** The maps of a container's ids to the host's, in which those of bound users are their own. */
export function mapsWith(users: readonly BoundUser[], ids: IdsOfHost): IdMaps {
  const own = (hostId: (user: BoundUser) => number) =>
    around(
      users.map(user => ({ inside: user.id, outside: hostId(user), count: 1 })),
      ids,
    );
  return { uids: own(user => user.uid), gids: own(user => user.gid) };
}

/** The range with some of its ids, in ascending order, replaced. */
function around(replaced: readonly IdRange[], { base, count }: IdsOfHost): IdRange[] {
  const ranges: IdRange[] = [];
  let next = 0;
  const upTo = (end: number) => {
    if (end > next) ranges.push({ inside: next, outside: base + next, count: end - next });
  };
  for (const range of replaced) {
    upTo(range.inside);
    ranges.push(range);
    next = range.inside + range.count;
  }
  upTo(count);
  return ranges;
}

/** A file of nss-systemd(8), and the link by which it is found by id. */
export interface UserRecord {
  name: string;
  link: string;
  mode: number;
  content: string;
}

/** https://systemd.io/USER_RECORD and GROUP_RECORD; `password` is the hash, where there is one. */
export function recordsOf({ name, id }: BoundUser, password: string | undefined): UserRecord[] {
  const service = 'io.systemd.NSpawn';
  const user = { userName: name, uid: id, gid: id, homeDirectory: homeInContainer(name), service };
  const record = (suffix: string, mode: number, content: unknown): UserRecord => ({
    name: `${name}.${suffix}`,
    link: `${id}.${suffix}`,
    mode,
    content: `${JSON.stringify(content)}\n`,
  });
  return [
    record('group', 0o644, { groupName: name, gid: id, service }),
    ...(password !== undefined
      ? [record('user-privileged', 0o600, { privileged: { hashedPassword: [password] } })]
      : []),
    record('user', 0o644, user),
  ];
}
