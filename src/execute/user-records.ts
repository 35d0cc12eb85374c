/** Writes down users of the host where nss-systemd(8) in the container finds them. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { call } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { openInRoot } from '../../syscalls/file.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { readIfThere } from '../host.ts';
import { USER_RECORDS } from '../plan/steps.ts';
import { type BoundUser, recordsOf } from '../users/bound-users.ts';

/** Gives what writes the records of users, with the hashes of their passwords. That throws SyscallError. */
export const recordWriter = (users: readonly BoundUser[]) => (agent: Agent) => writeUserRecords(agent, users);

function writeUserRecords(agent: Agent, users: readonly BoundUser[]): void {
  const hashes = passwordHashes();
  const [directory] = agent.run([openInRoot(AT.FDCWD, USER_RECORDS, O.PATH | O.DIRECTORY)]);
  for (const { name, link, mode, content } of users.flatMap(user => recordsOf(user, hashes.get(user.name)))) {
    const flags = O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC;
    const [file] = agent.run([
      call('openat', directory!, name, flags, mode),
      call('symlinkat', name, directory!, link),
    ]);
    // Written from here: a hash in memory that is shared with agents would be there for the next one, too.
    using copy = agent.takeFd(file!);
    const bytes = Buffer.from(content);
    // As a struct, of which a trace shows the size only.
    syscall('write', copy.fd, { bytes, pointers: [] }, bytes.length);
    agent.run([call('close', file!)]);
  }
  agent.run([call('close', directory!)]);
}

/** By user name; an empty one is none to be asked for: shadow(5). */
function passwordHashes(): Map<string, string> {
  const lines = (readIfThere('/etc/shadow')?.toString() ?? '').split('\n').map(line => line.split(':'));
  return new Map(lines.flatMap(([name, hash]) => (name && hash !== undefined ? [[name, hash]] : [])));
}
