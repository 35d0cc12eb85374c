/** Brings lo up in the container's network namespace. Apart, so that only those with one load netlink. */
import { encodeRequest, setLinkUp, verifyAcknowledged } from '../../netlink/index.ts';
import type { Agent } from '../../syscalls/agent/agent.ts';
import { call, resultOf } from '../../syscalls/call.ts';
import { AF, NETLINK_ROUTE, SOCK } from '../../syscalls/constants.ts';

/** In a fresh network namespace lo is the first link. */
const LOOPBACK_INDEX = 1;
const SEQUENCE = 1;
const LONGEST_ANSWER = 4096;

/** Throws SyscallError, or netlink's errors with the kernel's reason. */
export function bringLoopbackUp(agent: Agent): void {
  const request = setLinkUp(LOOPBACK_INDEX);
  const message = encodeRequest(request, SEQUENCE);
  const answer = new Uint8Array(LONGEST_ANSWER);
  const socket = call('socket', AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC, NETLINK_ROUTE);
  const [, , received] = agent.run([
    socket,
    call('sendto', resultOf(socket), message, message.length, 0, null, 0),
    call('recvfrom', resultOf(socket), { out: answer }, answer.length, 0, null, null),
  ]);
  verifyAcknowledged(request, SEQUENCE, answer.subarray(0, received));
}
