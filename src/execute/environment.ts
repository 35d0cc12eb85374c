/** The payload's environment. */
import { CREDENTIALS_DIRECTORY, type Payload } from '../plan/steps.ts';
import type { User } from './user.ts';

/** DEFAULT_PATH of systemd, for systems that keep /usr/bin and /usr/sbin apart. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** NAME=VALUE assignments; those that were asked for win over ours, later ones over earlier ones. */
export function payloadEnvironment(payload: Payload, user: User): string[] {
  const variables = new Map<string, string>();
  const assignments = [
    `PATH=${DEFAULT_PATH}`,
    // What tells programs that, and in which kind of container, they run: see systemd-detect-virt(1).
    'container=systemd-nspawn',
    `HOME=${user.home}`,
    `USER=${user.name}`,
    `LOGNAME=${user.name}`,
    ...(payload.uuid ? [`container_uuid=${asUuid(payload.uuid)}`] : []),
    ...(payload.credentials.length > 0 ? [`CREDENTIALS_DIRECTORY=${CREDENTIALS_DIRECTORY}`] : []),
    ...payload.environment,
  ];
  for (const assignment of assignments) {
    const equals = assignment.indexOf('=');
    variables.set(assignment.slice(0, equals), assignment.slice(equals + 1));
  }
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

/** Value of a variable, undefined when it is not set. */
export const variable = (environment: readonly string[], name: string): string | undefined =>
  environment.find(assignment => assignment.startsWith(`${name}=`))?.slice(name.length + 1);

const asUuid = (digits: string) => digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
