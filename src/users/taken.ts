/** Which user and group ids somebody on this host uses already. */
import { listedContainers } from '../container/record.ts';
import { readIfThere } from '../host.ts';

/** Ids from `start` on, so many. */
export interface Ids {
  start: number;
  count: number;
}

const text = (path: string): string => readIfThere(path)?.toString() ?? '';
const lines = (path: string): string[] => text(path).split('\n');

/**
 * The ids of the host's users and groups, of what these may give to others (subuid(5), subgid(5)), and of the containers
 * that run. Only of what is in files: a directory service may know more users.
 */
export function takenIds(): Ids[] {
  return [
    ...['/etc/passwd', '/etc/group'].flatMap(path => lines(path).map(line => ({ start: field(line, 2), count: 1 }))),
    ...['/etc/subuid', '/etc/subgid'].flatMap(path =>
      lines(path).map(line => ({ start: field(line, 1), count: field(line, 2) })),
    ),
    ...[...listedContainers().map(({ pid }) => pid), ...registeredLeaders()].flatMap(idsOfProcess),
  ].filter(({ start, count }) => Number.isInteger(start) && Number.isInteger(count));
}

/** A number between colons; NaN for what is none. */
const field = (line: string, index: number): number => Number(line.split(':')[index]?.trim() || Number.NaN);

/** Whether any of so many ids from `start` on is among these. */
export const overlaps = (start: number, count: number, ids: readonly Ids[]): boolean =>
  ids.some(taken => taken.start < start + count && start < taken.start + taken.count);

/** user_namespaces(7): what a process outside of any has for a map. */
const ALL = 0xffffffff;

/** The ids of the host that a process's user namespace has. None when it has ended. */
function idsOfProcess(pid: number): Ids[] {
  return ['uid_map', 'gid_map']
    .flatMap(name => lines(`/proc/${pid}/${name}`).filter(Boolean))
    .map(line => line.trim().split(/\s+/).map(Number))
    .map(([, start = 0, count = 0]) => ({ start, count }))
    .filter(({ count }) => count < ALL);
}

const MACHINES = '/run/systemd/machines';

/** The first processes of the containers and virtual machines that systemd-machined knows. */
function registeredLeaders(): number[] {
  const { existsSync, readdirSync } = process.getBuiltinModule('node:fs');
  if (!existsSync(MACHINES)) return [];
  return readdirSync(MACHINES)
    .filter(name => !name.startsWith('unit:'))
    .flatMap(name => /^LEADER=(\d+)$/m.exec(text(`${MACHINES}/${name}`))?.[1] ?? [])
    .map(Number);
}
