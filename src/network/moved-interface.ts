/** Interfaces of the host that are lent to a container. */
import { deleteAltNames, dumpLinks, getLink, setLink } from '../../netlink/index.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { owned } from '../../syscalls/fd.ts';
import { killAndWait } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';
import type { InterfaceAction } from '../plan/steps.ts';
import { findInterface } from './host-interface.ts';
import { atEnd, changedIfThere, isRefusal, type Network, type Side, sending } from './network.ts';

/** What an interface is called that comes back when its name is taken; the kernel puts in a number. */
const OTHER_NAME = 'nspawn%d';

/**
 * Moves an interface into the container, and back at its end: the kernel would give back only those of hardware, and
 * those to the first namespace.
 */
export function moveInterface(action: Extract<InterfaceAction, { do: 'move interface' }>, network: Network): void {
  const { host, agent, keep, log } = network;
  const { index: hostIndex, name: oldName } = findInterface(host, action.host);
  const container = network.container();
  const home = keep.use(owned(syscall('openat', AT.FDCWD, '/proc/thread-self/ns/net', O.RDONLY | O.CLOEXEC, 0)));
  const fds = [agent.pidfd, container.socket, home.fd];

  // Its number in the container is known only when it is there. Until then the janitor knows it by its name.
  using _ = entrust(fds, ([pidfd, socket, netnsFd]) => [
    ...killAndWait(pidfd!),
    sending(socket!, setLink(oldName, { netnsFd: netnsFd! })),
  ]);
  host.connection.execute(setLink(hostIndex, { netnsPid: agent.pid }));
  using undo = new DisposableStack();
  const givingBack = `giving back the network interface ${oldName}`;
  atEnd(network, givingBack, () => changedIfThere(container, setLink(oldName, { netnsFd: home.fd })), undo);
  const { index } = container.connection.get(getLink(oldName));
  // First, and so withdrawn last.
  keep.use(
    entrust(fds, ([pidfd, socket, netnsFd]) => [
      ...killAndWait(pidfd!),
      ...[oldName, OTHER_NAME].map(name => sending(socket!, setLink(index, { netnsFd: netnsFd!, name }))),
    ]),
  );
  atEnd(network, givingBack, () => {
    dropTakenAltNames(host, container, index);
    const found = giveBack(container, index, home.fd, oldName);
    if (found !== oldName) log.warn(`the network interface ${oldName} ${found}`);
  });
  undo.move();
  if (action.name !== oldName) container.connection.execute(setLink(index, { name: action.name }));
}

/** The container may have given it further names; since Linux 6.6 none goes where another interface has that name. */
function dropTakenAltNames(host: Side, container: Side, index: number): void {
  const link = container.connection.dump(dumpLinks()).find(each => each.index === index);
  if (!link?.altNames) return;
  const taken = new Set(host.connection.dump(dumpLinks()).flatMap(({ name, altNames = [] }) => [name, ...altNames]));
  const dropped = link.altNames.filter(name => taken.has(name));
  if (dropped.length > 0) container.connection.execute(deleteAltNames(index, dropped));
}

/** Returns its name, or why it doesn't have it. Throws as Connection.execute does. */
function giveBack(container: Side, index: number, netnsFd: number, name: string): string {
  try {
    if (changedIfThere(container, setLink(index, { netnsFd, name }))) return name;
    return 'cannot be given back: the container has deleted it, or moved it to another network namespace';
  } catch (error) {
    if (!isRefusal(error, 'EEXIST')) throw error;
    // It may have moved all the same, and kept the name that it had in the container.
    changedIfThere(container, setLink(index, { netnsFd, name: OTHER_NAME }));
    return 'is back under another name: there is a new one that has its name';
  }
}
