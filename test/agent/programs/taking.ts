/**
 * Takes a descriptor from an agent where pidfd_getfd(2) is forbidden, as with Yama's ptrace_scope 3: a filter sees to that.
 * Prints what comes of it in one line.
 */
import { startAgent } from '../../../syscalls/agent/agent.ts';
import { call } from '../../../syscalls/call.ts';
import { AT, O } from '../../../syscalls/constants.ts';
import { errnoNumber } from '../../../syscalls/errno.ts';
import { readAll } from '../../../syscalls/file.ts';
import { hostArchitecture } from '../../../syscalls/machine.ts';
import { noNewPrivileges } from '../../../syscalls/process.ts';
import { compile, loadArchitecture } from '../../../syscalls/seccomp/index.ts';
import { perform, syscall } from '../../../syscalls/syscall.ts';

const filter = compile({
  architectures: [await loadArchitecture(hostArchitecture())],
  defaultAction: 'allow',
  rules: [{ syscall: 'pidfd_getfd', action: { errno: errnoNumber('EPERM') } }],
});
/** struct sock_fprog: the number of instructions of 8 bytes, and their address. */
const program = new Uint8Array(16);
new DataView(program.buffer).setUint16(0, filter.length / 8, true);
perform(noNewPrivileges);
syscall('seccomp', 1, 0, { bytes: program, pointers: [[8, filter]] });

using agent = startAgent({ namespaces: 0n, fds: [], dieWithParent: true });
const [file] = agent.run([call('openat', AT.FDCWD, '/proc/self/stat', O.RDONLY | O.CLOEXEC, 0)]);
const found: string[] = [];
for (const moved of [false, true]) {
  if (moved) agent.moveControl(50);
  using copy = agent.takeFd(file!);
  found.push(readAll(copy.fd, 4096).toString().startsWith(`${agent.pid} `) ? 'taken' : 'something else');
  if (!moved) agent.run([call('lseek', file!, 0, 0)]);
}
try {
  agent.takeFd(999);
} catch (error) {
  found.push((error as Error).message.replace(/\(.*?\): /, ': '));
}
agent.run([call('getpid')]);
console.log(found.join(', '));
