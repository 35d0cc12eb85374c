/**
 * As much of nspawn as its console needs, on this process's own standard streams: `bun fixture.ts MODE COMMAND` runs a
 * shell command on a new pseudo-terminal and ends with its status. SIGUSR1 makes it fail with an uncaught error,
 * SIGUSR2 makes it exit.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { type ForwardOptions, forwardConsole } from '../../src/console/forward.ts';
import { openPty } from '../../syscalls/tty.ts';

process.on('SIGUSR1', () => {
  throw new Error('uncaught');
});
process.on('SIGUSR2', () => process.exit(7));

async function main(mode: string, command: string): Promise<void> {
  const { master, slave } = openPty();
  const payload = spawn('setsid', ['-c', 'sh', '-c', command], { stdio: [slave.fd, slave.fd, slave.fd] });
  const ended = once(payload, 'exit');
  const forwarder = forwardConsole({
    master: master.fd,
    mode: mode as ForwardOptions['mode'],
    onKillRequest: () => payload.kill('SIGKILL'),
  });
  await ended;
  await forwarder.finish();
  process.exit(payload.exitCode ?? 137);
}

// Not awaited: Bun ends for an uncaught error only when the main module has been left.
main(process.argv[2]!, process.argv[3]!);
