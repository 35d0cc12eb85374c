/** A place where nothing is but us, so that all that is left in it has been left by us. */
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const CHECKOUT = resolve(import.meta.dirname, '../..');

/**
 * For the first process there, a shell: it reaps. The checkout may be in one of the directories that are emptied, so it
 * is put elsewhere, and with it a directory of the caller's.
 */
const PREPARE = `
  mount -t tmpfs none /mnt && mkdir /mnt/checkout /mnt/given /mnt/sys || exit
  # It shows the network that it was mounted in.
  mount -t sysfs none /mnt/sys && mount --rbind /sys/fs/cgroup /mnt/sys/fs/cgroup && mount --rbind /mnt/sys /sys || exit
  mount --rbind "$1" /mnt/checkout && mount --rbind "$2" /mnt/given || exit
  for directory in /tmp /var/tmp /run /dev/shm; do mount -t tmpfs none $directory || exit; done
  shift 2; cd /mnt/checkout && node_modules/.bin/bun "$@"
  exit $?`;

/**
 * Runs a program of the checkout in mount, network and process namespaces of its own, with empty directories for
 * temporary files, and returns what it prints, a JSON document. It finds the directory \`given\` as /mnt/given. Throws when
 * it fails.
 */
export function inEmptyMachine(program: string, args: readonly string[] = [], given = CHECKOUT): unknown {
  const options = ['--mount', '--net', '--pid', '--fork', '--mount-proc', '--kill-child'];
  const command = [...options, 'sh', '-c', PREPARE, 'sh', CHECKOUT, given, program, ...args];
  const { status, stdout, stderr } = spawnSync('unshare', command, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}
