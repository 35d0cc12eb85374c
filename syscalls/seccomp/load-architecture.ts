import type { Architecture, ArchitectureName } from './arch.ts';
import { FilterError } from './errors.ts';

/** One import for each table, so that only the tables asked for are loaded. */
const TABLES: Readonly<Record<ArchitectureName, () => Promise<Architecture['syscalls']>>> = {
  x86_64: async () => (await import('../tables/x86_64.ts')).x86_64,
  i386: async () => (await import('../tables/i386.ts')).i386,
  x32: async () => (await import('../tables/x32.ts')).x32,
  arm64: async () => (await import('../tables/arm64.ts')).arm64,
  arm: async () => (await import('../tables/arm.ts')).arm,
};

/** An architecture with its full syscall table. Loads that one table and no other. Rejects with FilterError. */
export async function loadArchitecture(name: ArchitectureName): Promise<Architecture> {
  if (!Object.hasOwn(TABLES, name)) {
    throw new FilterError(`seccomp filter: unknown architecture ${name}: there are ${Object.keys(TABLES).join(', ')}`);
  }
  return { name, syscalls: await TABLES[name]() };
}
