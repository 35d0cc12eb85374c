/** The home directory of the payload's user. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { allowing, call, resultOf } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { makeDirectories, openInRoot, splitPath } from '../../syscalls/file.ts';
import type { User } from './user.ts';

/** Makes the home directory if it is missing, and gives a new one to the user. Throws SyscallError. */
export function makeHome(agent: Agent, { home, uid, gid }: User): void {
  const { parent, name } = splitPath(home);
  if (name === '') return;
  const open = openInRoot(AT.FDCWD, parent, O.PATH | O.DIRECTORY);
  const calls = [
    ...makeDirectories(AT.FDCWD, parent, 0o775),
    open,
    allowing(call('mkdirat', resultOf(open), name, 0o755), 'EEXIST'),
  ];
  const [opened, made] = agent.run(calls).slice(-2);
  // What was there before keeps its owner.
  if (made === 0) agent.run([call('fchownat', opened!, name, uid, gid, AT.SYMLINK_NOFOLLOW)]);
  agent.run([call('close', opened!)]);
}
