/**
 * What a filter is written in: plain data.
 */

import { type Action, encodeAction } from './action.ts';
import type { Architecture } from './arch.ts';
import { AUDIT_ARCH } from './arch.ts';
import { FilterError } from './errors.ts';

/** A syscall's argument: seccomp_data has six (syscall(2)). */
export type ArgumentIndex = 0 | 1 | 2 | 3 | 4 | 5;

/**
 * A comparison of one argument: all 64 bits of it, unsigned.
 *
 * Where the kernel takes an argument as an int it drops the upper half, and a caller can put anything there. Compare
 * such an argument with 'masked ==' or 'masked !=' and the mask 0xffffffffn: with '==' the caller gets round the rule,
 * and with '!=' into it.
 */
export type Condition =
  | { index: ArgumentIndex; op: '==' | '!=' | '<' | '<=' | '>' | '>='; value: bigint }
  | { index: ArgumentIndex; op: 'masked ==' | 'masked !='; value: bigint; mask: bigint };

/** An action for a syscall. It holds if all conditions hold; no conditions always hold. */
export interface Rule {
  /** Name as in syscalls(2). An architecture that lacks the call goes without the rule. */
  syscall: string;
  args?: readonly Condition[];
  action: Action;
}

/**
 * A seccomp filter. Of the rules for a syscall the first one in order that holds decides; else `defaultAction` does.
 */
export interface Filter {
  /** Architectures that the rules are for, the most used one first. */
  architectures: readonly Architecture[];
  /** For calls of these architectures that no rule holds for. */
  defaultAction: Action;
  /** For calls of all other architectures. Default: 'kill-process'. */
  unknownArchitecture?: Action;
  rules: readonly Rule[];
}

/** Refuses a filter that cannot mean what it says. Throws FilterError. */
export function checkFilter(filter: Filter): void {
  const names = filter.architectures.map(architecture => architecture.name);
  if (names.length === 0) throw new FilterError('seccomp filter: it has no architectures');
  for (const [position, name] of names.entries()) {
    if (!Object.hasOwn(AUDIT_ARCH, name)) throw new FilterError(`seccomp filter: unknown architecture ${name}`);
    if (names.indexOf(name) !== position) throw new FilterError(`seccomp filter: architecture ${name} is there twice`);
  }
  for (const [position, rule] of filter.rules.entries()) {
    encodeAction(rule.action); // throws, also where no architecture has the call
    for (const condition of rule.args ?? []) {
      const fault = conditionFault(condition);
      if (fault === undefined) continue;
      throw new FilterError(`seccomp filter: rule ${position} (${rule.syscall}): ${fault}`);
    }
  }
}

const COMPARISONS: readonly Condition['op'][] = ['==', '!=', '<', '<=', '>', '>=', 'masked ==', 'masked !='];

function conditionFault(condition: Condition): string | undefined {
  const { index, op, value } = condition;
  if (!COMPARISONS.includes(op)) return `unknown comparison ${op}`;
  if (!Number.isInteger(index) || index < 0 || index > 5) return `no argument ${index}: they are 0 to 5`;
  if (!isUint64(value)) return `argument ${index}: the value ${value} is no unsigned 64-bit bigint`;
  const { mask } = condition as { mask?: bigint };
  if (op !== 'masked ==' && op !== 'masked !=') {
    return mask === undefined ? undefined : `argument ${index}: ${op} takes no mask, unlike masked == and masked !=`;
  }
  if (!isUint64(mask)) return `argument ${index}: the mask ${mask} is no unsigned 64-bit bigint`;
  if ((value & ~mask) === 0n) return undefined;
  return `argument ${index}: the value 0x${value.toString(16)} has bits outside the mask 0x${mask.toString(16)}`;
}

/** Also of other types, for programs that no compiler has checked: with a number, arithmetic would fail later. */
function isUint64(value: unknown): value is bigint {
  return typeof value === 'bigint' && BigInt.asUintN(64, value) === value;
}
