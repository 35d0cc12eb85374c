/** Tells the service manager that nspawn runs in how things stand: the protocol of sd_notify(3). */
import process from 'node:process';
import { call } from '../../syscalls/call.ts';
import { AF, MSG, SOCK } from '../../syscalls/constants.ts';
import { owned } from '../../syscalls/fd.ts';
import { unixAddress } from '../../syscalls/socket.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import type { Notification } from '../container/notifications.ts';
import type { Logger } from '../log.ts';
import type { Container } from '../spawn.ts';

/** sun_path of struct sockaddr_un, unix(7). */
const LONGEST_NAME = 108;

/** What is told of one container, as systemd-nspawn tells it. */
export interface Reports {
  /** It runs. `isReady`: that is enough for the manager to go on. */
  running(container: Pick<Container, 'pid'>, isReady: boolean): void;
  /** What it says of itself; told when the manager knows that it runs. */
  heard(said: Notification): void;
}

export function reports(log: Logger): Reports {
  let waiting: Notification[] | undefined = [];
  const passOn = ({ ready, status }: Notification) => {
    if (ready) notify(log, 'READY=1');
    if (status !== undefined) notify(log, `STATUS=Container running: ${status}`);
  };
  return {
    running({ pid }, isReady) {
      notify(log, ...(isReady ? ['READY=1'] : []), 'STATUS=Container running.', `X_NSPAWN_LEADER_PID=${pid}`);
      waiting?.forEach(passOn);
      waiting = undefined;
    },
    heard(said) {
      if (waiting) waiting.push(said);
      else passOn(said);
    },
  };
}

/** Tells that nspawn ends; `restart`: it is to be started again. */
export const reportEnd = (log: Logger, restart: boolean): void =>
  notify(log, 'STOPPING=1', `STATUS=${restart ? 'Restarting' : 'Terminating'}...`);

/** Sends assignments such as `READY=1`; does nothing where nobody waits for them. A failure is a warning. */
function notify(log: Logger, ...assignments: string[]): void {
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

/** An abstract name begins with a NUL, which is written as `@`. */
function socketAddress(name: string): Uint8Array {
  if (!/^[/@]/.test(name) || Buffer.byteLength(name) > LONGEST_NAME) {
    throw new Error('it is neither a path nor an abstract name');
  }
  return unixAddress(name.replace(/^@/, '\0'));
}
