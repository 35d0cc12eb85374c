/** A netlink socket for tests: straight to the C library, and no more than the tests need. */
import { constants } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import koffi from 'koffi';
import type { NetlinkSocket } from '../../netlink/index.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const MSG_PEEK_TRUNC = 0x2 | 0x20;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
/** struct sockaddr_nl: family, padding, port id, groups. */
const ADDRESS_LENGTH = 12;

const libc = koffi.load(null);
const calls = {
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, const void *address, uint32_t length)'),
  getsockname: libc.func('int getsockname(int fd, void *address, _Inout_ uint32_t *length)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, const int *value, uint32_t length)'),
  sendto: libc.func('long sendto(int fd, const void *data, size_t length, int flags, const void *to, uint32_t size)'),
  recvfrom: libc.func(
    'long recvfrom(int fd, void *data, size_t length, int flags, void *from, _Inout_ uint32_t *size)',
  ),
  poll: libc.func('int poll(void *fds, unsigned long count, int timeout)'),
  close: libc.func('int close(int fd)'),
};

/** The result of a call of the C library, or an error with the name of its errno. */
export function checked(name: string, result: number): number {
  if (result !== -1) return result;
  const errno = koffi.errno();
  const [code] = Object.entries(constants.errno).find(([, number]) => number === errno) ?? [`errno ${errno}`];
  throw Object.assign(new Error(`${name}: ${code}`), { code });
}

function address(): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_LENGTH);
  new DataView(bytes.buffer).setUint16(0, AF_NETLINK, true);
  return bytes;
}

export class KernelSocket implements NetlinkSocket {
  readonly port: number;
  readonly #fd: number;
  #isOpen = true;

  constructor() {
    this.#fd = checked('socket', calls.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE));
    checked('bind', calls.bind(this.#fd, address(), ADDRESS_LENGTH));
    const name = address();
    checked('getsockname', calls.getsockname(this.#fd, name, [ADDRESS_LENGTH]));
    this.port = new DataView(name.buffer).getUint32(4, true);
  }

  setOption(option: number, value: number): void {
    checked('setsockopt', calls.setsockopt(this.#fd, SOL_NETLINK, option, [value], 4));
  }

  /** Room for answers in bytes; the kernel doubles it, and has a least size. */
  setReceiveBuffer(bytes: number): void {
    checked('setsockopt', calls.setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUF, [bytes], 4));
  }

  send(datagram: Uint8Array): void {
    checked('sendto', calls.sendto(this.#fd, datagram, datagram.length, 0, address(), ADDRESS_LENGTH));
  }

  receive(timeout: number): Uint8Array | undefined {
    if (!this.#waits(Math.ceil(timeout))) return undefined;
    const from = address();
    const flags = MSG_PEEK_TRUNC | MSG_DONTWAIT;
    const length = checked('recvfrom', calls.recvfrom(this.#fd, new Uint8Array(1), 1, flags, from, [ADDRESS_LENGTH]));
    const bytes = new Uint8Array(length);
    checked('recvfrom', calls.recvfrom(this.#fd, bytes, length, MSG_DONTWAIT, from, [ADDRESS_LENGTH]));
    const sender = new DataView(from.buffer).getUint32(4, true);
    return sender === 0 ? bytes : this.receive(timeout);
  }

  async readable(): Promise<boolean> {
    while (this.#isOpen) {
      if (this.#waits(0)) return true;
      await setTimeout(2);
    }
    return false;
  }

  close(): void {
    if (this.#isOpen) checked('close', calls.close(this.#fd));
    this.#isOpen = false;
  }

  #waits(timeout: number): boolean {
    const request = new Uint8Array(8);
    const view = new DataView(request.buffer);
    view.setInt32(0, this.#fd, true);
    view.setInt16(4, POLLIN, true);
    return checked('poll', calls.poll(request, 1, timeout)) > 0;
  }
}
