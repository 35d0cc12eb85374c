/** Netlink sockets for netlink/'s connections. See netlink(7). */
import type { NetlinkSocket } from '../netlink/socket.ts';
import { type Call, call } from './call.ts';
import { AF, MSG, NETLINK_ROUTE, SOCK } from './constants.ts';
import { type OwnedFd, owned, readableWithin } from './fd.ts';
import { waitable } from './readiness.ts';
import { perform, syscall } from './syscall.ts';

/** linux/socket.h */
const SOL_NETLINK = 270;
/** struct sockaddr_nl, linux/netlink.h: family, padding, port id, groups. All zero but the family is the kernel. */
const ADDRESS = { port: 4, size: 12 } as const;

/** Makes a routing socket, which belongs to the network namespace of who makes it. */
export const makeNetlinkSocket: Call = call('socket', AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC, NETLINK_ROUTE);

/**
 * A routing socket of this process's network namespace; or the one given, which it takes over, of another namespace.
 * Throws SyscallError.
 */
export function openNetlink(made: OwnedFd = owned(perform(makeNetlinkSocket))): NetlinkSocket {
  const { fd } = made;
  syscall('bind', fd, kernelAddress(), ADDRESS.size);
  const own = kernelAddress();
  syscall('getsockname', fd, { out: own }, { out: lengthOf(own) });

  const receiveNow = (size: number, flags: number, from: Uint8Array): { length: number; bytes: Uint8Array } => {
    const bytes = new Uint8Array(size);
    const length = syscall(
      'recvfrom',
      fd,
      { out: bytes },
      size,
      flags | MSG.DONTWAIT,
      { out: from },
      { out: lengthOf(from) },
    );
    return { length, bytes };
  };
  const socket: NetlinkSocket = {
    port: portOf(own),
    setOption(option, value) {
      syscall('setsockopt', fd, SOL_NETLINK, option, new Uint8Array(new Int32Array([value]).buffer), 4);
    },
    send(datagram) {
      syscall('sendto', fd, datagram, datagram.length, 0, kernelAddress(), ADDRESS.size);
    },
    receive(timeout) {
      const until = performance.now() + timeout;
      do {
        if (!readableWithin(fd, Math.max(0, until - performance.now()) / 1000)) return undefined;
        const from = kernelAddress();
        const { length } = receiveNow(1, MSG.PEEK | MSG.TRUNC, from);
        const { bytes } = receiveNow(length, 0, from);
        if (portOf(from) === 0) return bytes;
      } while (performance.now() < until);
      return undefined;
    },
    ...waitable(made),
  };
  return socket;
}

function kernelAddress(): Uint8Array {
  const address = new Uint8Array(ADDRESS.size);
  new DataView(address.buffer).setUint16(0, AF.NETLINK, true);
  return address;
}

const portOf = (address: Uint8Array) => new DataView(address.buffer).getUint32(ADDRESS.port, true);
const lengthOf = (bytes: Uint8Array) => new Uint8Array(new Uint32Array([bytes.length]).buffer);
