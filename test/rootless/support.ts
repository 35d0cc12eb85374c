/** nspawn as an ordinary user starts it, where tests run as root. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Need } from '../support/needs.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { busyboxTree } from '../support/tree.ts';

/** Ids that no user of the machine has. */
export const UID = 73_210;
export const GID = 73_211;
/** The subordinate ids that one of them has for users and groups. */
export const SUBORDINATE = { start: 1_879_113_728, count: 65_536 };

const ROOT = resolve(import.meta.dirname, '../..');
/** The checkout may be in a directory that only root may enter: there, the user sees it here. */
const SHOWN_AT = '/mnt';

/** An ordinary user with a home, which has a busybox tree of its own. */
export interface OrdinaryUser extends Disposable {
  home: string;
  tree: string;
  /** The words that run a program as the user. */
  as(...program: string[]): string[];
  /** The words that start nspawn, and those that do so as the user. */
  program: string[];
  nspawn: string[];
}

/** `hasSubordinates`: /etc/subuid and /etc/subgid give the user ids; those of groups begin with `firstGroup`. */
export function ordinaryUser({ hasSubordinates = false, firstGroup = SUBORDINATE.start } = {}): OrdinaryUser {
  using undo = new DisposableStack();
  const directory: TemporaryDirectory = undo.use(temporaryDirectory());
  chmodSync(directory.path, 0o755);
  const [home, runtime, tree] = ['home', 'runtime', 'home/tree'].map(name => join(directory.path, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [home, runtime]) mkdirSync(path, { mode: 0o700 });
  const copied = spawnSync('cp', ['-a', busyboxTree(), tree]);
  if (copied.status !== 0) throw new Error(copied.stderr.toString());
  spawnSync('chown', ['-R', `${UID}:${GID}`, home, runtime]);
  const { start, count } = SUBORDINATE;
  const idsFrom = (first: number) => (hasSubordinates ? `${UID}:${first}:${count}\n` : '');
  const files = {
    subuid: idsFrom(start),
    subgid: idsFrom(firstGroup),
    passwd: `${readFileSync('/etc/passwd', 'utf8')}ordinary:x:${UID}:${GID}::${home}:/bin/sh\n`,
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory.path, name), content);
  // In a mount namespace of its own, so that the machine keeps its files.
  const script = [
    `mount --bind ${ROOT} ${SHOWN_AT}`,
    `cd ${directory.path}`,
    `for name in ${Object.keys(files).join(' ')}; do [ ! -e /etc/$name ] || mount --bind $name /etc/$name; done`,
    'exec "$@"',
  ].join(' && ');
  const user = ['setpriv', `--reuid=${UID}`, `--regid=${GID}`, '--clear-groups'];
  const environment = ['env', '-i', `HOME=${home}`, `XDG_RUNTIME_DIR=${runtime}`, 'PATH=/usr/bin:/bin', 'TERM=dumb'];
  const as = (...program: string[]) => [
    'unshare',
    '-m',
    'sh',
    '-ec',
    script,
    'sh',
    ...user,
    ...environment,
    ...program,
  ];
  const program = [join(SHOWN_AT, 'node_modules/.bin/bun'), join(SHOWN_AT, 'src/cli/main.ts')];
  const held = undo.move();
  return {
    home,
    tree,
    as,
    program,
    nspawn: as(...program),
    [Symbol.dispose]: () => held.dispose(),
  };
}

/** Whether this machine lets ordinary users make user namespaces. */
export const userNamespaces: Need = () => {
  const words = [`--reuid=${UID}`, `--regid=${GID}`, '--clear-groups', 'unshare', '-Ur', 'true'];
  return spawnSync('setpriv', words).status === 0 ? undefined : 'ordinary users may not make user namespaces here';
};

/** Whether they can have more than one user in it. */
export const subordinateIds: Need = () => {
  const files = spawnSync('test', ['-e', '/etc/subuid', '-a', '-e', '/etc/subgid']);
  return files.status === 0 ? undefined : 'no /etc/subuid and /etc/subgid';
};
