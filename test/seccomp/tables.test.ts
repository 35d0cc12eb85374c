import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  groupsText,
  missingFor,
  packageVersion,
  programsText,
  readGroups,
  readTable,
  SOURCES,
  tableText,
} from '../../scripts/syscall-tables.ts';
import { type ArchitectureName, loadArchitecture, syscallNumber } from '../../syscalls/seccomp/index.ts';
import { hasTool, needs } from '../support/needs.ts';

const X32_BIT = 0x4000_0000;
const ARM_PRIVATE = 0x0f_0000;

function tableFile(name: string): string {
  return readFileSync(new URL(`../../syscalls/tables/${name}.ts`, import.meta.url), 'utf8');
}

for (const source of SOURCES) {
  needs([() => missingFor(source)])(`the table of ${source.name} is what its headers say`, async () => {
    const entries = readTable(source);
    const version = packageVersion(source.package);
    if (tableFile(source.name).includes(`${source.package} ${version},`)) {
      assert.equal(tableFile(source.name), tableText(source, version, entries));
      return;
    }
    // Headers of another version may have more or fewer calls, but a number never changes.
    const { syscalls } = await loadArchitecture(source.name as ArchitectureName);
    for (const [name, number] of entries) assert.is(syscalls[name] ?? number, number, name);
  });
}

const systemd = hasTool('systemd-analyze') && hasTool('dpkg-query') ? `systemd ${packageVersion('systemd')}` : '';
const isSource = systemd !== '' && tableFile('syscall-groups').includes(`${systemd}\n`);
needs([() => (isSource ? undefined : 'the systemd that they are from is not installed')])(
  'the groups are what systemd says',
  () => {
    assert.is(tableFile('syscall-groups'), groupsText(packageVersion('systemd'), readGroups()));
  },
);

// From the tables in the kernel's source: arch/*/entry/syscalls/*.tbl, arch/arm/tools/syscall.tbl and
// include/uapi/asm-generic/unistd.h; ARM's private calls from arch/arm/include/uapi/asm/unistd.h.
const KNOWN: Record<ArchitectureName, Record<string, number | undefined>> = {
  x86_64: {
    read: 0,
    execve: 59,
    _sysctl: 156,
    openat: 257,
    clone3: 435,
    set_mempolicy_home_node: 450,
    mmap2: undefined,
  },
  i386: { restart_syscall: 0, exit: 1, execve: 11, socketcall: 102, mmap2: 192, socket: 359, clock_gettime64: 403 },
  x32: {
    read: X32_BIT,
    openat: X32_BIT + 257,
    rt_sigaction: X32_BIT + 512,
    execve: X32_BIT + 520,
    pwritev2: X32_BIT + 547,
  },
  arm64: { io_setup: 0, openat: 56, read: 63, fstat: 80, execve: 221, mmap: 222, clone3: 435, open: undefined },
  arm: { exit: 1, execve: 11, mmap2: 192, socket: 281, cacheflush: ARM_PRIVATE + 2, get_tls: ARM_PRIVATE + 6 },
};

for (const [name, numbers] of Object.entries(KNOWN)) {
  test(`known numbers of ${name}`, async () => {
    const architecture = await loadArchitecture(name as ArchitectureName);
    assert.is(architecture.name, name);
    for (const [syscall, number] of Object.entries(numbers)) {
      assert.is(syscallNumber(architecture, syscall), number, syscall);
    }
  });
}

test('the tables hold all calls of Linux 6.1, and none of its other macros', async () => {
  const counts = { x86_64: 362, i386: 440, x32: 351, arm64: 306, arm: 410 };
  for (const [name, count] of Object.entries(counts)) {
    const { syscalls } = await loadArchitecture(name as ArchitectureName);
    assert.is(Object.keys(syscalls).length, count, name);
    for (const macro of ['syscalls', 'arch_specific_syscall', 'SYSCALL_BASE']) assert.not.ok(macro in syscalls);
  }
});

test('the numbers of an architecture are in its part of the number space', async () => {
  for (const name of Object.keys(KNOWN) as ArchitectureName[]) {
    const { syscalls } = await loadArchitecture(name);
    for (const [syscall, number] of Object.entries(syscalls)) {
      assert.is((number & X32_BIT) !== 0, name === 'x32', `${name} ${syscall}`);
    }
  }
});

test('a name that only JavaScript knows is no syscall', async () => {
  const architecture = await loadArchitecture('arm64');
  for (const name of ['constructor', 'toString', '__proto__']) assert.is(syscallNumber(architecture, name), undefined);
});

test("the stored program of nspawn's filter is what the filter compiles to", () => {
  assert.equal(tableFile('nspawn-program'), programsText());
});

test.run();
