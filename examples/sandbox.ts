/**
 * Runs a script that isn't trusted, by root or an ordinary user, and prints what came of it.
 *
 *     bun examples/sandbox.ts
 */
import { sandbox } from 'nspawn';

const { stdout, exitStatus, reason } = await sandbox({
  command: ['sh', 'sum.sh'],
  files: { 'sum.sh': 'read a b && echo "$a + $b = $((a + b))"' },
  stdin: '20 22\n',
  timeout: 2000,
});
console.log(`${stdout}exit status ${exitStatus}${reason ? `: ${reason}` : ''}`);
