/** The network interfaces of a container: the options --network-*, in the order of systemd-nspawn. */

import { UsageError } from '../options/usage-error.ts';
import type { ContainerOptions } from '../options.ts';
import { macAddress, readHostId, shortName } from './interface-names.ts';
import { type InterfaceAction, must, type Step } from './steps.ts';

/** The container's end of the link that --network-veth makes. */
const CONTAINER_END = 'host0';

/**
 * The steps that give a container its interfaces. Throws UsageError for names that two would have, and an Error where
 * the host has no machine id.
 */
export function interfaceSteps(options: ContainerOptions, machine: string): Step[] {
  const actions = interfaceActions(options, machine);
  const insideOf = (action: InterfaceAction) => (action.do === 'make veth link' ? action.peer.name : action.name);
  refuseTwice(actions.map(insideOf), 'the container would have two interfaces');
  const hostNames = (kind: InterfaceAction['do']) =>
    actions.filter(action => action.do === kind).map(action => ('host' in action ? action.host : action.name));
  refuseTwice(hostNames('move interface'), 'an interface can be moved once only:');
  refuseTwice(hostNames('make veth link'), 'the host would have two interfaces');
  return actions.map(must);
}

/** The kernel would name the wrong one: of a veth pair it says that it can't be made, not which end is there already. */
function refuseTwice(names: readonly string[], why: string): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`${why} ${twice}`);
}

function interfaceActions(options: ContainerOptions, machine: string): InterfaceAction[] {
  const { networkInterfaces = [], networkVethExtra = [], networkMacvlans = [], networkIpvlans = [] } = options;
  let hostId: string | undefined;
  const address = (use: Parameters<typeof macAddress>[0], index?: number) => {
    hostId ??= readHostId();
    return macAddress(use, machine, hostId, index);
  };
  return [
    ...networkInterfaces.map(pair => {
      const [host, name = host] = names(pair);
      return { do: 'move interface' as const, host, name };
    }),
    ...(options.networkVeth ? [mainLink()] : []),
    ...networkVethExtra.map((pair, i) => {
      const [name, peer = name] = names(pair);
      return {
        do: 'make veth link' as const,
        name,
        address: address('extraVethHost', i),
        peer: { name: peer, address: address('extraVethContainer', i) },
      };
    }),
    ...networkMacvlans.map((pair, i) => {
      const [parent, name = shortName(`mv-${parent}`)] = names(pair);
      return { do: 'make macvlan' as const, parent, name, address: address('macvlan', i) };
    }),
    ...networkIpvlans.map(pair => {
      const [parent, name = shortName(`iv-${parent}`)] = names(pair);
      return { do: 'make ipvlan' as const, parent, name };
    }),
  ];

  function mainLink(): InterfaceAction {
    const { networkBridge, networkZone } = options;
    const bridge = networkZone === undefined ? networkBridge : `vz-${networkZone}`;
    const fullName = `${bridge === undefined ? 've' : 'vb'}-${machine}`;
    const name = shortName(fullName);
    return {
      do: 'make veth link',
      name,
      ...(name !== fullName && { fullName }),
      address: address('vethHost'),
      peer: { name: CONTAINER_END, address: address('vethContainer') },
      ...(bridge !== undefined && { bridge: { name: bridge, isZone: networkZone !== undefined } }),
    };
  }
}

/** What stands before the colon and behind it, if anything does. */
function names(pair: string): [host: string, container?: string] {
  const [host = '', container] = pair.split(':');
  return container ? [host, container] : [host];
}
