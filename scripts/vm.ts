/**
 * Runs a shell command in a virtual machine, as root, on a host with systemd:
 *
 *     bun scripts/vm.ts [--machine=NAME] [--limit=SECONDS] [--] COMMAND…
 *
 * NAME is one of MACHINES in test/support/vm/machine.ts: cgroup2 (the default), hybrid, cgroup1 or selinux. The words are
 * joined, as ssh(1) does. The exit status is the command's. What the checkout holds now is built and installed in the machine.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { startVm } from '../test/support/vm/machine.ts';

const { values, positionals } = parseArgs({
  options: { machine: { type: 'string', default: 'cgroup2' }, limit: { type: 'string', default: '900' } },
  allowPositionals: true,
});
if (positionals.length === 0) throw new Error('Which command? bun scripts/vm.ts [--machine=NAME] -- COMMAND…');

using vm = startVm(positionals.join(' '), values.machine, Number(values.limit));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    vm[Symbol.dispose]();
    process.exit(1);
  });
}
process.stdin.pipe(vm.stdin, { end: false });
vm.stdout.pipe(process.stdout);
process.exitCode = await vm.ended;
process.stdin.destroy();
