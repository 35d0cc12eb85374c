/** Options: what the container is made of and what it runs. */
import { parseAssignment, withAssignment } from '../../options/environment.ts';
import { parseHostname, parseUser, parseUuid } from '../../options/identity.ts';
import { parseBoolean, parseVolatile } from '../../options/modes.ts';
import { parseContainerPath, parseHostPath } from '../../options/paths.ts';
import { parseSignal } from '../../options/signals.ts';
import { parseNonEmpty, parseProperty } from '../../options/unit.ts';
import type { Section } from './row.ts';

export const CONTAINER: readonly Section[] = [
  {
    title: '',
    rows: [
      { letter: 'h', name: 'help', help: 'Show this help', set: () => ({ action: 'help' }) },
      { name: 'version', help: 'Show the version', set: () => ({ action: 'version' }) },
      { letter: 'q', name: 'quiet', help: 'Say nothing about the container itself', set: () => ({ quiet: true }) },
      {
        name: 'cleanup',
        help: 'Remove what killed runs with --ephemeral or --template have left, in the directories that follow',
        set: () => ({ action: 'cleanup' }),
      },
      { name: 'dry-run', help: 'Show what would be done, and do nothing', set: () => ({ action: 'dry-run' }) },
    ],
  },
  {
    title: 'Image',
    rows: [
      {
        letter: 'D',
        name: 'directory',
        value: 'PATH',
        help: 'Root directory of the container',
        set: text => ({ directory: parseHostPath(text) }),
      },
      {
        name: 'template',
        value: 'PATH',
        help: 'Make the root directory from this one, if it is missing',
        set: text => ({ template: parseHostPath(text) }),
      },
      {
        letter: 'x',
        name: 'ephemeral',
        help: 'Run from a snapshot of the root directory, and remove it at the end',
        set: () => ({ ephemeral: true }),
      },
      {
        letter: 'i',
        name: 'image',
        value: 'PATH',
        help: 'Disk image or block device with the root of the container',
        set: text => ({ image: parseHostPath(text) }),
      },
      { name: 'read-only', help: 'Mount the root directory read-only', set: () => ({ readOnly: true }) },
      {
        name: 'volatile',
        value: 'MODE',
        valueOptional: true,
        help: 'Forget changes to the root directory at the end: yes, no, state (only those to /var) or overlay',
        set: text => ({ volatile: parseVolatile(text) }),
      },
    ],
  },
  {
    title: 'Execution',
    rows: [
      {
        letter: 'a',
        name: 'as-pid2',
        help: 'Run the command as PID 2, below a small init',
        set: () => ({ asPid2: true }),
      },
      {
        letter: 'b',
        name: 'boot',
        help: 'Boot the system: search for an init and run it',
        set: () => ({ boot: true }),
      },
      {
        name: 'chdir',
        value: 'PATH',
        help: 'Working directory in the container',
        set: text => ({ chdir: parseContainerPath(text) }),
      },
      {
        letter: 'E',
        name: 'setenv',
        value: 'NAME[=VALUE]',
        help: 'Set an environment variable, without VALUE to what it is here',
        set: (text, draft, environment) => ({
          environment: withAssignment(draft.environment ?? [], parseAssignment(text, environment)),
        }),
      },
      {
        letter: 'u',
        name: 'user',
        value: 'USER',
        help: 'Run the command as this user of the container',
        set: text => ({ user: parseUser(text) }),
      },
      {
        name: 'kill-signal',
        value: 'SIGNAL',
        help: 'Signal that asks the init to shut down',
        set: text => ({ killSignal: parseSignal(text) }),
      },
      {
        name: 'notify-ready',
        value: 'BOOLEAN',
        help: 'Tell the service manager that the container is ready when its init says so, not when that is started',
        set: text => ({ notifyReady: parseBoolean(text) }),
      },
      {
        name: 'suppress-sync',
        value: 'BOOLEAN',
        help: 'Let fsync and its like succeed without writing to disk',
        set: text => ({ suppressSync: parseBoolean(text) }),
      },
      {
        name: 'share-system',
        help: 'Share the PID, UTS and IPC namespaces with the host',
        set: () => ({ shareSystem: true }),
      },
    ],
  },
  {
    title: 'System Identity',
    rows: [
      {
        letter: 'M',
        name: 'machine',
        value: 'NAME',
        help: 'Name of the container',
        set: text => ({ machine: parseHostname(text) }),
      },
      {
        name: 'hostname',
        value: 'NAME',
        help: 'Host name in the container, if not its name',
        set: text => ({ hostname: parseHostname(text) }),
      },
      { name: 'uuid', value: 'UUID', help: 'Machine ID of the container', set: text => ({ uuid: parseUuid(text) }) },
    ],
  },
  {
    title: 'Properties',
    rows: [
      {
        letter: 'S',
        name: 'slice',
        value: 'SLICE',
        help: 'Slice to place the container in',
        set: text => ({ slice: parseNonEmpty(text) }),
      },
      {
        name: 'property',
        value: 'NAME=VALUE',
        help: "Set a property of the container's scope unit",
        set: (text, draft) => ({ properties: [...(draft.properties ?? []), parseProperty(text)] }),
      },
      {
        name: 'register',
        value: 'BOOLEAN',
        help: 'Register the container with systemd-machined',
        set: text => ({ register: parseBoolean(text) }),
      },
      {
        name: 'keep-unit',
        help: 'Stay in the unit that nspawn runs in, instead of making a scope unit',
        set: () => ({ keepUnit: true }),
      },
    ],
  },
];
