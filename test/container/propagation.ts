/**
 * Run by namespaces.test.ts in a mount namespace where mounts are shared: mounts on a container's tree from the host's
 * side and from inside, and tells where each shows up.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { spawn } from '../../src/index.ts';
import { busyboxTree } from '../support/tree.ts';

const tree = process.argv[2]!;
execFileSync('mount', ['--types', 'tmpfs', 'tree', tree]);
execFileSync('cp', ['--archive', '--no-target-directory', busyboxTree(), tree]);
mkdirSync(`${tree}/later`);

// The script waits for a line before it looks, and says when its own mount is made.
const script =
  'mount -t tmpfs inside /home; echo mounted; read go; grep -c " /later " /proc/self/mountinfo; cat /later/file';
await using container = await spawn({ directory: tree, command: ['/bin/sh', '-c', script] });
let output = '';
container.stdout!.on('data', chunk => {
  output += chunk;
  if (output === 'mounted\n') mountLater();
});

let wentOut = false;
function mountLater(): void {
  wentOut = readFileSync('/proc/self/mountinfo', 'utf8').includes(' inside ');
  execFileSync('mount', ['--types', 'tmpfs', 'later', `${tree}/later`]);
  execFileSync('sh', ['-c', 'echo of the host >"$1"', 'sh', `${tree}/later/file`]);
  container.stdin!.end('go\n');
}
await container.exited;
console.log(
  `${output === 'mounted\n1\nof the host\n' ? 'came in' : `did not come in: ${output}`}, ${wentOut ? 'went out' : 'stayed inside'}`,
);
