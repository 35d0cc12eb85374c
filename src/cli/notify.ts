/** Tells the service manager that nspawn runs in how things stand: the protocol of sd_notify(3). */
import process from 'node:process';
import { call } from '../../syscalls/call.ts';
import { AF, MSG, SOCK } from '../../syscalls/constants.ts';
import { owned } from '../../syscalls/fd.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';

/** struct sockaddr_un, unix(7): the family, then a path; an abstract name begins with a NUL, here written as `@`. */
const LONGEST_NAME = 108;

/** Sends assignments such as `READY=1`; does nothing where nobody waits for them. A failure is a warning. */
export function notify(log: Logger, ...assignments: string[]): void {
  const { NOTIFY_SOCKET: name } = process.env;
  if (!name) return;
  try {
    const address = socketAddress(name);
    using socket = owned(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
    const text = Buffer.from(assignments.join('\n'));
    perform(call('sendto', socket.fd, text, text.length, MSG.NOSIGNAL, address, address.length));
  } catch (error) {
    log.warn(`notifying the service manager at ${JSON.stringify(name)}: ${(error as Error).message}`);
  }
}

function socketAddress(name: string): Uint8Array {
  const bytes = Buffer.from(name.replace(/^@/, '\0'));
  if (!/^[/@]/.test(name) || bytes.length > LONGEST_NAME) throw new Error('it is neither a path nor an abstract name');
  return Buffer.concat([new Uint8Array(new Uint16Array([AF.UNIX]).buffer), bytes]);
}
