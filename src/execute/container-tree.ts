/** What a container's tree holds while it is set up. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { allowing, call } from '../../syscalls/call.ts';
import { AT, O, SEEK } from '../../syscalls/constants.ts';
import { type FileStatus, openInRoot, readLinkIn, splitPath, statusOf } from '../../syscalls/file.ts';
import { syscall } from '../../syscalls/syscall.ts';
import type { Plan } from '../plan/steps.ts';
import { checkReadable, containerView, NOTHING_THERE, type TreeView, textIn } from '../root-view.ts';

/** A view of the tree that an agent has for its root and working directory. Throws SyscallError. */
export const containerTree = ({ agent, plan }: { agent: Agent; plan: Plan }): TreeView =>
  plan.isImage && plan.users?.maps ? agentView(agent) : containerView(agent.pid);

/**
 * The same as an agent sees it: what a user namespace has mounted by FUSE, nobody outside may look up, but who has got
 * such a file open can read it.
 */
export function agentView(agent: Agent): TreeView {
  const opened = <T>(path: string, flags: number, use: (fd: number) => T): T | undefined => {
    const [fd] = agent.run([allowing(openInRoot(AT.FDCWD, path, flags), ...NOTHING_THERE)]);
    if (fd! < 0) return undefined;
    try {
      return use(fd!);
    } finally {
      agent.run([call('close', fd!)]);
    }
  };
  const statusIn = (fd: number): FileStatus => {
    const { call: look, status } = statusOf(fd);
    agent.run([look]);
    return status();
  };
  return {
    has: path => opened(path, O.PATH, () => true) ?? false,
    status: path => opened(path, O.PATH, statusIn),
    readText: path =>
      opened(path, O.RDONLY, fd => {
        checkReadable(path, statusIn(fd));
        using copy = agent.takeFd(fd);
        // Should somebody have an agent in hand that joins a container: nothing that a read waits for can be sought in.
        syscall('lseek', copy.fd, 0, SEEK.SET);
        return textIn(copy.fd);
      }),
    readLink(path) {
      const { parent, name } = splitPath(path);
      return opened(parent, O.PATH | O.DIRECTORY, fd => {
        const { call: read, target } = readLinkIn(fd, name);
        // EINVAL: there is something, but no symlink.
        const [length] = agent.run([allowing(read, ...NOTHING_THERE, 'EINVAL')]);
        return length! < 0 ? undefined : target(length!);
      });
    },
    // It is the agent's.
    [Symbol.dispose]() {},
  };
}
