/** Small helpers of a container's start: programs of its tree, run in containers of their own. */

import { SIG } from '../../syscalls/constants.ts';
import { signalProcess } from '../../syscalls/process.ts';
import type { RunInTree } from '../execute/user.ts';
import { silentLogger } from '../log.ts';
import type { ContainerOptions } from '../options.ts';
import { buildPlan } from '../plan/plan.ts';
import { startContainer } from './start.ts';
import { connect } from './stdio.ts';
import { ended } from './wait.ts';

const LONGEST_RUN_MS = 10_000;
const MOST_OUTPUT = 1 << 20;

/**
 * Runs programs on the tree of `options`, as it looks with these mounts: read-only, without capabilities, with their
 * standard output as the result. It is undefined when a program fails, takes longer than ten seconds, or says more
 * than a mebibyte.
 */
export function runInTree(options: ContainerOptions): RunInTree {
  return async command => {
    const { user: _, chdir: __, ...rest } = options;
    const helper: ContainerOptions = {
      ...rest,
      command,
      boot: false,
      asPid2: false,
      readOnly: (options.volatile ?? 'no') === 'no',
      dropCapabilities: ['all'],
      noNewPrivileges: true,
      environment: [],
    };
    const plan = { ...buildPlan(helper, 'streams'), lock: 'none' as const };
    using connected = await connect('pipe');
    const { pidfd, resources } = await startContainer(plan, {
      log: silentLogger,
      streams: connected.payload,
      runInTree: async () => undefined,
    });
    const { stdin, stdout, stderr } = connected.open();
    stdin?.destroy();
    stderr?.resume();

    const timer = setTimeout(() => signalProcess(pidfd, SIG.KILL), LONGEST_RUN_MS);
    const output: Buffer[] = [];
    let size = 0;
    stdout?.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MOST_OUTPUT) output.push(chunk);
      else signalProcess(pidfd, SIG.KILL);
    });
    const isRead = new Promise(resolve => stdout?.once('close', resolve));
    const ending = await ended(pidfd);
    clearTimeout(timer);
    connected.finish();
    await isRead;
    resources.dispose();
    return 'exited' in ending && ending.exited === 0 ? Buffer.concat(output).toString() : undefined;
  };
}
