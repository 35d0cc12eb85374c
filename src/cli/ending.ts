/** Says how a container ended, and what it has used. */
import type { Usage } from '../container/usage.ts';
import { signalName } from '../options/signals.ts';
import type { Ended } from '../spawn.ts';
import type { CommandLineLogger } from './logger.ts';

const EXIT_FAILURE = 1;
/** As of timeout(1). */
const EXIT_TIMEOUT = 124;

/** Says how the container ended, by `status` where nothing is wrong. Returns nspawn's exit status for that. */
export function describeEnding(
  machine: string,
  { exitStatus, signal, reboot, reason, usage }: Ended,
  status: (message: string) => void,
  log: CommandLineLogger,
): number {
  if (reason === 'timeout') {
    log.error(`Container ${machine} was stopped: its time was over.`);
    return EXIT_TIMEOUT;
  }
  const killed = usage?.oomKills
    ? `: out of memory, ${plural(usage.oomKills, 'process was', 'processes were')} killed`
    : '';
  if (exitStatus === 0) {
    status(`Container ${machine} exited successfully.`);
    if (killed) log.warn(`Container ${machine} ran${killed}.`);
    return exitStatus;
  }
  if (exitStatus !== undefined) {
    const say = killed ? log.error : status;
    say(`Container ${machine} failed with error code ${exitStatus}${killed}.`);
    return exitStatus;
  }
  if (reboot) {
    status(`Container ${machine} ${reboot === 'restart' ? 'is being rebooted' : 'has been shut down'}.`);
    return 0;
  }
  log.error(`Container ${machine} terminated by signal ${signalName(signal!).replace(/^SIG/, '')}${killed}.`);
  return EXIT_FAILURE;
}

/** `Container x used 0.25 s of CPU time, at most 12.5 MiB of memory and at most 3 tasks.` */
export function describeUsage(machine: string, { cpuTime, memoryPeak, processPeak, tasksPeak }: Usage): string {
  const parts = [
    ...(cpuTime === undefined ? [] : [`${cpuTime.toFixed(3)} s of CPU time`]),
    ...(memoryPeak === undefined ? [] : [`at most ${mebibytes(memoryPeak)} of memory`]),
    ...(processPeak === undefined ? [] : [`at most ${mebibytes(processPeak)} of memory in one process`]),
    ...(tasksPeak === undefined ? [] : [`at most ${plural(tasksPeak, 'task', 'tasks')}`]),
  ];
  return `Container ${machine} used ${parts.join(', ') || 'what this kernel does not count'}.`;
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const plural = (count: number, one: string, more: string) => `${count} ${count === 1 ? one : more}`;
