/**
 * The device policy of a cgroup of version 2 as an eBPF program: the kernel asks it whenever a process in the cgroup
 * opens or makes a device node. See BPF_PROG_TYPE_CGROUP_DEVICE in linux/bpf.h. Pure.
 */
import {
  and,
  assemble,
  copy,
  exit,
  type Instruction,
  type Jump,
  loadWord,
  type Statement,
  set,
  shiftRight,
} from './instructions.ts';

/** Devices that may be used; a number that is absent stands for all. */
export interface DeviceRule {
  type: 'char' | 'block';
  major?: number;
  minor?: number;
  /** Some of r (read), w (write) and m (mknod). */
  access: string;
}

/** Offsets in struct bpf_cgroup_dev_ctx: what is to be done and the kind of device in one word, then its numbers. */
export const CONTEXT = { access: 0, major: 4, minor: 8 } as const;
/** BPF_DEVCG_DEV_*, the lower half of the first word. */
export const DEVICE_TYPE = { block: 1, char: 2 } as const;
/** BPF_DEVCG_ACC_*, the upper half. */
export const ACCESS = { m: 1, r: 2, w: 4 } as const;
const ALL_ACCESS = 7;

/** The kernel gives the context in register 1 and wants the answer in register 0. */
const ANSWER = 0;
const GIVEN = 1;
const TYPE = 2;
const WANTED = 3;
const MAJOR = 4;
const MINOR = 5;

const DENY = 0;
const ALLOW = 1;

/** A program that allows what the first matching rule allows, and nothing else. */
export function deviceProgram(rules: readonly DeviceRule[]): Instruction[] {
  return assemble([
    loadWord(TYPE, GIVEN, CONTEXT.access),
    copy(WANTED, TYPE),
    and(TYPE, 0xffff),
    shiftRight(WANTED, 16),
    loadWord(MAJOR, GIVEN, CONTEXT.major),
    loadWord(MINOR, GIVEN, CONTEXT.minor),
    ...rules.flatMap((rule, i) => statements(rule, `rule ${i + 1}`)),
    set(ANSWER, DENY),
    exit,
  ]);
}

/** Allows what a rule does, or goes on behind it. */
function statements({ type, major, minor, access }: DeviceRule, next: string): Statement[] {
  const unless = (register: number, constant: number): Jump => ({ jumpIfNot: { register, constant, to: next } });
  const bits = accessBits(access);
  return [
    unless(TYPE, DEVICE_TYPE[type]),
    // What is wanted beyond what is allowed.
    ...(bits === ALL_ACCESS ? [] : [copy(ANSWER, WANTED), and(ANSWER, ALL_ACCESS & ~bits), unless(ANSWER, 0)]),
    ...(major === undefined ? [] : [unless(MAJOR, major)]),
    ...(minor === undefined ? [] : [unless(MINOR, minor)]),
    set(ANSWER, ALLOW),
    exit,
    { label: next },
  ];
}

function accessBits(access: string): number {
  let bits = 0;
  for (const letter of access) bits |= ACCESS[letter as keyof typeof ACCESS];
  return bits;
}
