/** Runs containers for the command line: console, signals, status lines, reboots. */
import process from 'node:process';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { call } from '../../syscalls/call.ts';
import { TC } from '../../syscalls/constants.ts';
import { getTermios, isTerminal } from '../../syscalls/tty.ts';
import { type Forwarder, forwardConsole } from '../console/forward.ts';
import { followWindowSize } from '../console/window-size.ts';
import type { ListenFd } from '../container/listen-fds.ts';
import { openOwnPty } from '../container/own-pty.ts';
import type { PreparedRoot } from '../container/prepared-root.ts';
import type { Logger } from '../log.ts';
import { ownershipOf } from '../options/users.ts';
import type { ConsoleMode, Credential } from '../options.ts';
import { type Container, type Ended, needsPreparation, type Stdio, spawnOn } from '../spawn.ts';
import { describeEnding, describeUsage } from './ending.ts';
import type { CommandLineLogger } from './logger.ts';
import type { ParsedCommandLine } from './parse.ts';

/** For RestartForceExitStatus= of the unit that nspawn runs in, which is restarted with all its settings. */
const EXIT_RESTART_UNIT = 133;

/** To watch a container takes threads, which take longer to start than a short program to run. */
const PATIENCE_MS = 5;

/** Runs a container, again after each restart that its payload asks for. Resolves to nspawn's exit status. */
export async function run(line: ParsedCommandLine, log: CommandLineLogger): Promise<number> {
  const mode = line.console ?? (isTerminal(0) && isTerminal(1) ? 'interactive' : 'read-only');
  const status = line.quiet ? log.debug : log.info;
  const manager = process.env['NOTIFY_SOCKET'] ? await import('./notify.ts') : undefined;
  const { takeListenFds } = process.env['LISTEN_FDS'] ? await import('./listen-fds.ts') : {};
  const listenFds = takeListenFds?.(process.env, process.pid) ?? [];
  const root = await prepared(line, { ...log, info: status });
  const { timeout, stats } = line.options;
  const end = timeout === undefined ? undefined : performance.now() + timeout;
  let restart = false;
  try {
    for (;;) {
      const ended = await runOnce(inTime(root, end), { mode, status, log, manager, listenFds, quiet: line.quiet });
      const exitStatus = describeEnding(ended.machine, ended, status, log);
      if (stats && ended.usage) log.info(describeUsage(ended.machine, ended.usage));
      if (ended.reboot !== 'restart' || ended.reason) return exitStatus;
      restart = line.options.keepUnit ?? false;
      if (restart) return EXIT_RESTART_UNIT;
    }
  } finally {
    manager?.reportEnd(log, restart);
    root[Symbol.dispose]();
    await root.released?.();
  }
}

/** A root for a container that shall end at `end`: one that restarts has what is left of its time. */
function inTime(root: PreparedRoot, end: number | undefined): PreparedRoot {
  if (end === undefined) return root;
  return { ...root, options: { ...root.options, timeout: Math.max(1, end - performance.now()) } };
}

/** A fifo or a socket says nothing more the next time. */
const readOnce = async (credentials: readonly Credential[]) =>
  (await import('../container/credentials.ts')).readCredentials(credentials);

/** What the containers have in common: made once, as a restarted one finds it as it was. */
async function prepared({ options: asked, quiet }: ParsedCommandLine, log: Logger): Promise<PreparedRoot> {
  const options = asked.credentials ? { ...asked, credentials: await readOnce(asked.credentials) } : asked;
  if (!needsPreparation(options)) return { options, [Symbol.dispose]() {} };
  const { prepareRoot } = await import('../container/prepared-root.ts');
  if (options.template === undefined || quiet || !isTerminal(2)) return await prepareRoot(options, log);
  const { progressLine } = await import('./progress.ts');
  using line = progressLine(`Copying ${options.template}`);
  return await prepareRoot(options, log, line.show);
}

