import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ArchitectureName,
  AUDIT_ARCH,
  compile,
  type HostArchitecture,
  loadArchitecture,
  loadProgram,
  nspawnFilter,
  nspawnProgram,
  syscallNumber,
} from '../../syscalls/seccomp/index.ts';

const HOSTS: Record<HostArchitecture, ArchitectureName[]> = {
  x86_64: ['x86_64', 'i386', 'x32'],
  arm64: ['arm64', 'arm'],
};
const DENIED = ['kexec_load', 'open_by_handle_at', 'init_module', 'finit_module', 'delete_module', 'iopl', 'ioperm'];
DENIED.push('swapon', 'swapoff');
const EPERM = 1;
const EAFNOSUPPORT = 97;
const HIGH = 0xdead_beef_0000_0000n;

for (const [host, names] of Object.entries(HOSTS) as [HostArchitecture, ArchitectureName[]][]) {
  const run = loadProgram(compile(nspawnFilter(host)));

  for (const name of names) {
    test(`on ${host}, ${name}: exactly the denied calls are denied`, async () => {
      const { syscalls } = await loadArchitecture(name);
      for (const [syscall, nr] of Object.entries(syscalls)) {
        const wanted = DENIED.includes(syscall) ? { errno: EPERM } : 'allow';
        for (const args of [[], [-1n, -1n, -1n, -1n, -1n, -1n]]) {
          assert.equal(run({ nr, arch: AUDIT_ARCH[name], args }).action, wanted, syscall);
        }
      }
    });

    test(`on ${host}, ${name}: only audit sockets are denied`, async () => {
      const nr = syscallNumber(await loadArchitecture(name), 'socket')!;
      const action = (...args: bigint[]) => run({ nr, arch: AUDIT_ARCH[name], args }).action;
      assert.equal(action(16n, 3n, 9n), { errno: EAFNOSUPPORT });
      assert.equal(action(16n, 0x80002n, 9n), { errno: EAFNOSUPPORT });
      // The kernel drops the upper halves of both ints.
      assert.equal(action(16n | HIGH, 3n | HIGH, 9n | HIGH), { errno: EAFNOSUPPORT });
      assert.equal(action(16n, 3n, 0n), 'allow');
      assert.equal(action(2n, 3n, 9n), 'allow');
      assert.equal(action(9n, 3n, 16n), 'allow');
    });
  }

  test(`on ${host}, calls of other architectures kill the process`, () => {
    const known = names.map(name => AUDIT_ARCH[name]);
    const others = [...Object.values(AUDIT_ARCH), 0, 0x8000_0016, 0xffff_ffff].filter(arch => !known.includes(arch));
    for (const arch of others) assert.equal(run({ nr: 0, arch }).action, 'kill-process');
  });

  test(`on ${host}, the filter's own numbers are those of the full tables`, async () => {
    const filter = nspawnFilter(host);
    assert.equal(
      filter.architectures.map(({ name }) => name),
      names,
    );
    const architectures = await Promise.all(names.map(loadArchitecture));
    for (const { name, syscalls } of filter.architectures) {
      const full = architectures.find(architecture => architecture.name === name)!;
      for (const { syscall } of filter.rules) assert.is(syscalls[syscall], syscallNumber(full, syscall), syscall);
    }
    assert.equal(compile({ ...filter, architectures }), compile(filter));
  });

  test(`on ${host}, the stored program is the compiled one`, () => {
    assert.equal(nspawnProgram(host), compile(nspawnFilter(host)));
  });
}

test.run();
