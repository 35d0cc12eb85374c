/** System calls of this process: the one way from JavaScript to the kernel. */
import { type Argument, allows, argumentWord, type Call, type ResultOf, writeCString } from './call.ts';
import { MAP, PROT } from './constants.ts';
import { type Errno, errnoByNumber } from './errno.ts';
import { formatCall } from './format.ts';
import { type Koffi, loadKoffi } from './koffi.ts';
import { syscallNumber } from './machine.ts';

/** The oldest kernel with all that is needed: the file cgroup.kill came last, after mount_setattr(2) in 5.12. */
const OLDEST_KERNEL = '5.14';
const NO_SUCH_CALL = `; nspawn needs Linux ${OLDEST_KERNEL} or newer, and no system call filter that hides its calls`;
/** All that it is asked for is known since Linux 5.7: clone3(2). */
const NO_SUCH_CLONE = `; nspawn needs Linux ${OLDEST_KERNEL} or newer, with all kinds of namespaces`;

/**
 * A system call that failed. `message` has the call with its arguments, and the error's text and name; for a call that
 * the kernel lacks also what is needed.
 */
export class SyscallError extends Error {
  readonly call: Call;
  /** Such as 2. */
  readonly errno: number;
  /** Such as ENOENT. */
  readonly code: string;
  /** Such as 'No such file or directory'. */
  readonly text: string;

  constructor(failed: Call, error: Errno) {
    super(`${formatCall(failed)}: ${error.text} (${error.name})${hint(failed, error)}`);
    this.name = 'SyscallError';
    this.call = failed;
    this.errno = error.number;
    this.code = error.name;
    this.text = error.text;
  }
}

/** What an error is likely to mean. */
function hint({ name }: Call, error: Errno): string {
  if (error.name === 'ENOSYS') return NO_SUCH_CALL;
  return name === 'clone3' && error.name === 'EINVAL' ? NO_SUCH_CLONE : '';
}

/** Sees each call and its result (-errno for an error) when set; what --log-level=trace shows. */
export const trace: { sink?: (who: string, traced: Call, result: number) => void } = {};

type SyscallFunction = (number: number, ...args: (number | bigint)[]) => number | bigint;
let libcSyscall: SyscallFunction | undefined;
let koffi: Koffi;

/**
 * Memory outside the JavaScript heap for what small arguments point to: to ask for the address of a buffer of the heap
 * takes longer than most system calls.
 */
let scratch: { address: number; bytes: Uint8Array };
const SCRATCH_SIZE = 65536;
/** Larger arguments are used where they are. */
const LARGEST_COPIED = 8192;

function libc(): SyscallFunction {
  koffi = loadKoffi();
  // syscall(2): returns -1 and sets errno.
  const run: SyscallFunction = koffi
    .load(null)
    .func('long syscall(long n, long a, long b, long c, long d, long e, long f)');
  const address = Number(
    run(syscallNumber('mmap'), 0, SCRATCH_SIZE, PROT.READ | PROT.WRITE, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0),
  );
  if (address === -1) throw new Error('allocating memory for system calls: there is none');
  scratch = { address, bytes: new Uint8Array(koffi.view(BigInt(address), SCRATCH_SIZE)) };
  libcSyscall = run;
  return run;
}

/**
 * Performs a system call and returns its result. Interrupted calls are done again (close(2) must not be). Throws
 * SyscallError unless the call allows the error; an allowed error returns -errno.
 */
export function perform(performed: Call): number {
  const run = libcSyscall ?? libc();
  const { name, args, allow } = performed;
  const number = syscallNumber(name);
  const words: [Word, Word, Word, Word, Word, Word] = [0, 0, 0, 0, 0, 0];
  placed.end = 0;
  if (placed.outputs.length > 0) placed.outputs = [];
  if (placed.large.length > 0) placed.large = [];
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] as Exclude<Argument, ResultOf>;
    words[i] = typeof argument === 'number' ? argument : argumentWord(argument, place);
  }

  for (;;) {
    const result = Number(run(number, ...words));
    const error = result === -1 ? koffi.errno() : 0;
    for (const { at, bytes } of placed.outputs) bytes.set(scratch.bytes.subarray(at, at + bytes.length));
    trace.sink?.('nspawn', performed, error ? -error : result);
    if (!error) return result;
    const errno = errnoByNumber(error);
    if (errno.name === 'EINTR' && name !== 'close') continue;
    if (allows(allow, errno.name)) return -error;
    throw new SyscallError(performed, errno);
  }
}

type Word = number | bigint;

/** What the arguments of the call that is being made point to. */
const placed = {
  /** Where the scratch memory is free. */
  end: 0,
  /** What the kernel writes to there, and where it is wanted. */
  outputs: [] as { at: number; bytes: Uint8Array }[],
  /** Large arguments must stay referenced until the call is over. */
  large: [] as Uint8Array[],
};

/** Puts what an argument points to into the scratch memory. */
function place(wanted: Uint8Array | string, output: boolean): number | bigint {
  const size = typeof wanted === 'string' ? wanted.length * 3 + 1 : wanted.length;
  const at = placed.end;
  if (size > LARGEST_COPIED || at + size > SCRATCH_SIZE) {
    const used = typeof wanted === 'string' ? cString(wanted) : wanted;
    placed.large.push(used);
    return addressOf(used);
  }
  let used = size;
  if (typeof wanted === 'string') used = writeCString(wanted, scratch.bytes, at);
  // The kernel may leave some of an output as it is, so that starts as the caller's.
  else scratch.bytes.set(wanted, at);
  if (output) placed.outputs.push({ at, bytes: wanted as Uint8Array });
  placed.end = at + ((used + 8) & ~7);
  return scratch.address + at;
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
