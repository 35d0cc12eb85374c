/** Random filters, and random calls that lie close to what the filters compare with. */

import {
  type Action,
  type Architecture,
  type ArchitectureName,
  type ArgumentIndex,
  AUDIT_ARCH,
  type Condition,
  type Filter,
  type Rule,
  type SeccompData,
} from '../../syscalls/seccomp/index.ts';
import type { Random } from '../support/random.ts';

const NAMES = Object.keys(AUDIT_ARCH) as ArchitectureName[];
const ACTIONS: readonly Action[] = ['allow', 'log', 'notify', 'trap', 'kill-thread', 'kill-process', { trace: 0xabcd }];
const INDEXES: readonly ArgumentIndex[] = [0, 1, 2, 3, 4, 5];

export function randomAction(random: Random): Action {
  return random.oneIn(3) ? random.pick(ACTIONS) : { errno: random.below(4096) };
}

/** A value as filters compare with: often with one half 0 or all ones, where 32-bit code is easily wrong. */
export function randomValue(random: Random): bigint {
  const words = [0n, 1n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, BigInt(random.uint32())];
  return (random.pick(words) << 32n) | random.pick(words);
}

export function randomCondition(random: Random, indexes: readonly ArgumentIndex[] = INDEXES): Condition {
  const index = random.pick(indexes);
  const value = randomValue(random);
  const op = random.pick(['==', '!=', '<', '<=', '>', '>=', 'masked ==', 'masked !='] as const);
  if (op !== 'masked ==' && op !== 'masked !=') return { index, op, value };
  const mask = randomValue(random);
  return { index, op, value: value & mask, mask };
}

export function randomRules(random: Random, names: readonly string[], count: number): Rule[] {
  return Array.from({ length: count }, () => {
    const rule = { syscall: random.pick(names), action: randomAction(random) };
    if (random.oneIn(2)) return rule;
    return { ...rule, args: Array.from({ length: 1 + random.below(3) }, () => randomCondition(random)) };
  });
}

/** Architectures with made-up tables: `calls` names each, some missing, some numbers used twice. */
export function randomArchitectures(random: Random, calls: number, spread: number): Architecture[] {
  const names = NAMES.filter(() => random.oneIn(2));
  if (names.length === 0) names.push(random.pick(NAMES));
  return names.map(name => {
    const bit = name === 'x32' ? 0x4000_0000 : 0;
    const syscalls: Record<string, number> = {};
    for (let call = 0; call < calls; call++) {
      if (!random.oneIn(10)) syscalls[`call${call}`] = bit + random.below(calls * spread);
    }
    return { name, syscalls };
  });
}

/** A call near the rules of a filter, so that each branch of its program is taken both ways now and then. */
export function randomCall(random: Random, filter: Filter): SeccompData {
  const args: bigint[] = INDEXES.map(() => (random.oneIn(2) ? 0n : randomValue(random)));
  const architecture = random.pick(filter.architectures);
  let arch = AUDIT_ARCH[architecture.name];
  if (random.oneIn(10)) arch = random.oneIn(2) ? random.uint32() : AUDIT_ARCH[random.pick(NAMES)];
  if (filter.rules.length === 0) return { nr: random.uint32(), arch, args };

  const rule = random.pick(filter.rules);
  for (const condition of rule.args ?? []) {
    if (!random.oneIn(8)) args[condition.index] = nearCondition(random, condition);
  }
  const number = architecture.syscalls[rule.syscall] ?? random.below(500);
  return { nr: nearNumber(random, number), arch, args };
}

function nearNumber(random: Random, number: number): number {
  const others = [number - 1, number + 1, number ^ 0x4000_0000, number ^ 0x8000_0000, -1, 0x3fff_ffff, 0x4000_0000];
  return random.oneIn(3) ? random.pick(others) : number;
}

function nearCondition(random: Random, condition: Condition): bigint {
  const { value } = condition;
  const flipped = value ^ (1n << BigInt(random.below(64)));
  const near = [value, value, value - 1n, value + 1n, flipped, value ^ 0xffff_ffff_0000_0000n, random.uint64()];
  if ('mask' in condition) near.push(value | (random.uint64() & ~condition.mask));
  return BigInt.asUintN(64, random.pick(near));
}
