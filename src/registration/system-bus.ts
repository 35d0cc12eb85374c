/** The buses by which systemd and systemd-machined are talked to. */
import process from 'node:process';
import type { Connection } from '../../dbus/index.ts';
import { hostHas } from '../host.ts';

/** Where it is by default: D-Bus specification, "System message bus". */
const SOCKET = '/run/dbus/system_bus_socket';

/** Its address; undefined where there is none. */
export function systemBusAddress(): string | undefined {
  const { DBUS_SYSTEM_BUS_ADDRESS: address } = process.env;
  return address || (hostHas(SOCKET) ? `unix:path=${SOCKET}` : undefined);
}

/** As libsystemd's; $SYSTEMD_BUS_TIMEOUT is another one, for all programs of a slow machine. */
const TIMEOUT_SECONDS = 25;

/** Rejects with an Error where there is no bus that lets us in. */
export async function openSystemBus(): Promise<Connection> {
  const address = systemBusAddress();
  if (address === undefined) throw new Error(`there is no system bus: ${SOCKET} is missing`);
  return await openBus('the system bus', address);
}

/** The bus of this user's own service manager: sd_bus_default_user(3). Rejects as openSystemBus() does. */
export async function openUserBus(): Promise<Connection> {
  const { DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: runtime } = process.env;
  if (!address && !runtime) throw new Error('there is no user bus: XDG_RUNTIME_DIR is not set');
  return await openBus('the user bus', address || `unix:path=${runtime}/bus`);
}

async function openBus(bus: string, address: string): Promise<Connection> {
  const [{ Connection, socketNames }, { connectUnix }, { parseTimeSpan }] = await Promise.all([
    import('../../dbus/index.ts'),
    import('../../syscalls/unix-socket.ts'),
    import('../options/quantities.ts'),
  ]);
  const span = parseTimeSpan(process.env['SYSTEMD_BUS_TIMEOUT'] ?? '', 1_000_000n);
  const timeout = span ? Math.min(Number(span / 1000n), LONGEST_TIMEOUT) : TIMEOUT_SECONDS * 1000;
  const names = socketNames(address);
  for (const [i, name] of names.entries()) {
    try {
      return new Connection(connectUnix(name, timeout), { timeout });
    } catch (error) {
      if (i === names.length - 1) throw new Error(`${bus} ${address}: ${(error as Error).message}`);
    }
  }
  throw new Error(`${bus} ${address} is not one of this machine`);
}
/** Longer than anybody waits, and no overflow of any clock. */
const LONGEST_TIMEOUT = 24 * 3600 * 1000;
