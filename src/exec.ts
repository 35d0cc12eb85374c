/** Running commands in containers that run already: what `nspawn exec` and other programs use. */
import type { Readable, Writable } from 'node:stream';
import { SIG } from '../syscalls/constants.ts';
import { closeFd } from '../syscalls/fd.ts';
import { signalProcess } from '../syscalls/process.ts';
import { type JoinOptions, joinContainer } from './container/join.ts';
import { containerNamed } from './container/record.ts';
import { connect } from './container/stdio.ts';
import { ended } from './container/wait.ts';
import { checkKill, checkSize } from './options/method-arguments.ts';
import type { Stdio } from './spawn.ts';

export interface ExecOptions extends JoinOptions {
  /** As for spawn(). Default: 'pipe'. */
  stdio?: Stdio;
}

/** A command that runs in a container. */
export interface Executed {
  /** Streams to and from the command; null where it has others. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Resolves to the command's exit status, 255 when a signal has ended it; undefined when it was killed. */
  readonly exited: Promise<number | undefined>;
  /** Sends the command a signal, by default SIGKILL. */
  kill(signal?: number): void;
  /** Tells a 'pty' its size. */
  resize(columns: number, rows: number): void;
}

/**
 * Runs a command in the running container of this name, in its namespaces and cgroups and with no more rights than it
 * has. Rejects with an Error that says what failed.
 */
export async function exec(machine: string, asked: ExecOptions = {}): Promise<Executed> {
  const { checkExecTypes } = await import('./options/types.ts');
  checkExecTypes(asked);
  const { stdio = 'pipe', ...options } = asked;
  using connected = await connect(stdio);
  const { pidfd } = await joinContainer(containerNamed(machine), options, connected.payload);
  const streams = connected.open();
  let isOver = false;
  const untilEnded = async (): Promise<number | undefined> => {
    try {
      const { ending } = await ended(pidfd);
      return 'exited' in ending ? ending.exited : undefined;
    } finally {
      isOver = true;
      closeFd(pidfd);
      connected.finish();
    }
  };
  return {
    ...streams,
    exited: untilEnded(),
    kill(signal = SIG.KILL) {
      checkKill(signal);
      if (!isOver) signalProcess(pidfd, signal);
    },
    resize(columns, rows) {
      checkSize(columns, rows);
      if (!isOver) connected.resize(columns, rows);
    },
  };
}
