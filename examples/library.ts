/**
 * Runs a command in a container of this machine's own file system, of which nothing is changed, and prints its output.
 *
 *     bun examples/library.ts
 */
import process from 'node:process';
import { spawn } from 'nspawn';

await using container = await spawn({
  directory: '/',
  volatile: 'overlay',
  machine: 'example',
  command: ['sh', '-c', 'echo "$(uname -n) runs process $$"; touch /made-inside && echo "and may write"'],
});
container.stdin?.end();
for await (const chunk of container.stdout ?? []) process.stdout.write(chunk);
const { exitStatus } = await container.exited;
console.log(`exit status ${exitStatus}`);
