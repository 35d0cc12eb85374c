/** The step of --link-journal=. Apart, so that only containers with a journal to link load it. */
import { allowing, call, resultOf } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { allEntries } from '../../syscalls/directory.ts';
import { owned } from '../../syscalls/fd.ts';
import { fileStatus, makeDirectories, openBelow, openInRoot } from '../../syscalls/file.ts';
import { attachMount } from '../../syscalls/mount.ts';
import { perform, SyscallError, syscall } from '../../syscalls/syscall.ts';
import { hostHas, hostStatus, isDirectory, readLink } from '../host.ts';
import { JOURNALS } from '../plan/journal.ts';
import { hostMachineId, machineIdOf } from '../plan/machine-id.ts';
import type { StepAction } from '../plan/steps.ts';
import { containerView, type RootView } from '../root-view.ts';
import { openTree } from './host-objects.ts';
import type { Setup } from './setup.ts';

type LinkJournal = Extract<StepAction, { do: 'link journal' }>;

const HERE = AT.FDCWD;
const DIRECTORY_MODE = 0o755;

/** Why there is nothing to link. With some modes that is no failure. */
class NothingToLink extends Error {
  readonly level: 'debug' | 'warn';
  constructor(why: string, level: 'debug' | 'warn' = 'debug') {
    super(why);
    this.level = level;
  }
}

/** Links the journal, or tells why not where the mode wants that. Throws an Error. */
export function linkJournal(action: LinkJournal, setup: Setup): void {
  try {
    link(action, setup);
  } catch (error) {
    if (!(error instanceof NothingToLink) || !isTry(action.mode)) throw error;
    setup.log[error.level](`not linking the journal: ${error.message}`);
  }
}

const isTry = (mode: LinkJournal['mode']) => mode === 'auto' || mode.startsWith('try-');

/** All checks are those of systemd-nspawn, in its order. Paths are the same on the host and in the container. */
function link({ mode, writesTo }: LinkJournal, { agent, log }: Setup): void {
  using container = containerView(agent.pid);
  const id = idToLink(container);
  const path = `${JOURNALS}/${id}`;
  const isGuest = mode.endsWith('guest');
  if (isGuest && writesTo === undefined) {
    throw new NothingToLink('what the container writes is not in a directory of the host');
  }
  const inTree = `${writesTo === '/' ? '' : writesTo}${path}`;
  if (isMountPoint(AT.FDCWD, path)) throw new NothingToLink(`${path} of the host is a mount point already`);
  if (isMountPointIn(container, id)) throw new NothingToLink(`${path} of the container is a mount point already`);

  const makeInTree = () => agent.run(makeDirectories(HERE, path, DIRECTORY_MODE));
  const makeTarget = () => {
    try {
      makeInTree();
    } catch (error) {
      log.warn(`linking the journal: making ${path} in the container: ${(error as Error).message}`);
    }
  };
  const target = readLink(path);
  if (target !== undefined) {
    if ((isGuest || mode === 'auto') && target === inTree) {
      makeTarget();
      return;
    }
    unlink(path, 0);
  } else if (isGuest && hostHas(path)) {
    unlink(path, AT.REMOVEDIR);
  }

  if (isGuest) {
    trying(() => syscall('symlinkat', inTree, AT.FDCWD, path));
    makeTarget();
    return;
  }
  if (mode === 'auto' && !hostHas(path)) return;
  // The directory above is left to the host: without it, its journal isn't kept on disk.
  if (mode !== 'auto') {
    trying(() => perform(allowing(call('mkdirat', AT.FDCWD, path, DIRECTORY_MODE), 'EEXIST')));
  }
  if (!isEmptyIn(container, id)) log.warn(`${path} of the container is not empty, and hidden by that of the host`);
  if (!isDirectory(hostStatus(path)!)) throw new Error(`${path} of the host is not a directory`);
  using source = openTree({ kind: 'tree', path, inRoot: false, recursive: false, readOnly: false });
  trying(makeInTree);
  const above = openInRoot(HERE, JOURNALS, O.PATH | O.DIRECTORY);
  const below = call('openat', resultOf(above), id, O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC, 0);
  const [mount] = agent.sendFds([source.fd]);
  agent.run([
    above,
    below,
    attachMount(mount!, below),
    ...[resultOf(above), resultOf(below), mount!].map(fd => call('close', fd)),
  ]);
}

/** The container's machine id. Throws NothingToLink if it has none, or that of the host. */
function idToLink(container: RootView): string {
  const id = machineIdOf(container);
  if (id === undefined) throw new NothingToLink('the container has no machine id in /etc/machine-id');
  const host = hostMachineId();
  if (host === undefined) throw new NothingToLink('this host has no machine id in /etc/machine-id');
  if (id === host) throw new NothingToLink(`the container has the machine id of this host, ${id}`, 'warn');
  return id;
}

/** What the host may refuse, as when its journal isn't kept on disk. Throws NothingToLink. */
function trying(work: () => void): void {
  try {
    work();
  } catch (error) {
    throw new NothingToLink((error as Error).message);
  }
}

function unlink(path: string, flags: number): void {
  try {
    syscall('unlinkat', AT.FDCWD, path, flags);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== 'ENOTDIR') throw error;
    throw new Error(`${path} of the host is neither a symlink nor a directory`, { cause: error });
  }
}

/** Opens the directory above the container's journal; undefined when there is none. */
const journalsIn = (container: RootView) => container.open(JOURNALS);

function isMountPointIn(container: RootView, id: string): boolean {
  using above = journalsIn(container);
  return above !== undefined && isMountPoint(above.fd, id);
}

/** Whether there is something, and it is mounted there. Symlinks are not. */
function isMountPoint(at: number, path: string): boolean {
  const opened = perform(
    allowing(call('openat', at, path, O.PATH | O.NOFOLLOW | O.CLOEXEC, 0), 'ENOENT', 'ENOTDIR', 'ELOOP'),
  );
  if (opened < 0) return false;
  using file = owned(opened);
  return fileStatus(file.fd).isMountPoint;
}

/** Whether there is nothing in the container's own directory. */
function isEmptyIn(container: RootView, id: string): boolean {
  using above = journalsIn(container);
  if (!above) return true;
  const opened = perform(allowing(openBelow(above.fd, id, O.RDONLY | O.DIRECTORY)));
  if (opened < 0) return true; // None, or no directory: mounting on it tells.
  using directory = owned(opened);
  return allEntries(directory.fd).length === 0;
}
