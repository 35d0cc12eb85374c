/** Spawning containers: what the command line and other programs use. */
import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { SIG } from '../syscalls/constants.ts';
import { type Ending, type Reaped, signalProcess } from '../syscalls/process.ts';
import { checkListenFds, type ListenFd } from './container/listen-fds.ts';
import type { Notification } from './container/notifications.ts';
import type { Terminal } from './container/own-pty.ts';
import type { PreparedRoot } from './container/prepared-root.ts';
import { listContainer } from './container/record.ts';
import { runInTree } from './container/run-in-tree.ts';
import { startContainer } from './container/start.ts';
import { connect } from './container/stdio.ts';
import type { StopReason } from './container/stop.ts';
import { completedBy, type Usage } from './container/usage.ts';
import { ended, endedWithin } from './container/wait.ts';
import { type Logger, silentLogger } from './log.ts';
import { impliedOptions } from './options/implied.ts';
import { checkKill, checkSize } from './options/method-arguments.ts';
import type { ContainerOptions } from './options.ts';
import { imageOf } from './plan/image.ts';
import { planContainer } from './plan/plan.ts';
import type { Progress } from './users/shift-tree.ts';

/**
 * What the payload has for standard streams. 'pipe': three pipes, which are the container's streams. 'pty': a pseudo
 * terminal, which is also /dev/console; its output is `stdout`. 'inherit': this process's own. Or three descriptors
 * of this process, or a pseudo terminal that the caller looks after: for root's containers with the devpts that it is
 * alone in.
 */
export type Stdio = 'pipe' | 'pty' | 'inherit' | readonly [number, number, number] | Terminal;

export interface SpawnOptions extends ContainerOptions {
  /** Default: 'pipe'. */
  stdio?: Stdio;
  /** Default: one that says nothing. */
  logger?: Logger;
  /**
   * Milliseconds that spawn() waits for the end of the container, with nothing else going on in this process: what ends
   * soon needs no watching. Default: 0.
   */
  patience?: number;
  /** What the payload gets as descriptors 3 and up, see sd_listen_fds(3). They stay the caller's, too. */
  listenFds?: readonly ListenFd[];
  /**
   * Hears what the payload says of itself by the socket that NOTIFY_SOCKET names, see sd_notify(3): it gets one if there
   * is such a function.
   */
  onNotification?: (said: Notification) => void;
  /** Ends the container when it is aborted, as `timeout` does. */
  signal?: AbortSignal;
}

/** How a container ended. */
export interface Ended {
  /** The payload's exit status; undefined when a signal ended it. */
  exitStatus?: number;
  /** Number of the signal that ended the payload. */
  signal?: number;
  /** Whether a payload that had its own process namespace has called reboot(2), and for what. */
  reboot?: 'restart' | 'power off';
  /**
   * Why it did not end by itself: its time was over, `signal` was aborted; or why it failed: processes of it were
   * killed, as its memory, or the machine's, was used up.
   */
  reason?: StopReason | 'out of memory';
  /** What it has used, where there are limits or `stats`. */
  usage?: Usage;
}

/** A container that runs. Leaving its `await using` block kills it, waits for its end and closes its streams. */
export interface Container extends AsyncDisposable {
  readonly machine: string;
  /** Canonical path of its root directory, or of the disk image that has it. */
  readonly directory: string;
  /** Whether there is a signal that asks it to end; see `terminate`. */
  readonly canTerminate: boolean;
  /** Process id of the container's first process, in this process's namespace. */
  readonly pid: number;
  /** Streams to and from the payload; null where it has others. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Resolves when the container has ended and nothing is left of it. */
  readonly exited: Promise<Ended>;
  /**
   * Resolves when the container is ready: now, or with `notifyReady` when its payload says so. Rejects if it ends without
   * having done so.
   */
  readonly ready: Promise<void>;
  /** How it ended; undefined while it runs. */
  readonly ending: Ended | undefined;
  /** Sends a signal, by default SIGKILL, to the container's first process; with SIGKILL all of them end. */
  kill(signal?: number): void;
  /**
   * Asks the payload to end, where there is a signal for that (an init, or a killSignal in the options), else kills
   * it. Resolves when it has ended.
   */
  terminate(): Promise<Ended>;
  /** Tells a 'pty' its size. */
  resize(columns: number, rows: number): void;
}

