/** Machine code of this machine's architecture, made when the first agent starts and kept. */
import { call } from '../call.ts';
import { F, F_SEAL, MAP, MFD, PROT } from '../constants.ts';
import { owned, passableFd } from '../fd.ts';
import { perform, SyscallError, syscall } from '../syscall.ts';
import { agentElf, stubCode } from './machine-code.ts';

/** What the child of clone3 has for a stack; it never uses it, but a signal frame would. */
const STACK_SIZE = 16384;
/** The stub begins at a multiple of so many bytes, as functions do: https://gitlab.com/x86-psABIs/x86-64-ABI */
const ALIGNMENT = 16;

export interface Programs {
  /** A descriptor of the agent's executable. */
  agent: number;
  /** Address of the stub's code. */
  stub: bigint;
  stack: { address: bigint; size: number };
}

let programs: Programs | undefined;

/**
 * The agent as a sealed memfd, and the stub, which is behind it in that: where SELinux forbids to execute memory that
 * was written to (execmem), this process may still execute a file's. Throws an Error that says what forbids it.
 */
export function loadPrograms(): Programs {
  if (programs) return programs;
  using undo = new DisposableStack();
  const { fd } = undo.use(owned(passableFd(executableMemfd())));
  const [elf, code] = [agentElf(), stubCode()];
  const codeAt = Math.ceil(elf.length / ALIGNMENT) * ALIGNMENT;
  const file = new Uint8Array(codeAt + code.length);
  file.set(elf);
  file.set(code, codeAt);
  syscall('write', fd, file, file.length);
  syscall('fcntl', fd, F.ADD_SEALS, F_SEAL.SEAL | F_SEAL.SHRINK | F_SEAL.GROW | F_SEAL.WRITE);
  const mapped = syscall('mmap', 0, file.length, PROT.READ | PROT.EXEC, MAP.PRIVATE, fd, 0);
  const stack = syscall('mmap', 0, STACK_SIZE, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);
  programs = { agent: fd, stub: BigInt(mapped + codeAt), stack: { address: BigInt(stack), size: STACK_SIZE } };
  undo.move();
  return programs;
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
