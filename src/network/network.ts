/**
 * Gives a container its network interfaces, and takes care that none of them outlives it. This process talks to the
 * kernel in its own namespace, and by a socket that the container's agent has made in the container's.
 */
import { Connection, encodeRequest, KernelError, type Request } from '../../netlink/index.ts';
import type { Agent } from '../../syscalls/agent/agent.ts';
import { type Call, call } from '../../syscalls/call.ts';
import { AT, CLONE, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { makeNetlinkSocket, openNetlink } from '../../syscalls/netlink-socket.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import type { Logger } from '../log.ts';
import type { InterfaceAction } from '../plan/steps.ts';
import { moveInterface } from './moved-interface.ts';
import { makeIpvlan, makeMacvlan } from './sub-interface.ts';
import { makeVethLink } from './veth.ts';

/** A network namespace that can be talked to. */
export interface Side {
  connection: Connection;
  /** The connection's descriptor, for a will. */
  socket: number;
}

export interface Network {
  agent: Agent;
  /** What lives as long as the container does. It is disposed of when the container's processes have ended. */
  keep: DisposableStack;
  log: Logger;
  host: Side;
  /** Opened when it is first asked for: not every container needs it. */
  container(): Side;
}

export interface NetworkOptions {
  agent: Agent;
  /** With users of its own: who makes sockets that may move interfaces back. */
  outside: Agent | undefined;
  keep: DisposableStack;
  log: Logger;
}

const WORK: { [K in InterfaceAction['do']]: (action: Extract<InterfaceAction, { do: K }>, network: Network) => void } =
  {
    'move interface': moveInterface,
    'make veth link': makeVethLink,
    'make macvlan': makeMacvlan,
    'make ipvlan': makeIpvlan,
  };

/** Returns what carries out a plan's actions; it throws SyscallError, and netlink's errors with the kernel's reason. */
export function openNetwork({ agent, outside, keep, log }: NetworkOptions): (action: InterfaceAction) => void {
  const open = (socket: OwnedFd): Side => ({
    connection: keep.use(new Connection(openNetlink(socket))),
    socket: socket.fd,
  });
  let container: Side | undefined;
  const network: Network = {
    agent,
    keep,
    log,
    host: open(owned(perform(makeNetlinkSocket))),
    container() {
      container ??= open(outside ? socketFromOutside(outside, agent.pid) : socketOf(agent));
      return container;
    },
  };
  return action => (WORK[action.do] as (action: InterfaceAction, network: Network) => void)(action, network);
}

const socketOf = (agent: Agent): OwnedFd => agent.takeFd(agent.run([makeNetlinkSocket]).at(-1)!);

/** What root of a user namespace has made, has no rights in the host's network: netlink_capable() in the kernel. */
function socketFromOutside(outside: Agent, pid: number): OwnedFd {
  using namespace = owned(syscall('openat', AT.FDCWD, `/proc/${pid}/ns/net`, O.RDONLY | O.CLOEXEC, 0));
  const [fd] = outside.sendFds([namespace.fd]);
  outside.run([call('setns', fd!, CLONE.NEWNET)]);
  return socketOf(outside);
}

/**
 * Does something at the end of the container, or of `stack`. A failure is a warning: there, nobody could do anything about
 * it any more, and where a failed start is undone it would hide why.
 */
export function atEnd({ keep, log }: Network, doing: string, work: () => void, stack = keep): void {
  stack.defer(() => {
    try {
      work();
    } catch (error) {
      log.warn(`${doing}: ${(error as Error).message}`);
    }
  });
}

/** Whether the kernel has refused something for this reason, such as ENODEV. */
export const isRefusal = (error: unknown, code: string): boolean => error instanceof KernelError && error.code === code;

/** Makes a change; false if the link is not there. Throws as Connection.execute does. */
export function changedIfThere({ connection }: Side, request: Request): boolean {
  try {
    connection.execute(request);
    return true;
  } catch (error) {
    if (!isRefusal(error, 'ENODEV')) throw error;
    return false;
  }
}

/** A change as a call, for a will, which reads no answers. */
export function sending(socket: number, request: Request): Call {
  const message = encodeRequest(request, 0);
  return call('sendto', socket, message, message.length, 0, null, 0);
}
