/**
 * A system call as data: the same description is performed by this process (syscall.ts), by an agent in a container
 * (agent/agent.ts), or only printed (format.ts).
 */

/** Bytes with pointers in them, such as struct sock_fprog: each argument's address is put at its offset. */
export interface Struct {
  bytes: Uint8Array;
  pointers: readonly (readonly [offset: number, target: Argument])[];
}

/** What an earlier call of the same batch returned. Only agents know these. */
export interface ResultOf {
  resultOf: Call;
}

/**
 * An argument: a value as it is, or something whose address is handed over: a string (ended by NUL), bytes to read,
 * bytes to fill (`out`), an array of strings ended by a null pointer, or a struct.
 */
export type Argument =
  | number
  | bigint
  | null
  | string
  | Uint8Array
  | { out: Uint8Array }
  | readonly string[]
  | Struct
  | ResultOf;

export interface Call {
  readonly name: string;
  readonly args: readonly Argument[];
  /** Names of the errors that are no failure here; 'any' stands for all of them. */
  allow?: readonly string[] | 'any' | undefined;
}

/** Describes a system call. */
export const call = (name: string, ...args: Argument[]): Call => ({ name, args });

/** The same call, which may fail with the errors named (all, when none is named). */
export const allowing = ({ name, args }: Call, ...errors: string[]): Call => ({
  name,
  args,
  allow: errors.length ? errors : 'any',
});

/** True if this error, by its name, is among those that a call allows. */
export const allows = (allowed: Call['allow'], error: string): boolean =>
  allowed === 'any' || (allowed?.includes(error) ?? false);

export const resultOf = (earlier: Call): ResultOf => ({ resultOf: earlier });

const encoder = new TextEncoder();

/**
 * Writes a string as C wants it, and returns its size with the NUL. It takes at most three bytes for each UTF-16 unit.
 * Throws if it has a NUL inside, which would cut it short.
 */
export function writeCString(text: string, memory: Uint8Array, at: number): number {
  if (text.includes('\0'))
    throw new Error(`passing ${JSON.stringify(text)} to the kernel: it has a NUL character in it`);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return writeUtf8(text, memory, at);
    memory[at + i] = unit;
  }
  memory[at + text.length] = 0;
  return text.length + 1;
}

function writeUtf8(text: string, memory: Uint8Array, at: number): number {
  const { written } = encoder.encodeInto(text, memory.subarray(at));
  memory[at + written] = 0;
  return written + 1;
}

/** Where the memory behind an argument comes from: puts bytes or a C string somewhere and tells their address. */
export type Placer = (placed: Uint8Array | string, output: boolean) => number | bigint;

/** The word that stands for an argument, with what it points to put in place. */
export function argumentWord(argument: Exclude<Argument, ResultOf>, place: Placer): number | bigint {
  if (argument === null) return 0;
  if (typeof argument === 'number' || typeof argument === 'bigint') return argument;
  if (typeof argument === 'string' || argument instanceof Uint8Array) return place(argument, false);
  if ('out' in argument) return place(argument.out, true);
  if ('bytes' in argument) return place(structBytes(argument, place), false);
  const pointers: [number, Argument][] = (argument as readonly string[]).map((text, i) => [8 * i, text]);
  return place(structBytes({ bytes: new Uint8Array(8 * (pointers.length + 1)), pointers }, place), false);
}

function structBytes({ bytes, pointers }: Struct, place: Placer): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [offset, target] of pointers) {
    const word = argumentWord(target as Exclude<Argument, ResultOf>, place);
    view.setBigUint64(offset, BigInt.asUintN(64, BigInt(word)), true);
  }
  return bytes;
}
