/** What a filter means, worked out from its rules directly: what compiled programs are held against. */

import {
  type Action,
  type ArchitectureName,
  AUDIT_ARCH,
  type Condition,
  type Filter,
  type SeccompData,
} from '../../syscalls/seccomp/index.ts';

export function decide(filter: Filter, data: SeccompData): Action {
  const nr = data.nr >>> 0;
  const owner = ownerOf(data.arch >>> 0, nr);
  const architecture = filter.architectures.find(({ name }) => name === owner);
  if (architecture === undefined) return filter.unknownArchitecture ?? 'kill-process';
  for (const rule of filter.rules) {
    if (!Object.hasOwn(architecture.syscalls, rule.syscall) || architecture.syscalls[rule.syscall] !== nr) continue;
    if ((rule.args ?? []).every(condition => holds(condition, data))) return rule.action;
  }
  return filter.defaultAction;
}

function ownerOf(arch: number, nr: number): ArchitectureName | undefined {
  if (arch === AUDIT_ARCH.x86_64) return (nr & 0x4000_0000) !== 0 && nr !== 0xffff_ffff ? 'x32' : 'x86_64';
  return (['i386', 'arm64', 'arm'] as const).find(name => AUDIT_ARCH[name] === arch);
}

function holds(condition: Condition, data: SeccompData): boolean {
  const argument = BigInt.asUintN(64, data.args?.[condition.index] ?? 0n);
  const { value } = condition;
  switch (condition.op) {
    case '==':
      return argument === value;
    case '!=':
      return argument !== value;
    case '<':
      return argument < value;
    case '<=':
      return argument <= value;
    case '>':
      return argument > value;
    case '>=':
      return argument >= value;
    case 'masked ==':
      return (argument & condition.mask) === value;
    case 'masked !=':
      return (argument & condition.mask) !== value;
  }
}