/**
 * Starts a container. It runs when the promise resolves; an error then says what failed, and nothing is left.
 * Rejects with UsageError for options that can't be, else with an Error.
 */
export async function spawn(options: SpawnOptions = {}): Promise<Container> {
  types ??= await import('./options/types.ts');
  types.checkSpawnTypes(options);
  const {
    stdio = 'pipe',
    logger = silentLogger,
    patience = 0,
    listenFds = [],
    onNotification,
    signal,
    ...others
  } = options;
  checkListenFds(listenFds);
  signal?.throwIfAborted();
  const how = { stdio, logger, patience, listenFds, onNotification, signal };
  const containerOptions = onNotification ? { ...others, notifySocket: true } : others;
  if (!needsPreparation(containerOptions)) return await spawnOn({ options: containerOptions }, how);
  const { prepareRoot } = await import('./container/prepared-root.ts');
  const root = await prepareRoot(containerOptions, logger);
  try {
    return await spawnOn(root, how, root);
  } catch (error) {
    root[Symbol.dispose]();
    await root.released?.();
    throw error;
  }
}

/** Loaded once: the command has parsers for its options, and to ask for a module again takes a fiftieth of a start. */
let types: typeof import('./options/types.ts') | undefined;

/** How a container is run, beyond what it is. */
type How = Required<Pick<SpawnOptions, 'stdio' | 'logger' | 'patience' | 'listenFds'>> & {
  onNotification?: SpawnOptions['onNotification'] | undefined;
  signal?: AbortSignal | undefined;
  /** Told how far it is where all files are given to the container's users. */
  progress?: Progress | undefined;
};

/** Whether prepareRoot() has something to do. */
export const needsPreparation = ({ template, ephemeral }: ContainerOptions): boolean =>
  template !== undefined || ephemeral === true;

/**
 * Starts a container on a root that was prepared, or that needed nothing. It disposes of `owned` once the container has
 * ended; rejects as spawn() does, and has disposed of nothing then.
 */
