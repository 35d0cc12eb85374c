/**
 * Picks a range for each machine named, for trees of root's, and prints the first id. With --hold it has the ids used by
 * a process, prints its number as well, and waits.
 */
import { spawn } from 'node:child_process';
import process from 'node:process';
import { pickRange } from '../../../src/users/range.ts';
import { entrust } from '../../../syscalls/agent/janitor.ts';
import { killAndWait, openProcess } from '../../../syscalls/process.ts';

const [option, ...rest] = process.argv.slice(2);
const machines = option === '--hold' ? rest : process.argv.slice(2);
for (const machine of machines) {
  const lease = pickRange(machine, { uid: 0, gid: 0 });
  const user = option === '--hold' ? spawn('sleep', ['20'], { stdio: 'ignore', detached: true }) : undefined;
  if (user) {
    entrust([openProcess(user.pid!), lease.fd], ([pidfd]) => [...killAndWait(pidfd!), lease.remove]);
  }
  console.log(lease.base, user?.pid ?? '');
  if (option !== '--hold') lease[Symbol.dispose]();
}
if (option === '--hold') setInterval(() => {}, 1000);