/** What all runs have in common. */
interface Surroundings {
  mode: ConsoleMode;
  /** Tells the user how the container does. */
  status: (message: string) => void;
  log: CommandLineLogger;
  /** Tells the service manager; undefined where there is none. */
  manager: typeof import('./notify.ts') | undefined;
  listenFds: readonly ListenFd[];
  quiet: boolean;
}

/** Shows how far it is where all files of a tree are given to the container's users, to who sits at a terminal. */
async function spawnShowing(
  root: PreparedRoot,
  quiet: boolean,
  how: Parameters<typeof spawnOn>[1],
): Promise<Container> {
  const ownership = ownershipOf(root.options);
  const mayTakeLong = ownership === 'chown' || ownership === 'auto';
  if (!mayTakeLong || quiet || !isTerminal(2)) return await spawnOn(root, how);
  const { progressLine } = await import('./progress.ts');
  using line = progressLine("Giving all files to the container's users");
  return await spawnOn(root, { ...how, progress: line.show });
}

async function runOnce(
  root: PreparedRoot,
  { mode, status, log, manager, listenFds, quiet }: Surroundings,
): Promise<Named> {
  using opened = new DisposableStack();
  const pty = mode === 'pipe' ? undefined : opened.use(openOwnPty(root.options.selinuxApifsContext));
  // Now, for forwarding starts only when the payload already runs and may have looked at the size.
  if (pty && mode !== 'passive') opened.use(followWindowSize(pty.master.fd, 1));
  const stdio: Stdio = pty?.terminal ?? 'inherit';
  // Before it runs, for it may be up before this process gets its next turn.
  using signals = watchSignals(log);
  const reports = manager?.reports(log);
  await using container = await spawnShowing(root, quiet, {
    stdio,
    logger: log,
    patience: PATIENCE_MS,
    listenFds,
    onNotification: reports?.heard,
  });
  const hint = mode === 'interactive' ? '\nPress ^] three times within 1s to kill container.' : '';
  status(`Spawning container ${container.machine} on ${container.directory}.${hint}`);
  reports?.running(container, !root.options.notifyReady);
  await log.release();

  signals.passTo(container);
  using _terminal = mode === 'interactive' ? watchOverTerminal() : undefined;
  using forwarder =
    pty && (mode === 'interactive' || mode === 'read-only') ? forward(pty.master.fd, mode, container) : undefined;
  log.rawTerminal = isTerminal(2) && (forwarder?.savedTerminals().length ?? 0) > 0;
  const ended = container.ending ?? (await container.exited);
  await forwarder?.finish();
  // As systemd-nspawn does it: what is left in a terminal that nobody has read.
  if (pty && mode === 'passive') await forward(pty.master.fd, 'read-only', container).finish();
  log.rawTerminal = false;
  return { ...ended, machine: container.machine };
}

type Named = Ended & { machine: string };

function forward(master: number, mode: 'interactive' | 'read-only', container: Container): Forwarder {
  return forwardConsole({ master, mode, onKillRequest: () => container.kill() });
}

/** If we are killed, the terminal is put back by the janitor. To be called before it turns raw, or there is a gap. */
function watchOverTerminal(): Disposable {
  const terminals = [0, 1].filter(isTerminal);
  const settings = terminals.map(getTermios);
  return entrust(terminals, fds => fds.map((fd, i) => call('ioctl', fd, TC.SETS, settings[i]!)));
}

/** SIGTERM and SIGINT ask the payload to end, the second one kills it. Those that come before there is one wait for it. */
function watchSignals(log: CommandLineLogger): Disposable & { passTo(container: Container): void } {
  let target: Container | undefined;
  let received = 0;
  const end = () => {
    received++;
    if (!target) return;
    if (received > 1 || !target.canTerminate) {
      target.kill();
      return;
    }
    log.info('Trying to halt container. Send SIGTERM again to trigger immediate termination.');
    void target.terminate();
  };
  const signals = ['SIGTERM', 'SIGINT'] as const;
  for (const signal of signals) process.on(signal, end);
  return {
    passTo(container) {
      target = container;
      if (received === 0) return;
      received--;
      end();
    },
    [Symbol.dispose]() {
      for (const signal of signals) process.off(signal, end);
    },
  };
}
