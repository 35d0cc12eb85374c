/** System calls of this process: the one way from JavaScript to the kernel. */
import { type Argument, allows, argumentWord, type Call, type Placer, type ResultOf, writeCString } from './call.ts';
import { type Errno, errnoByNumber } from './errno.ts';
import { formatCall } from './format.ts';
import { type Koffi, loadKoffi } from './koffi.ts';
import { syscallNumber } from './machine.ts';

/** A system call that failed. `message` has the call with its arguments, and the error's text and name. */
export class SyscallError extends Error {
  readonly call: Call;
  /** Such as 2. */
  readonly errno: number;
  /** Such as ENOENT. */
  readonly code: string;
  /** Such as 'No such file or directory'. */
  readonly text: string;

  constructor(failed: Call, error: Errno) {
    super(`${formatCall(failed)}: ${error.text} (${error.name})`);
    this.name = 'SyscallError';
    this.call = failed;
    this.errno = error.number;
    this.code = error.name;
    this.text = error.text;
  }
}

/** Sees each call and its result (-errno for an error) when set; what --log-level=trace shows. */
export const trace: { sink?: (who: string, traced: Call, result: number) => void } = {};

type SyscallFunction = (number: number, ...args: (number | bigint)[]) => number | bigint;
let libcSyscall: SyscallFunction | undefined;
let koffi: Koffi;

function libc(): SyscallFunction {
  koffi = loadKoffi();
  // syscall(2): returns -1 and sets errno.
  libcSyscall = koffi.load(null).func('long syscall(long n, long a, long b, long c, long d, long e, long f)');
  return libcSyscall as SyscallFunction;
}

/**
 * Performs a system call and returns its result. Interrupted calls are done again (close(2) must not be). Throws
 * SyscallError unless the call allows the error; an allowed error returns -errno.
 */
export function perform(performed: Call): number {
  const run = libcSyscall ?? libc();
  const number = syscallNumber(performed.name);
  // The arguments' memory must stay until the call is over: `kept` holds it.
  const kept: Uint8Array[] = [];
  const words: (number | bigint)[] = [0, 0, 0, 0, 0, 0];
  const place: Placer = placed => {
    const bytes = typeof placed === 'string' ? cString(placed) : placed;
    kept.push(bytes);
    return bytes.byteLength ? addressOf(bytes) : 0;
  };
  for (let i = 0; i < performed.args.length; i++) {
    words[i] = argumentWord(performed.args[i] as Exclude<Argument, ResultOf>, place);
  }

  for (;;) {
    const result = Number(run(number, ...words));
    const error = result === -1 ? koffi.errno() : 0;
    trace.sink?.('nspawn', performed, error ? -error : result);
    if (!error) return kept.length >= 0 ? result : 0;
    const errno = errnoByNumber(error);
    if (errno.name === 'EINTR' && performed.name !== 'close') continue;
    if (allows(performed.allow, errno.name)) return -error;
    throw new SyscallError(performed, errno);
  }
}

/** Performs the system call `name`. Throws SyscallError. */
export const syscall = (name: string, ...args: Argument[]): number => perform({ name, args });

/** The address of bytes, for as long as they are referenced. */
export function addressOf(bytes: Uint8Array): bigint {
  if (!koffi) libc();
  return koffi.address(bytes);
}

/** Memory at an address as bytes; valid until it is unmapped. */
export function memoryAt(address: bigint, size: number): Uint8Array {
  if (!koffi) libc();
  return new Uint8Array(koffi.view(address, size));
}

/** Calls machine code at `address` by the C calling convention with three words. */
export function callCode(address: bigint, a: bigint, b: bigint, c: bigint): number {
  if (!koffi) libc();
  codeType ??= koffi.proto('long nspawn_code(long a, long b, long c)');
  return Number(koffi.call(address, codeType, a, b, c));
}
let codeType: ReturnType<Koffi['proto']> | undefined;

function cString(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 3 + 1);
  return bytes.subarray(0, writeCString(text, bytes, 0));
}
