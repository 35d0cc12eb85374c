/**
 * As much of nspawn as its console needs: `bun fixture.ts MODE COMMAND [FD]` runs a shell command on a new
 * pseudo-terminal, forwards that to its own standard streams (or to FD), and ends with the command's status. SIGUSR1
 * makes it fail with an uncaught error, SIGUSR2 makes it exit.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { type ForwardOptions, forwardConsole } from '../../src/console/forward.ts';
import { openPty } from '../../syscalls/tty.ts';

process.on('SIGUSR1', () => {
  throw new Error('uncaught');
});
process.on('SIGUSR2', () => process.exit(7));

async function main(mode: string, command: string, fd?: number): Promise<void> {
  const { master, slave } = openPty();
  let payload: ChildProcess | undefined;
  const forwarder = forwardConsole({
    master: master.fd,
    mode: mode as ForwardOptions['mode'],
    stdin: fd ?? 0,
    stdout: fd ?? 1,
    onKillRequest: () => payload?.kill('SIGKILL'),
  });
  payload = spawn('setsid', ['-c', 'sh', '-c', command], { stdio: [slave.fd, slave.fd, slave.fd] });
  await once(payload, 'exit');
  await forwarder.finish();
  process.exit(payload.exitCode ?? 137);
}

// Not awaited: Bun ends for an uncaught error only when the main module has been left.
const [mode, command, fd] = process.argv.slice(2);
main(mode!, command!, fd ? Number(fd) : undefined);