export async function spawnOn(
  { options, ephemeral, image: opened }: Omit<PreparedRoot, keyof Disposable>,
  { stdio, logger, patience, listenFds, onNotification, signal: abortSignal, progress }: How,
  owned?: PreparedRoot,
): Promise<Container> {
  const hasTerminal = stdio === 'pty' || (typeof stdio === 'object' && 'console' in stdio);
  const image = await imageOf(options);
  if (image?.warning !== undefined) logger.warn(image.warning);
  const plan = await planContainer(options, hasTerminal ? 'pty' : 'streams', image);

  const { notifySocket, notifyReady } = impliedOptions(options);
  const { makeNotifySocket, listen } = notifySocket ? await import('./container/notifications.ts') : {};
  using failed = new DisposableStack();
  const socket = makeNotifySocket && failed.use(makeNotifySocket());

  using connected = await connect(stdio, options.selinuxApifsContext);
  const { pid, pidfd, resources, unit, released, usage } = await startContainer(plan, {
    log: logger,
    progress,
    streams: connected.payload,
    runInTree: runInTree(options, image, ephemeral),
    ephemeral,
    notifySocket: socket,
    listenFds,
    ...(opened && { image: opened }),
  });
  failed.move();
  const streams = connected.open();
  const { killSignal, timeout } = plan;
  const mayStop = timeout !== undefined || abortSignal !== undefined;
  const { stopInTime } = mayStop ? await import('./container/stop.ts') : {};
  const stopping = stopInTime?.({ pid, pidfd, killSignal, timeout, signal: abortSignal });

  const ready = Promise.withResolvers<void>();
  // Whoever doesn't wait for it isn't interested in why it never came.
  ready.promise.catch(() => {});
  if (!notifyReady) ready.resolve();
  const heard = (said: Notification) => {
    if (said.ready) ready.resolve();
    onNotification?.(said);
  };
  const listening = socket && listen?.(socket, { pid, asPid2: plan.payload.asPid2, log: logger, heard });

  const enlist = () => {
    try {
      const { machine, directory: root, payload } = plan;
      const filter = payload.filter && Buffer.from(payload.filter.program).toString('base64');
      const record = { machine, root, pid, nspawn: process.pid, since: Date.now(), killSignal };
      return resources.use(listContainer({ ...record, ...(filter && { filter }) })).lock;
    } catch (error) {
      // It runs all the same.
      logger.warn(`putting ${plan.machine} on the list of containers: ${(error as Error).message}`);
      return undefined;
    }
  };
  let isOver = false;
  let ending: Ended | undefined;
  const untilEnded = async (): Promise<Ended> => {
    let reaped: Reaped;
    let counted: Usage | undefined;
    // Who waits for the container's end waits for all of this.
    using listed = new DisposableStack();
    try {
      const soon = endedWithin(pidfd, patience);
      if (!soon) {
        listed.use(enlist());
        unit?.whenAskedToStop(() => {
          logger.info(`The host's systemd asks for the end of ${plan.machine}.`);
          kill(plan.killSignal);
        });
      }
      reaped = soon ?? (await ended(pidfd));
      counted = usage?.();
    } finally {
      isOver = true;
      stopping?.[Symbol.dispose]();
      connected.finish();
      resources.dispose();
      owned?.[Symbol.dispose]();
    }
    listening?.finish();
    if (notifyReady)
      ready.reject(new Error(`the container ${plan.machine} has ended without having said that it is ready`));
    if (released) await released();
    if (owned?.released) await owned.released();
    const used = counted && completedBy(counted, reaped.used, plan.users !== undefined);
    ending = explained(describeEnding(reaped.ending, plan.shareSystem), stopping?.reason, used);
    return ending;
  };
  const exited = untilEnded();
  const kill = (signal: number = SIG.KILL) => {
    checkKill(signal);
    if (!isOver) signalProcess(pidfd, signal);
  };
  return {
    machine: plan.machine,
    directory: plan.directory,
    canTerminate: killSignal !== undefined,
    pid,
    ...streams,
    exited,
    ready: ready.promise,
    get ending() {
      return ending;
    },
    kill,
    terminate() {
      kill(killSignal);
      return exited;
    },
    resize(columns, rows) {
      checkSize(columns, rows);
      if (!isOver) connected.resize(columns, rows);
    },
    async [Symbol.asyncDispose]() {
      kill();
      await exited;
      // What nobody has read by now, nobody will.
      streams.stdout?.destroy();
      streams.stderr?.destroy();
    },
  };
}

/** reboot(2) ends the first process of a process namespace by SIGHUP to restart and by SIGINT to power off. */
function describeEnding(ending: Ending, shareSystem: boolean): Ended {
  if ('exited' in ending) return { exitStatus: ending.exited };
  const { killed: signal } = ending;
  if (shareSystem || (signal !== SIG.HUP && signal !== SIG.INT)) return { signal };
  return { signal, reboot: signal === SIG.HUP ? 'restart' : 'power off' };
}

function explained(ending: Ended, stopped: StopReason | undefined, usage: Usage | undefined): Ended {
  const failed = ending.exitStatus !== 0 && ending.reboot === undefined;
  const reason = stopped ?? (failed && usage?.oomKills ? 'out of memory' : undefined);
  return { ...ending, ...(reason && { reason }), ...(usage && { usage }) };
}
