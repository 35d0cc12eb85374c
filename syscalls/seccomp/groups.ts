/** Groups of syscalls by name, such as @clock, with the contents that systemd gives them. */
import { SYSCALL_GROUPS } from '../tables/syscall-groups.ts';

/** The calls that are named, and those of groups that are, with the groups in them. An unknown group has none. */
export function expandGroups(names: Iterable<string>): Set<string> {
  const calls = new Set<string>();
  for (const name of names) {
    if (!name.startsWith('@')) calls.add(name);
    else for (const call of expandGroups(membersOf(name))) calls.add(call);
  }
  return calls;
}

/** True for a group, and for a call that is in one, as all are that systemd knows. */
export const isKnown = (name: string): boolean =>
  name.startsWith('@') ? Object.hasOwn(SYSCALL_GROUPS, name) : membersOf('@known').includes(name);

const membersOf = (group: string): string[] =>
  Object.hasOwn(SYSCALL_GROUPS, group) ? SYSCALL_GROUPS[group]!.trim().split(/\s+/) : [];
