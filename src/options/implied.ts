import type { ContainerOptions } from '../options.ts';

/**
 * The options with what some of them imply, as systemd-nspawn has it: an interface for the container means a private
 * network, a bridge or a zone means a veth link, a container that shares the system is not registered, and
 * one that is to say when it is ready can.
 */
export function impliedOptions(options: ContainerOptions): ContainerOptions {
  const networkVeth = options.networkVeth || options.networkBridge !== undefined || options.networkZone !== undefined;
  const interfaces = [
    ...(options.networkInterfaces ?? []),
    ...(options.networkMacvlans ?? []),
    ...(options.networkIpvlans ?? []),
    ...(options.networkVethExtra ?? []),
  ];
  return {
    ...options,
    ...(networkVeth && { networkVeth }),
    ...((networkVeth || interfaces.length > 0 || (options.network ?? 'host') !== 'host') && { privateNetwork: true }),
    ...(options.shareSystem && { register: false }),
    ...(options.notifyReady && { notifySocket: true }),
  };
}
