/** Starts an agent that becomes a program which waits; prints its process id. */
import { startAgent } from '../../../syscalls/agent/agent.ts';
import { call } from '../../../syscalls/call.ts';

const agent = startAgent({ namespaces: 0n, fds: [], dieWithParent: true });
agent.exec([call('execve', '/bin/sleep', ['sleep', '1000'], [])]);
agent.detach();
console.log(agent.pid);
setInterval(() => {}, 1000);
