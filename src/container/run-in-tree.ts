/** Small helpers of a container's start: programs of its tree, run in containers of their own. */
import { SIG } from '../../syscalls/constants.ts';
import { signalProcess } from '../../syscalls/process.ts';
import type { Image } from '../image/read-image.ts';
import { silentLogger } from '../log.ts';
import { impliedOptions } from '../options/implied.ts';
import type { ContainerOptions, Overlay } from '../options.ts';
import { planContainer } from '../plan/plan.ts';
import type { EphemeralRoot } from './ephemeral.ts';
import { type StartOptions, startContainer } from './start.ts';
import { connect } from './stdio.ts';
import { ended } from './wait.ts';

const LONGEST_RUN_MS = 10_000;
const MOST_OUTPUT = 1 << 20;

/**
 * Runs programs on the tree of `options` (`image` is what imageOf() gives for them, `ephemeral` the root that was made),
 * as it looks with these mounts: without anything that they could write to or capabilities, with their standard output as the result. Rejects with an Error that says why there is no result: a
 * program that takes longer than ten seconds or says more than a mebibyte is killed.
 */
export function runInTree(
  options: ContainerOptions,
  image: Image | undefined,
  ephemeral: EphemeralRoot | undefined,
): StartOptions['runInTree'] {
  return async (command, openImage, users) => {
    const own = users && {
      privateUsers: { base: Number(users.base), count: users.count },
      usersOwnership: users.ownership,
    };
    const asked = { ...helperOptions(options, command), ...own };
    const plan = { ...(await planContainer(asked, 'streams', image)), lock: 'none' as const };
    using connected = await connect('pipe');
    const { pidfd, resources } = await startContainer(plan, {
      log: silentLogger,
      streams: connected.payload,
      ...(openImage && { image: openImage }),
      runInTree: () => Promise.reject(new Error('it has a user of its own')),
      ephemeral,
    });
    const { stdin, stdout, stderr } = connected.open();
    stdin?.destroy();
    stderr?.resume();

    let fault = '';
    const kill = (reason: string) => {
      fault ||= reason;
      signalProcess(pidfd, SIG.KILL);
    };
    const timer = setTimeout(() => kill(`it took longer than ${LONGEST_RUN_MS / 1000} s`), LONGEST_RUN_MS);
    const output: Buffer[] = [];
    let size = 0;
    stdout?.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MOST_OUTPUT) output.push(chunk);
      else kill(`it said more than ${MOST_OUTPUT} bytes`);
    });
    const isRead = new Promise(resolve => stdout?.once('close', resolve));
    const { ending } = await ended(pidfd);
    clearTimeout(timer);
    connected.finish();
    await isRead;
    resources.dispose();
    if (fault) throw new Error(fault);
    if ('killed' in ending) throw new Error(`it was killed by signal ${ending.killed}`);
    return { status: ending.exited, output: Buffer.concat(output).toString() };
  };
}

/** Options for a container that sees what one with `options` sees, and can change none of it. */
function helperOptions(options: ContainerOptions, command: string[]): ContainerOptions {
  const { binds, overlays, volatile = 'no', privateNetwork = false } = impliedOptions(options);
  const seen = [
    'directory',
    'image',
    'ephemeral',
    'machine',
    'tmpfs',
    'inaccessible',
    'networkNamespacePath',
    'resolvConf',
    'timezone',
  ] as const;
  return {
    ...Object.fromEntries(seen.filter(key => options[key] !== undefined).map(key => [key, options[key]])),
    privateNetwork,
    volatile,
    // A volatile root is its own, and goes with it.
    readOnly: volatile === 'no',
    ...(binds && { binds: binds.map(bind => ({ ...bind, readOnly: true })) }),
    ...(overlays && { overlays: overlays.map(withoutUpper) }),
    command,
    linkJournal: 'no',
    register: false,
    keepUnit: true,
    dropCapabilities: ['all'],
    noNewPrivileges: true,
  };
}

/** The same layers, none of them writable. An empty one, a directory that nobody else sees, is none. */
function withoutUpper({ lower, upper, destination }: Overlay): Overlay {
  return { lower: upper ? [...lower, upper] : lower, destination, readOnly: true };
}
