/**
 * What this folder needs of an AF_NETLINK socket. It is made elsewhere: socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
 * NETLINK_ROUTE), bound with port id 0, so that the kernel chooses one.
 *
 * What a call refuses is an Error with the name of the error number as its `code` (`ENOBUFS`), as Node's own errors are.
 * EINTR and ENOBUFS may be passed on: those who call know what to do.
 */
export interface NetlinkSocket {
  /** The port id that the kernel chose, from getsockname(2): answers carry it. */
  readonly port: number;

  /** setsockopt(2) at level SOL_NETLINK with an integer as value. */
  setOption(option: number, value: number): void;

  /** Sends one datagram to the kernel (port id 0). */
  send(datagram: Uint8Array): void;

  /**
   * Waits at most `timeout` milliseconds (0: not at all) for a datagram, and returns the whole of it, however long: its
   * length is found first, with recv(MSG_PEEK | MSG_TRUNC). Undefined if none came. What is returned belongs to the
   * caller; the next call must not write to it. Datagrams from others than the kernel (sender's port id not 0) are dropped,
   * and the wait goes on: root of a container in the same namespace could send them.
   */
  receive(timeout: number): Uint8Array | undefined;

  /** Waits, without holding up the event loop, for a datagram or an error to receive: true. False once it is closed. */
  readable(): Promise<boolean>;

  /** May be called more than once, and while `readable` waits. */
  close(): void;
}

/** Socket options, linux/netlink.h */
export const NETLINK_OPTIONS = {
  /** Join a multicast group. */
  ADD_MEMBERSHIP: 1,
  /** Answers do not repeat the request. */
  CAP_ACK: 10,
  /** Answers explain themselves. */
  EXT_ACK: 11,
  /** The kernel looks at all of a request to list things, so that its filters work. Linux 4.20 */
  GET_STRICT_CHK: 12,
} as const;

/** Whether an error came from a call that was refused with this error number. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Makes a call again that a signal interrupted; a bounded number of times, so that no storm of signals holds us. */
export function uninterrupted<T>(call: () => T): T {
  for (let attempt = 1; attempt < 100; attempt++) {
    try {
      return call();
    } catch (error) {
      if (!hasCode(error, 'EINTR')) throw error;
    }
  }
  return call();
}
