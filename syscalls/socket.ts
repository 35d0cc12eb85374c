/** Sockets: what wrappers of sendmsg(2) and recvmsg(2) need to hand descriptors over, see unix(7). */
import { type Call, call } from './call.ts';
import { MSG, SCM_RIGHTS, SOL_SOCKET } from './constants.ts';

/** Offsets in struct msghdr and struct iovec on 64-bit machines, bits/socket.h */
const MSGHDR = { iov: 16, iovCount: 24, control: 32, controlLength: 40, size: 56 } as const;
const IOVEC = { base: 0, length: 8, size: 16 } as const;
/** struct cmsghdr: length, level, type; data from 16. */
const CMSG = { length: 0, level: 8, type: 12, data: 16 } as const;

function message(control: Uint8Array, direction: 'out' | 'in') {
  const bytes = new Uint8Array(MSGHDR.size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(MSGHDR.iovCount, 1n, true);
  view.setBigUint64(MSGHDR.controlLength, BigInt(control.length), true);
  const iovec = new Uint8Array(IOVEC.size);
  // One byte goes along: descriptors can't travel alone on a stream socket.
  new DataView(iovec.buffer).setBigUint64(IOVEC.length, 1n, true);
  return {
    bytes,
    pointers: [
      [MSGHDR.iov, { bytes: iovec, pointers: [[IOVEC.base, new Uint8Array(1)]] }],
      [MSGHDR.control, direction === 'out' ? control : { out: control }],
    ],
  } as const;
}

/** sendmsg of descriptors with one byte of data. */
export function sendFds(socket: number, fds: readonly number[]): Call {
  const control = new Uint8Array((CMSG.data + 4 * fds.length + 7) & ~7);
  const view = new DataView(control.buffer);
  view.setBigUint64(CMSG.length, BigInt(CMSG.data + 4 * fds.length), true);
  view.setInt32(CMSG.level, SOL_SOCKET, true);
  view.setInt32(CMSG.type, SCM_RIGHTS, true);
  fds.forEach((fd, i) => {
    view.setInt32(CMSG.data + 4 * i, fd, true);
  });
  return call('sendmsg', socket, message(control, 'out'), MSG.NOSIGNAL);
}

/**
 * recvmsg of `count` descriptors with one byte of data; `fds` reads their numbers once the call has run. They are fewer
 * when the receiver can't have so many open.
 */
export function receiveFds(socket: number, count: number): { call: Call; fds: () => number[] } {
  const control = new Uint8Array((CMSG.data + 4 * count + 7) & ~7);
  return {
    call: call('recvmsg', socket, message(control, 'in'), MSG.CMSG_CLOEXEC),
    fds() {
      const view = new DataView(control.buffer);
      // The length stays 0 when none came.
      const received = Math.max((Number(view.getBigUint64(CMSG.length, true)) - CMSG.data) / 4, 0);
      return Array.from({ length: received }, (_, i) => view.getInt32(CMSG.data + 4 * i, true));
    },
  };
}
