/** A bus of a test's own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Connection, socketNames } from '../../dbus/index.ts';
import { connectUnix } from '../../syscalls/unix-socket.ts';
import { temporaryDirectory } from '../support/temporary.ts';

export interface Bus extends AsyncDisposable {
  /** For DBUS_SYSTEM_BUS_ADDRESS. */
  address: string;
  connect(timeout?: number): Connection;
}

/** Everybody may own and call everything. */
const configuration = (
  address: string,
) => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>${address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`;

/** Starts a dbus-daemon; at a path, or with `abstract` at a name in the abstract name space. */
export async function startBus(kind: 'path' | 'abstract' = 'path'): Promise<Bus> {
  const directory = temporaryDirectory();
  const asked = `unix:${kind}=${directory.path}/bus`;
  writeFileSync(`${directory.path}/bus.conf`, configuration(asked));
  const daemon = spawn(
    'dbus-daemon',
    [`--config-file=${directory.path}/bus.conf`, '--nofork', '--nopidfile', '--print-address'],
    // It tells that it may not raise a limit.
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const ended = once(daemon, 'exit');
  const [line] = await once(daemon.stdout, 'data');
  const address = String(line).trim();
  return {
    address,
    connect: timeout => connectTo(address, timeout),
    async [Symbol.asyncDispose]() {
      daemon.kill();
      await ended;
      directory[Symbol.dispose]();
    },
  };
}

export function connectTo(address: string, timeout = 10_000): Connection {
  return new Connection(connectUnix(socketNames(address)[0]!, timeout), { timeout });
}
