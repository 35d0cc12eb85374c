/**
 * Starts agents, of which each becomes a program; prints `works`, or in one line why it doesn't. The argument is a
 * number of descriptors to give to the second one.
 */
import process from 'node:process';
import { startAgent } from '../../../syscalls/agent/agent.ts';
import { call } from '../../../syscalls/call.ts';
import { AT, O } from '../../../syscalls/constants.ts';
import { owned, readableWithin } from '../../../syscalls/fd.ts';
import { reapIfEnded } from '../../../syscalls/process.ts';
import { syscall } from '../../../syscalls/syscall.ts';

function startWith(count: number): void {
  using opened = new DisposableStack();
  const openRoot = () => opened.use(owned(syscall('openat', AT.FDCWD, '/', O.PATH | O.CLOEXEC, 0))).fd;
  using agent = startAgent({ namespaces: 0n, fds: Array.from({ length: count }, openRoot), dieWithParent: true });
  const [pid] = agent.run([call('getpid')]);
  if (pid !== agent.pid) throw new Error(`the agent says it is ${pid}, not ${agent.pid}`);
  agent.exec([call('execve', '/bin/sh', ['sh', '-c', 'exit 7'], [])]);
  agent.detach();
  using pidfd = owned(agent.pidfd);
  readableWithin(pidfd.fd, 60);
  const ending = JSON.stringify(reapIfEnded(pidfd.fd)?.ending);
  if (ending !== '{"exited":7}') throw new Error(`it ended with ${ending}`);
}

try {
  startWith(0);
  startWith(Number(process.argv[2] ?? 0));
  startWith(0);
  console.log('works');
} catch (error) {
  console.log((error as Error).message);
}
