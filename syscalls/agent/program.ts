/** Machine code of this machine's architecture, made when the first agent starts and kept. */
import { call } from '../call.ts';
import { F, F_SEAL, MAP, MFD, PROT } from '../constants.ts';
import { owned, passableFd } from '../fd.ts';
import { memoryAt, perform, SyscallError, syscall } from '../syscall.ts';
import { agentElf, stubCode } from './machine-code.ts';

const PAGE = 4096;
/** What the child of clone3 has for a stack; it never uses it, but a signal frame would. */
const STACK_SIZE = 16384;

export interface Stub {
  /** Address of the stub's code. */
  code: bigint;
  stack: { address: bigint; size: number };
}

let stub: Stub | undefined;
let agentFd: number | undefined;

/** The stub in executable memory. Throws SyscallError. */
export function loadStub(): Stub {
  if (stub) return stub;
  // The code is written before the page turns executable: never both at once.
  const map = (size: number) =>
    BigInt(syscall('mmap', 0, size, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0));
  const address = map(PAGE);
  memoryAt(address, PAGE).set(stubCode());
  syscall('mprotect', address, PAGE, PROT.READ | PROT.EXEC);
  stub = { code: address, stack: { address: map(STACK_SIZE), size: STACK_SIZE } };
  return stub;
}

/** The agent's executable as a sealed memfd. Throws an Error that says what forbids it. */
export function agentExecutable(): number {
  if (agentFd !== undefined) return agentFd;
  using undo = new DisposableStack();
  const { fd } = undo.use(owned(passableFd(executableMemfd())));
  const elf = agentElf();
  syscall('write', fd, elf, elf.length);
  syscall('fcntl', fd, F.ADD_SEALS, F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE);
  undo.move();
  agentFd = fd;
  return fd;
}

function executableMemfd(): number {
  const flags = MFD.CLOEXEC | MFD.ALLOW_SEALING;
  try {
    return syscall('memfd_create', 'nspawn-agent', flags | MFD.EXEC);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.code === 'EACCES') {
      throw new Error(
        'starting a container: sysctl vm.memfd_noexec=2 forbids executable memory files; set it to 0 or 1',
      );
    }
    // Kernels before 6.3 don't know MFD_EXEC, and make executable ones without it.
    if (error.code !== 'EINVAL') throw error;
    return perform(call('memfd_create', 'nspawn-agent', flags));
  }
}
