/**
 * What a payload says of itself by its NOTIFY_SOCKET, see sd_notify(3). Everyone in the container can send there: heard is
 * only the payload, as the kernel names the sender.
 */
import { AF, SO_PASSCRED, SOCK, SOL_SOCKET } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { stopWaiting, untilReadable } from '../../syscalls/readiness.ts';
import { receiveDatagram } from '../../syscalls/socket.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { readIfThere } from '../host.ts';
import type { Logger } from '../log.ts';

/** What a payload has said. */
export interface Notification {
  /** That it is ready. */
  ready: boolean;
  /** How it does, in a line of its own making without control characters. */
  status?: string;
}

/** As systemd has it; longer messages are not heard. */
const LONGEST_MESSAGE = 4096;
/** Those that come while these are read wait for their turn. */
const MOST_AT_ONCE = 64;

/** The socket that a container's payload gets; nobody can send to it yet. Throws SyscallError. */
export function makeNotifySocket(): OwnedFd {
  using made = new DisposableStack();
  const socket = made.use(owned(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0)));
  const on = new Uint8Array(new Int32Array([1]).buffer);
  syscall('setsockopt', socket.fd, SOL_SOCKET, SO_PASSCRED, on, on.length);
  made.move();
  return socket;
}

/**
 * Hears what the payload says, which is the process `pid` or, with `asPid2`, process 2 that it has started. Takes over the
 * socket; `finish` hears what is already there, and closes it.
 */
export function listen(
  socket: OwnedFd,
  { pid, asPid2, log, heard }: { pid: number; asPid2: boolean; log: Logger; heard: (said: Notification) => void },
): { finish(): void } {
  let isOpen = true;
  const payload = asPid2 ? process2(pid) : pid;
  const hearSome = () => {
    for (let left = MOST_AT_ONCE; left > 0; left--) {
      const datagram = receiveDatagram(socket.fd, LONGEST_MESSAGE + 1);
      if (!datagram) return;
      const { bytes, pid: sender } = datagram;
      if (sender !== payload) {
        log.debug(`ignoring a notification of process ${sender}, which is not the payload`);
      } else if (bytes.length > LONGEST_MESSAGE) {
        log.warn(`ignoring a notification of the payload: it has more than ${LONGEST_MESSAGE} bytes`);
      } else {
        const said = parseNotification(Buffer.from(bytes).toString());
        if (said) heard(said);
      }
    }
  };
  const hearOn = async () => {
    while (isOpen) {
      await untilReadable(socket.fd);
      if (isOpen) hearSome();
    }
  };
  void hearOn();
  return {
    finish() {
      if (!isOpen) return;
      isOpen = false;
      stopWaiting(socket.fd);
      try {
        hearSome();
      } finally {
        socket[Symbol.dispose]();
      }
    },
  };
}

/** Undefined if it has nothing to be passed on. */
export function parseNotification(text: string): Notification | undefined {
  const lines = text.split(/[\r\n]/);
  const ready = lines.includes('READY=1');
  // A terminal may show it some day.
  const status = lines
    .find(line => line.startsWith('STATUS='))
    ?.slice('STATUS='.length)
    .replace(/\p{Cc}/gu, ' ');
  return ready || status !== undefined ? { ready, ...(status !== undefined && { status }) } : undefined;
}

/**
 * The process that `init`, the first one of a process namespace, has started: number 2 there, for as long as the namespace
 * lives. Undefined if that is over. See proc_pid_task(5), proc_pid_status(5).
 */
function process2(init: number): number | undefined {
  const children = readIfThere(`/proc/${init}/task/${init}/children`)?.toString() ?? '';
  return children
    .split(' ')
    .filter(Boolean)
    .map(Number)
    .find(child => /^NSpid:.*\t2$/m.test(readIfThere(`/proc/${child}/status`)?.toString() ?? ''));
}
