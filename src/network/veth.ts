/** Veth links: a pair of interfaces, one of them in the container. */
import { addAltNames, deleteLink, getLink, newLink, type Request } from '../../netlink/index.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { sleep } from '../../syscalls/process.ts';
import { perform } from '../../syscalls/syscall.ts';
import type { InterfaceAction } from '../plan/steps.ts';
import { atEnd, changedIfThere, isRefusal, type Network, type Side, sending } from './network.ts';
import { joinZone } from './zone.ts';

type VethLink = Extract<InterfaceAction, { do: 'make veth link' }>;

/**
 * Makes a link whose other end starts its life in the container, so that the kernel takes both away with the
 * container's namespace. That can take a while, so it is deleted at the end.
 */
export function makeVethLink(link: VethLink, network: Network): void {
  const { host, log } = network;
  const { name, fullName, bridge } = link;
  const index = bridge?.isZone
    ? joinZone(bridge.name, network, () => makePair(link, network))
    : deletedAtEnd(link, makePair(link, network), network);
  if (fullName === undefined) return;
  try {
    host.connection.execute(addAltNames(index, [fullName]));
  } catch (error) {
    log.warn(`the link ${name} goes without its full name: ${(error as Error).message}`);
  }
}

function deletedAtEnd({ name }: VethLink, index: number, network: Network): number {
  const { host, keep } = network;
  keep.use(entrust([host.socket], ([socket]) => [sending(socket!, deleteLink(index))]));
  atEnd(network, `deleting the link ${name}`, () => changedIfThere(host, deleteLink(index)));
  return index;
}

/** Returns the index of the host's end. */
function makePair({ name, address, peer, bridge }: VethLink, network: Network): number {
  const { host, agent } = network;
  const port = bridge && { master: host.connection.get(getLink(bridge.name)).index, up: true };
  const data = { peer: { ...peer, netnsPid: agent.pid } };
  makeOnceGone(host, newLink({ kind: 'veth', name, address, ...port, data }));
  using undo = new DisposableStack();
  atEnd(network, `deleting the link ${name}`, () => changedIfThere(host, deleteLink(name)), undo);
  const { index } = host.connection.get(getLink(name));
  undo.move();
  return index;
}

/** How long the link of a container that was killed gets to vanish, in steps of so many milliseconds. */
const PREDECESSOR = { step: 20, steps: 50 } as const;

/** Makes a link; waits for a moment if there is still one of that name. */
function makeOnceGone({ connection }: Side, request: Request): void {
  for (let step = 0; step < PREDECESSOR.steps; step++) {
    try {
      connection.execute(request);
      return;
    } catch (error) {
      if (!isRefusal(error, 'EEXIST')) throw error;
      perform(sleep(PREDECESSOR.step));
    }
  }
  connection.execute(request);
}
