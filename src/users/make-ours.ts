/**
 * Lets an ordinary user remove what containers have written: directories of their users belong to subordinate ids, and
 * some permit nothing even to their owner. Whoever owns a directory may remove all in it.
 */
import process from 'node:process';
import type { Agent } from '../../syscalls/agent/agent.ts';
import { call } from '../../syscalls/call.ts';
import { AT } from '../../syscalls/constants.ts';
import { fileStatus } from '../../syscalls/file.ts';
import type { IdRange } from '../../syscalls/idmap.ts';
import { perform } from '../../syscalls/syscall.ts';
import { byDescriptor } from '../trees/attributes.ts';
import type { MakeOurs } from '../trees/remove.ts';
import { startMapped } from './start-without-root.ts';
import { hasHelpers, ownSubordinates, type Subordinate } from './subordinate.ts';

/** What its owner needs to empty a directory. */
const ALL = 0o700;

/** `make` is what removeTree() wants. Disposing of it ends the agent that is started when ids need one. */
export function makeDirectoriesOurs(): Disposable & { make: MakeOurs } {
  let agent: Agent | undefined;
  return {
    make(directory) {
      const { uid, mode } = fileStatus(directory);
      if (uid !== process.geteuid!()) {
        agent ??= startForAllIds();
        giveTo(agent, directory);
      } else if ((mode & ALL) !== ALL) {
        perform(call('fchmodat', AT.FDCWD, byDescriptor(directory), ALL));
      }
    },
    [Symbol.dispose]: () => agent?.[Symbol.dispose](),
  };
}

/** Root of this agent's namespace is this user. */
function giveTo(agent: Agent, directory: number): void {
  const fd = agent.sendFds([directory])[0]!;
  agent.run([
    call('fchownat', fd, '', 0, 0, AT.EMPTY_PATH),
    call('fchmodat', AT.FDCWD, byDescriptor(fd), ALL),
    call('close', fd),
  ]);
}

function startForAllIds(): Agent {
  const own = ownSubordinates();
  if (!own || !hasHelpers()) {
    throw new Error(
      "it belongs to another user; ids that were this user's take /etc/subuid, /etc/subgid, newuidmap and newgidmap",
    );
  }
  const map = (id: number, { start, count }: Subordinate): IdRange[] => [
    { inside: 0, outside: id, count: 1 },
    { inside: 1, outside: start, count },
  ];
  return startMapped({ uids: map(process.geteuid!(), own.uids), gids: map(process.getegid!(), own.gids) });
}
