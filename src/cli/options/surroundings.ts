/** Options: what the container gets of its host, and what is said of it. */
import { parseLoadCredential, parseSetCredential } from '../../options/credentials.ts';
import { parseUserName } from '../../options/identity.ts';
import { parseMemory } from '../../options/limits.ts';
import { parseConsoleMode, parseLinkJournal, parseMode, parseResolvConf, parseTimezone } from '../../options/modes.ts';
import { parseBind, parseOverlay, parseTmpfs } from '../../options/mounts.ts';
import { parseContainerPath } from '../../options/paths.ts';
import type { LogFormat, LogLevel, Section } from './row.ts';

export const SURROUNDINGS: readonly Section[] = [
  {
    title: 'Integration',
    rows: [
      {
        name: 'resolv-conf',
        value: 'MODE',
        help: 'How /etc/resolv.conf comes about: off, auto, delete, or one of copy, replace and bind with one of -host, -static, -uplink and -stub',
        set: text => ({ resolvConf: parseResolvConf(text) }),
      },
      {
        name: 'timezone',
        value: 'MODE',
        help: 'How /etc/localtime comes about: off, auto, copy, bind, symlink or delete',
        set: text => ({ timezone: parseTimezone(text) }),
      },
      {
        name: 'link-journal',
        value: 'MODE',
        help: "Link the container's journal with the host's: no, auto, guest, host, try-guest or try-host",
        set: text => ({ linkJournal: parseLinkJournal(text) }),
      },
      { letter: 'j', help: 'Same as --link-journal=try-guest', set: () => ({ linkJournal: 'try-guest' }) },
    ],
  },
  {
    title: 'Mounts',
    rows: [
      {
        name: 'bind',
        value: 'PATH[:PATH[:OPTIONS]]',
        help: 'Bind mount a file or directory of the host into the container',
        set: (text, draft) => ({ binds: [...(draft.binds ?? []), parseBind(text, false)] }),
      },
      {
        name: 'bind-ro',
        value: 'PATH[:PATH[:OPTIONS]]',
        help: 'The same, read-only',
        set: (text, draft) => ({ binds: [...(draft.binds ?? []), parseBind(text, true)] }),
      },
      {
        name: 'bind-user',
        value: 'NAME',
        help: 'Make a user of the host known to the container, with the home directory in /run/host/home',
        set: (text, draft) => ({ bindUsers: [...(draft.bindUsers ?? []), parseUserName(text)] }),
      },
      {
        name: 'inaccessible',
        value: 'PATH',
        help: 'Hide a file or directory of the container',
        set: (text, draft) => ({ inaccessible: [...(draft.inaccessible ?? []), parseContainerPath(text)] }),
      },
      {
        name: 'tmpfs',
        value: 'PATH[:OPTIONS]',
        help: 'Mount an empty tmpfs in the container',
        set: (text, draft) => ({ tmpfs: [...(draft.tmpfs ?? []), parseTmpfs(text)] }),
      },
      {
        name: 'tmpfs-size',
        value: 'BYTES',
        help: 'Most bytes in each of /dev, /dev/shm, /run and what is written to a volatile root',
        set: text => ({ tmpfsSize: parseMemory(text) }),
      },
      {
        name: 'overlay',
        value: 'PATH[:PATH...]:PATH',
        help: 'Mount an overlay of directories of the host in the container',
        set: (text, draft) => ({ overlays: [...(draft.overlays ?? []), parseOverlay(text, false)] }),
      },
      {
        name: 'overlay-ro',
        value: 'PATH[:PATH...]:PATH',
        help: 'The same, read-only',
        set: (text, draft) => ({ overlays: [...(draft.overlays ?? []), parseOverlay(text, true)] }),
      },
    ],
  },
  {
    title: 'Input/Output',
    rows: [
      {
        name: 'console',
        value: 'MODE',
        help: 'What standard input and output and /dev/console are: interactive (the default on a terminal), read-only (the default elsewhere), passive or pipe',
        set: text => ({ console: parseConsoleMode(text) }),
      },
      { letter: 'P', name: 'pipe', help: 'Same as --console=pipe', set: () => ({ console: 'pipe' }) },
    ],
  },
  {
    title: 'Credentials',
    rows: [
      {
        name: 'set-credential',
        value: 'ID:VALUE',
        help: 'Pass this value to the payload, as a file that only its user can read',
        set: (text, draft) => ({ credentials: [...(draft.credentials ?? []), parseSetCredential(text)] }),
      },
      {
        name: 'load-credential',
        value: 'ID:PATH',
        help: 'The same with the content of a file, or what a socket says',
        set: (text, draft, environment) => ({
          credentials: [...(draft.credentials ?? []), parseLoadCredential(text, environment)],
        }),
      },
    ],
  },
  {
    title: 'Logging',
    rows: [
      {
        name: 'log-format',
        value: 'FORMAT',
        help: 'text (the default) or json',
        set: text => ({ logFormat: parseMode<LogFormat>(text, ['text', 'json']) }),
      },
      {
        name: 'log-level',
        value: 'LEVEL',
        help: 'The least that is logged: trace, debug, info (the default), warn or error',
        set: text => ({ logLevel: parseMode<LogLevel>(text, ['trace', 'debug', 'info', 'warn', 'error']) }),
      },
    ],
  },
];
