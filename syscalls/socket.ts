/** Sockets of unix(7): addresses, descriptors that are handed over, and who has sent something. */
import { allowing, type Call, call } from './call.ts';
import { AF, MSG, SCM, SOL_SOCKET } from './constants.ts';
import { perform } from './syscall.ts';

/** Offsets in struct msghdr and struct iovec on 64-bit machines, bits/socket.h */
const MSGHDR = { iov: 16, iovCount: 24, control: 32, controlLength: 40, size: 56 } as const;
const IOVEC = { base: 0, length: 8, size: 16 } as const;
/** struct cmsghdr: length, level, type; data from 16. */
const CMSG = { length: 0, level: 8, type: 12, data: 16 } as const;

/** struct ucred, linux/socket.h: process, user, group. */
const UCRED_SIZE = 12;

/** struct sockaddr_un, unix(7): the family, then a path, or a NUL and an abstract name. */
export const unixAddress = (name: string): Uint8Array =>
  Buffer.concat([new Uint8Array(new Uint16Array([AF.UNIX]).buffer), Buffer.from(name)]);

function message(data: Uint8Array, control: Uint8Array, direction: 'out' | 'in') {
  const bytes = new Uint8Array(MSGHDR.size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(MSGHDR.iovCount, 1n, true);
  view.setBigUint64(MSGHDR.controlLength, BigInt(control.length), true);
  const iovec = new Uint8Array(IOVEC.size);
  new DataView(iovec.buffer).setBigUint64(IOVEC.length, BigInt(data.length), true);
  const [dataAt, controlAt] = direction === 'out' ? [data, control] : [{ out: data }, { out: control }];
  return {
    bytes,
    pointers: [
      [MSGHDR.iov, { bytes: iovec, pointers: [[IOVEC.base, dataAt]] }],
      [MSGHDR.control, controlAt],
    ],
  } as const;
}

/** sendmsg of descriptors with one byte of data: on a stream socket they can't travel alone. */
export function sendFds(socket: number, fds: readonly number[]): Call {
  const control = new Uint8Array((CMSG.data + 4 * fds.length + 7) & ~7);
  const view = new DataView(control.buffer);
  view.setBigUint64(CMSG.length, BigInt(CMSG.data + 4 * fds.length), true);
  view.setInt32(CMSG.level, SOL_SOCKET, true);
  view.setInt32(CMSG.type, SCM.RIGHTS, true);
  for (let i = 0; i < fds.length; i++) view.setInt32(CMSG.data + 4 * i, fds[i]!, true);
  return call('sendmsg', socket, message(new Uint8Array(1), control, 'out'), MSG.NOSIGNAL);
}

/**
 * recvmsg of `count` descriptors with one byte of data; `fds` reads their numbers once the call has run. They are fewer
 * when the receiver can't have so many open.
 */
export function receiveFds(socket: number, count: number): { call: Call; fds: () => number[] } {
  const control = new Uint8Array((CMSG.data + 4 * count + 7) & ~7);
  return {
    call: call('recvmsg', socket, message(new Uint8Array(1), control, 'in'), MSG.CMSG_CLOEXEC),
    fds() {
      const view = new DataView(control.buffer);
      // The length stays 0 when none came.
      const received = Math.max((Number(view.getBigUint64(CMSG.length, true)) - CMSG.data) / 4, 0);
      const fds: number[] = [];
      for (let i = 0; i < received; i++) fds.push(view.getInt32(CMSG.data + 4 * i, true));
      return fds;
    },
  };
}

/** A datagram, and the process that has sent it. */
export interface Datagram {
  bytes: Uint8Array;
  /** In this process's namespace; 0 if it is of none that can be seen there. */
  pid: number;
}

/**
 * The next datagram of a socket with SO_PASSCRED, cut off behind `limit` bytes; undefined when there is none now.
 * Descriptors that came with it are closed. Throws SyscallError.
 */
export function receiveDatagram(socket: number, limit: number): Datagram | undefined {
  const data = new Uint8Array(limit);
  // With no room for more, the kernel drops what else comes along.
  const control = new Uint8Array((CMSG.data + UCRED_SIZE + 7) & ~7);
  const receive = call('recvmsg', socket, message(data, control, 'in'), MSG.DONTWAIT | MSG.CMSG_CLOEXEC);
  const length = perform(allowing(receive, 'EAGAIN'));
  if (length < 0) return undefined;
  const view = new DataView(control.buffer);
  const isCredentials = view.getInt32(CMSG.type, true) === SCM.CREDENTIALS;
  return { bytes: data.subarray(0, length), pid: isCredentials ? view.getInt32(CMSG.data, true) : 0 };
}
