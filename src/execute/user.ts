/** Who the payload runs as, by the container's own user database. passwd(5), group(5). */
import type { TreeView } from '../root-view.ts';

export interface User {
  /** As it was asked for: what USER and LOGNAME say. */
  name: string;
  uid: number;
  gid: number;
  /** Supplementary groups; undefined leaves those of whoever started the container, where they can't be given up. */
  groups: number[] | undefined;
  home: string;
}

export const ROOT_USER: User = { name: 'root', uid: 0, gid: 0, groups: [], home: '/root' };
export const isRoot = (name: string): boolean => name === 'root' || name === '0';

/** Looks a user up in /etc/passwd and /etc/group; undefined when they don't know it. Throws on a broken entry. */
export function lookUpUser(name: string, root: TreeView): User | undefined {
  const entry = findEntry(root.readText('/etc/passwd') ?? '', name);
  if (!entry) return undefined;
  const groups = (root.readText('/etc/group') ?? '')
    .split('\n')
    .map(line => line.split(':'))
    .filter(([, , , members]) => members?.split(',').includes(entry.login))
    .map(([group, , gid]) => parseId(gid, 'group', group));
  return { ...entry.user, groups: [...new Set([entry.user.gid, ...groups])] };
}

/** Finds a user by name, or by uid when no name is equal, as `getent passwd` does. */
function findEntry(passwd: string, name: string): { login: string; user: Omit<User, 'groups'> } | undefined {
  const lines = passwd.split('\n').map(line => line.split(':'));
  const found =
    lines.find(([login]) => login === name) ?? lines.find(([, , uid]) => /^\d+$/.test(name) && uid === name);
  if (!found) return undefined;
  return parseEntry(found, name);
}

/** One line of passwd(5), split. Throws when a field is not what it should be. */
function parseEntry(
  [login, , uid, gid, , home]: string[],
  name: string,
): { login: string; user: Omit<User, 'groups'> } {
  if (!login || !home?.startsWith('/'))
    throw new Error(
      `looking up the user ${JSON.stringify(name)}: its entry in the container's user database is broken`,
    );
  return { login, user: { name, uid: parseId(uid, 'user', name), gid: parseId(gid, 'user', name), home } };
}

/** uid_t and gid_t have 32 bits, of which all ones means none; see chown(2). */
function parseId(text: string | undefined, kind: string, owner = ''): number {
  const id = Number(text);
  if (!text || !/^\d+$/.test(text) || id >= 0xffffffff)
    throw new Error(`looking up the ${kind} ${JSON.stringify(owner)}: ${JSON.stringify(text ?? '')} is no id`);
  return id;
}

/** Runs a program of the tree in a container of its own. Rejects with an Error that says what was wrong with it. */
export type RunInTree = (command: string[]) => Promise<{ status: number; output: string }>;

/** What knows users that come from elsewhere: getent(1). */
export const GETENT = '/usr/bin/getent';

/** Asks the container's getent(1), for users that come from elsewhere than its files. Rejects when it knows none. */
export async function askGetent(name: string, run: RunInTree): Promise<User> {
  const passwd = await runGetent('passwd', name, run);
  const { login, user } = parseEntry(passwd.split('\n')[0]!.split(':'), name);
  // It prints the name and then group ids.
  const initgroups = await runGetent('initgroups', login, run);
  const ids = initgroups.trim().split(/\s+/).slice(1);
  return { ...user, groups: [...new Set([user.gid, ...ids.map(id => parseId(id, 'groups of the user', name))])] };
}

/** Exit status of getent(1) when the database has no such key. */
const NOT_FOUND = 2;

async function runGetent(database: string, key: string, run: RunInTree): Promise<string> {
  const looking = `looking up the user ${JSON.stringify(key)}`;
  const { status, output } = await run([GETENT, database, key]).catch((error: Error) => {
    throw new Error(`${looking}: asking the container's getent: ${error.message}`, { cause: error });
  });
  if (status === NOT_FOUND) throw new Error(`${looking}: the container does not know it`);
  if (status !== 0) throw new Error(`${looking}: the container's getent has failed with status ${status}`);
  return output;
}
