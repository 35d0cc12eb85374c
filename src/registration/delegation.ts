/** Which cgroups an ordinary user's own service manager leaves to who is in them: org.freedesktop.systemd1(5). */
import process from 'node:process';
import type { Logger } from '../log.ts';
import { openUserBus } from './system-bus.ts';

const SYSTEMD = { destination: 'org.freedesktop.systemd1', path: '/org/freedesktop/systemd1' };
/** The interfaces of units that processes are in, by what their cgroups' names end in. */
const INTERFACES: Readonly<Record<string, string>> = { scope: 'Scope', service: 'Service' };

/**
 * Whether the unit is delegated whose cgroup this process is in. A user's manager has to be asked: it puts no mark on
 * cgroups, as the system's does.
 */
export async function isDelegatedToUser(cgroup: string, log: Logger): Promise<boolean> {
  const kind = INTERFACES[cgroup.slice(cgroup.lastIndexOf('.') + 1)];
  if (!kind) return false;
  try {
    using bus = await openUserBus();
    const its = { ...SYSTEMD, interface: `${SYSTEMD.destination}.Manager` };
    const [unit] = bus.call({ ...its, member: 'GetUnitByPID', signature: 'u', arguments: [process.pid] });
    const properties = { ...SYSTEMD, path: String(unit), interface: 'org.freedesktop.DBus.Properties' };
    const what = [`${SYSTEMD.destination}.${kind}`, 'Delegate'];
    const [answer] = bus.call({ ...properties, member: 'Get', signature: 'ss', arguments: what });
    return (answer as { value: unknown }).value === true;
  } catch (error) {
    log.debug(`asking whether the cgroup ${cgroup} is delegated: ${(error as Error).message}`);
    return false;
  }
}
