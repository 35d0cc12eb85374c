/** A static executable around a few hundred bytes of code. Layout: elf(5), <elf.h>. */

const TEXT_ADDRESS = 0x400000n;
const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const ET_EXEC = 2;
const PT_LOAD = 1;
const PF_R_X = 5;

/** e_machine by architecture, <elf.h> */
const MACHINE = { x86_64: 62, arm64: 183 } as const;
export type Architecture = keyof typeof MACHINE;

/** The executable's bytes: one loaded segment, readable and executable, entered at its first instruction. */
export function elfExecutable(architecture: Architecture, code: Uint8Array): Uint8Array {
  const start = HEADER_SIZE + PROGRAM_HEADER_SIZE;
  const bytes = new Uint8Array(start + code.length);
  const view = new DataView(bytes.buffer);
  const size = BigInt(bytes.length);
  // Class 64 bits, little endian, version 1.
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, ET_EXEC, true);
  view.setUint16(18, MACHINE[architecture], true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, TEXT_ADDRESS + BigInt(start), true);
  view.setBigUint64(32, BigInt(HEADER_SIZE), true);
  view.setUint16(52, HEADER_SIZE, true);
  view.setUint16(54, PROGRAM_HEADER_SIZE, true);
  view.setUint16(56, 1, true);

  view.setUint32(HEADER_SIZE, PT_LOAD, true);
  view.setUint32(HEADER_SIZE + 4, PF_R_X, true);
  view.setBigUint64(HEADER_SIZE + 16, TEXT_ADDRESS, true);
  view.setBigUint64(HEADER_SIZE + 24, TEXT_ADDRESS, true);
  view.setBigUint64(HEADER_SIZE + 32, size, true);
  view.setBigUint64(HEADER_SIZE + 40, size, true);
  // Alignment: 64 KiB, the largest page size of AArch64.
  view.setBigUint64(HEADER_SIZE + 48, 0x10000n, true);
  bytes.set(code, start);
  return bytes;
}
