/** Interfaces of the container's that are made on one of the host's. */
import { deleteLink, getLink, type NewLink, newLink } from '../../netlink/index.ts';
import type { InterfaceAction } from '../plan/steps.ts';
import { findInterface } from './host-interface.ts';
import { atEnd, changedIfThere, type Network } from './network.ts';

export function makeMacvlan(action: Extract<InterfaceAction, { do: 'make macvlan' }>, network: Network): void {
  const { parent, name, address } = action;
  make(parent, { kind: 'macvlan', name, address, data: { mode: 'bridge' } }, network);
}

export function makeIpvlan(action: Extract<InterfaceAction, { do: 'make ipvlan' }>, network: Network): void {
  const { parent, name } = action;
  make(parent, { kind: 'ipvlan', name, data: { mode: 'l2' } }, network);
}

function make(parent: string, link: NewLink & { name: string }, network: Network): void {
  const { host, agent } = network;
  const container = network.container();
  const { index: parentIndex } = findInterface(host, parent);
  host.connection.execute(newLink({ ...link, link: parentIndex, netnsPid: agent.pid }));
  const { index } = container.connection.get(getLink(link.name));
  // The kernel does that with the namespace, but later: until then its address is taken on the host's interface.
  atEnd(network, `deleting the ${link.kind} ${link.name}`, () => changedIfThere(container, deleteLink(index)));
}
