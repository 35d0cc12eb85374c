/** The network interfaces of a container: the options --network-*, in the order of systemd-nspawn. */

import type { ContainerOptions } from '../options.ts';
import { macAddress, readHostId, shortName } from './interface-names.ts';
import { must, type Step } from './steps.ts';

/** The container's end of the link that --network-veth makes. */
const CONTAINER_END = 'host0';

/** The steps that give a container its interfaces. Throws an Error where the host has no machine id. */
export function interfaceSteps(options: ContainerOptions, machine: string): Step[] {
  const { networkInterfaces = [], networkVethExtra = [], networkMacvlans = [], networkIpvlans = [] } = options;
  let hostId: string | undefined;
  const address = (use: Parameters<typeof macAddress>[0], index?: number) => {
    hostId ??= readHostId();
    return macAddress(use, machine, hostId, index);
  };
  return [
    ...networkInterfaces.map(pair => {
      const [host, name = host] = names(pair);
      return must({ do: 'move interface', host, name });
    }),
    ...(options.networkVeth ? [mainLink()] : []),
    ...networkVethExtra.map((pair, i) => {
      const [name, peer = name] = names(pair);
      return must({
        do: 'make veth link',
        name,
        address: address('extraVethHost', i),
        peer: { name: peer, address: address('extraVethContainer', i) },
      });
    }),
    ...networkMacvlans.map((pair, i) => {
      const [parent, name = shortName(`mv-${parent}`)] = names(pair);
      return must({ do: 'make macvlan', parent, name, address: address('macvlan', i) });
    }),
    ...networkIpvlans.map(pair => {
      const [parent, name = shortName(`iv-${parent}`)] = names(pair);
      return must({ do: 'make ipvlan', parent, name });
    }),
  ];

  function mainLink(): Step {
    const { networkBridge, networkZone } = options;
    const bridge = networkZone === undefined ? networkBridge : `vz-${networkZone}`;
    const fullName = `${bridge === undefined ? 've' : 'vb'}-${machine}`;
    const name = shortName(fullName);
    return must({
      do: 'make veth link',
      name,
      ...(name !== fullName && { fullName }),
      address: address('vethHost'),
      peer: { name: CONTAINER_END, address: address('vethContainer') },
      ...(bridge !== undefined && { bridge: { name: bridge, isZone: networkZone !== undefined } }),
    });
  }
}

/** What stands before the colon and behind it, if anything does. */
function names(pair: string): [host: string, container?: string] {
  const [host = '', container] = pair.split(':');
  return container ? [host, container] : [host];
}
