/**
 * Does a system call by an agent where the kernel says that it has no such call: a filter sees to that, for the call
 * that the argument names. Prints what comes of it in one line.
 */
import process from 'node:process';
import { startAgent } from '../../../syscalls/agent/agent.ts';
import { call } from '../../../syscalls/call.ts';
import { errnoNumber } from '../../../syscalls/errno.ts';
import { hostArchitecture } from '../../../syscalls/machine.ts';
import { noNewPrivileges } from '../../../syscalls/process.ts';
import { compile, loadArchitecture } from '../../../syscalls/seccomp/index.ts';
import { perform, syscall } from '../../../syscalls/syscall.ts';

const name = process.argv[2]!;
const filter = compile({
  architectures: [await loadArchitecture(hostArchitecture())],
  defaultAction: 'allow',
  rules: [{ syscall: name, action: { errno: errnoNumber('ENOSYS') } }],
});
/** struct sock_fprog: the number of instructions of 8 bytes, and their address. */
const program = new Uint8Array(16);
new DataView(program.buffer).setUint16(0, filter.length / 8, true);

try {
  perform(noNewPrivileges);
  syscall('seccomp', 1, 0, { bytes: program, pointers: [[8, filter]] });
  using agent = startAgent({ namespaces: 0n, fds: [], dieWithParent: true });
  agent.run([call(name, 0, 0, 0, 0, 0, 0)]);
  console.log('works');
} catch (error) {
  console.log((error as Error).message);
}
