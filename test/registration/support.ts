/** A bus with a service manager that is played, for nspawn and systemd-nspawn. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { cgroupDirectory, hierarchiesOf, isManaged } from '../../src/plan/cgroups.ts';
import { type Bus, startBus } from '../dbus/support.ts';
import { hasTool, type Need } from '../support/needs.ts';

/** A call that the service manager got. */
export interface Call {
  member: string;
  path: string;
  interface: string;
  signature: string;
  body: unknown[];
  sender: string;
  /** Where the call is about a container: its first process, and the host's network interfaces by their indices. */
  leader?: number;
  interfaces?: Record<string, string>;
}

export interface Manager extends AsyncDisposable {
  /** Environment variables for those who are to find it. */
  env: Record<string, string>;
  /** What it was asked so far. */
  calls(): Call[];
}

/** Starts a bus with somebody who behaves so, see fake-manager.ts; 'nobody': with nobody. */
export async function startManager(...behaviour: string[]): Promise<Manager> {
  const bus = await startBus();
  const env = { DBUS_SYSTEM_BUS_ADDRESS: bus.address, SYSTEMD_BUS_TIMEOUT: '1s' };
  if (behaviour[0] === 'nobody') return { env, calls: () => [], [Symbol.asyncDispose]: bus[Symbol.asyncDispose] };
  return await startFake(bus, env, behaviour);
}

async function startFake(bus: Bus, env: Record<string, string>, behaviour: string[]): Promise<Manager> {
  const program = join(import.meta.dirname, 'fake-manager.ts');
  const child: ChildProcess = spawn(process.execPath, [program, bus.address, ...behaviour], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  let said = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  await once(child.stdout!, 'data');
  return {
    env,
    calls: () =>
      said
        .split('\n')
        .slice(1, -1)
        .map(line => JSON.parse(line) as Call),
    async [Symbol.asyncDispose]() {
      child.kill();
      await ended;
      await bus[Symbol.asyncDispose]();
    },
  };
}

/** The properties in a call, by their names; of each the signature and the values that it is given. */
export function propertiesIn({ body }: Call): Record<string, [signature: string, value: unknown][]> {
  const given = (body.find(each => Array.isArray(each) && Array.isArray(each[0])) ?? []) as [
    string,
    { signature: string; value: unknown },
  ][];
  const all: Record<string, [string, unknown][]> = {};
  for (const [name, { signature, value }] of given) {
    all[name] ??= [];
    all[name].push([signature, value]);
  }
  return all;
}

/** The cgroups that this process is in, where a systemd keeps its units. */
export const managedCgroups = (): string[] =>
  hierarchiesOf('self')
    .filter(isManaged)
    .map(each => cgroupDirectory(each).replace(/\/$/, ''));

export const bus: Need = () => (hasTool('dbus-daemon') ? undefined : 'dbus-daemon is not installed');
