/** The socket by which a payload tells how it does: sd_notify(3). Its place is that of systemd-nspawn. */
import type { ContainerOptions } from '../options.ts';
import { must, NOTHING, NOTIFY, type PlanPart, should } from './steps.ts';

const PATH = '/run/host/notify';

/** What it takes, and the payload's variable for it. */
export function notifySocket({
  notifySocket: wanted,
  notifyReady,
}: ContainerOptions): PlanPart & { environment: string[] } {
  if (!wanted) return { ...NOTHING, environment: [] };
  // What only listens shall not keep a container from running.
  const make = notifyReady ? must : should;
  return {
    hostObjects: { [NOTIFY]: { kind: 'notify socket' } },
    before: [],
    steps: [make({ do: 'bind notify socket', path: PATH })],
    environment: [`NOTIFY_SOCKET=${PATH}`],
  };
}
