/** --bind-user=: users of the host whom the container knows, with their home directories. */
import { readIfThere } from '../host.ts';
import { type HostUser, must, NOTHING, type PlanPart, USER_RECORDS } from './steps.ts';

/** nobody, on all distributions that matter here: systemd's UIDS-GIDS.md */
const NOBODY = 65534;
const HOMES = '/run/host/home';

/** Where a user's home directory is in the container. */
export const homeInContainer = (name: string): string => `${HOMES}/${name}`;

/** The host objects and steps that show these users' home directories, and tell of the users. */
export function boundUsers(users: readonly HostUser[]): PlanPart {
  if (users.length === 0) return NOTHING;
  const keyOf = ({ name }: HostUser) => `home of ${name}`;
  const directories = ['/run/host', HOMES, USER_RECORDS].map(path => ({ path, mode: 0o755 }));
  return {
    hostObjects: Object.fromEntries(
      users.map(user => [
        keyOf(user),
        { kind: 'tree', path: user.home, inRoot: false, recursive: true, readOnly: false } as const,
      ]),
    ),
    before: [],
    steps: [
      must({ do: 'make directories', directories }),
      ...users.map(user => must({ do: 'bind', object: keyOf(user), path: homeInContainer(user.name) })),
      must({ do: 'write user records', users: users.map(({ name }) => name) }),
    ],
  };
}

/** Looks users up in the host's /etc/passwd and /etc/group. Throws an Error for one that can't be bound. */
export function hostUsers(names: readonly string[]): HostUser[] {
  if (names.length === 0) return [];
  const [passwd, group] = ['/etc/passwd', '/etc/group'].map(linesOf) as [string[][], string[][]];
  return [...new Set(names)].map(name => {
    const refuse = (why: string) => new Error(`binding the user ${name}: ${why}`);
    const [, , uidText = '', gidText = '', , home = ''] = passwd.find(([login]) => login === name) ?? [];
    if (!/^\d+$/.test(uidText) || !/^\d+$/.test(gidText)) throw refuse("there is none in the host's /etc/passwd");
    const [uid, gid] = [Number(uidText), Number(gidText)];
    if (uid === 0 || uid === NOBODY) throw refuse(`it is ${uid === 0 ? 'root' : 'nobody'}, whom each system has`);
    if (!home.startsWith('/')) throw refuse('it has no home directory');
    // There is to be one more user and one more group, not a change of a group that the container has.
    const own = group.find(([, , id]) => id === gidText)?.[0];
    if (own !== name) throw refuse(`its group is ${own ?? gid}, not one of its own of the same name`);
    return { name, uid, gid, home };
  });
}

const linesOf = (path: string): string[][] =>
  (readIfThere(path)?.toString() ?? '').split('\n').map(line => line.split(':'));
