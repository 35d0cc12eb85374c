/** `nspawn exec`: runs a command in a container. */
import process from 'node:process';
import { isTerminal, openPty } from '../../../syscalls/tty.ts';
import { forwardConsole } from '../../console/forward.ts';
import { followWindowSize } from '../../console/window-size.ts';
import type { JoinOptions } from '../../container/join.ts';
import { exec } from '../../exec.ts';
import { parseAssignment, withAssignment } from '../../options/environment.ts';
import { parseUser } from '../../options/identity.ts';
import { parseContainerPath } from '../../options/paths.ts';
import { UsageError } from '../../options/usage-error.ts';
import { readWords, type Verb } from './verb.ts';

interface Draft {
  isPipe: boolean;
  options: JoinOptions;
}

const VERB: Verb<Draft> = {
  usage: 'nspawn exec [OPTIONS...] NAME [--] [COMMAND [ARGUMENTS...]]',
  about: 'Run a command, by default a shell, in a container that runs.',
  options: [
    {
      letter: 'u',
      name: 'user',
      value: 'USER',
      help: 'Run it as this user of the container',
      set: ({ options }, value) => (options.user = parseUser(value)),
    },
    {
      letter: 'E',
      name: 'setenv',
      value: 'NAME[=VALUE]',
      help: 'Set an environment variable, without VALUE to what it is here',
      set: ({ options }, value) => {
        options.environment = withAssignment(options.environment ?? [], parseAssignment(value, process.env));
      },
    },
    {
      name: 'chdir',
      value: 'PATH',
      help: 'Working directory in the container',
      set: ({ options }, value) => (options.chdir = parseContainerPath(value)),
    },
    {
      letter: 'P',
      name: 'pipe',
      help: 'Give it the standard streams as they are; the default where they are no terminal',
      set: draft => (draft.isPipe = true),
    },
  ],
};

/** Exit status of what a signal has ended before it could tell. */
const EXIT_FAILURE = 1;

export async function run(words: readonly string[]): Promise<number> {
  const draft: Draft = { isPipe: !isTerminal(0) || !isTerminal(1), options: {} };
  const rest = readWords(VERB, words, draft);
  if (!rest) return 0;
  const [name, ...command] = rest;
  if (name === undefined) throw new UsageError('exec needs the name of a container; see nspawn exec --help');
  const { TERM } = process.env;
  const options: JoinOptions = {
    ...draft.options,
    environment: [...(TERM === undefined ? [] : [`TERM=${TERM}`]), ...(draft.options.environment ?? [])],
    command: command[0] === '--' ? command.slice(1) : command,
  };
  return (draft.isPipe ? await execPiped(name, options) : await execAtTerminal(name, options)) ?? EXIT_FAILURE;
}

async function execPiped(name: string, options: JoinOptions): Promise<number | undefined> {
  const executed = await exec(name, { ...options, stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => executed.kill());
  return await executed.exited;
}

async function execAtTerminal(name: string, options: JoinOptions): Promise<number | undefined> {
  using opened = new DisposableStack();
  const { master, slave } = openPty();
  opened.use(slave);
  opened.use(master);
  opened.use(followWindowSize(master.fd, 1));
  const executed = await exec(name, { ...options, stdio: { console: slave } });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => executed.kill());
  await using forwarder = forwardConsole({
    master: master.fd,
    mode: 'interactive',
    onKillRequest: () => executed.kill(),
  });
  const status = await executed.exited;
  await forwarder.finish();
  return status;
}
