/** Stream sockets of unix(7) for dbus/'s connections. */
import type { StreamSocket } from '../dbus/socket.ts';
import { allowing, call } from './call.ts';
import { AF, MSG, SOCK, SOL_SOCKET } from './constants.ts';
import { owned, readableWithin } from './fd.ts';
import { waitable } from './readiness.ts';
import { perform, syscall } from './syscall.ts';

/** asm-generic/socket.h: on 64-bit machines a time is two words. */
const SO_SNDTIMEO = 21;
/** struct sockaddr_un: the family, and at most 108 bytes of name. */
const LONGEST_NAME = 108;
const MOST_AT_ONCE = 64 << 10;

/**
 * Connects to a socket by its path, or by its name in the abstract name space, which begins with a zero byte. Neither
 * that nor sending takes longer than this many milliseconds. Throws SyscallError; Error for a name that is too long.
 */
export function connectUnix(name: string, timeout: number): StreamSocket {
  const bytes = Buffer.from(name);
  if (bytes.length > LONGEST_NAME) throw new Error(`${JSON.stringify(name)} is too long for a socket's name`);
  const address = Buffer.concat([new Uint8Array(new Uint16Array([AF.UNIX]).buffer), bytes]);
  using undo = new DisposableStack();
  const socket = undo.use(owned(syscall('socket', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0)));
  const { fd } = socket;
  const limit = new BigInt64Array([BigInt(Math.floor(timeout / 1000)), BigInt(Math.floor((timeout % 1000) * 1000))]);
  syscall('setsockopt', fd, SOL_SOCKET, SO_SNDTIMEO, new Uint8Array(limit.buffer), limit.byteLength);
  syscall('connect', fd, address, address.length);
  undo.move();

  return {
    send(data) {
      for (let rest = data; rest.length > 0; ) {
        rest = rest.subarray(syscall('sendto', fd, rest, rest.length, MSG.NOSIGNAL, null, 0));
      }
    },
    receive(milliseconds) {
      if (!readableWithin(fd, milliseconds / 1000)) return undefined;
      const buffer = new Uint8Array(MOST_AT_ONCE);
      const receive = call('recvfrom', fd, { out: buffer }, buffer.length, MSG.DONTWAIT, null, null);
      // A peer that has gone with something of ours unread.
      const length = perform(allowing(receive, 'ECONNRESET'));
      return buffer.slice(0, Math.max(0, length));
    },
    ...waitable(socket),
  };
}
