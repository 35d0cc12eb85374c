/**
 * The filter is loaded before the last steps of a start: none of their system calls may be among those it stops, and a
 * plan with a filter of its own must know them all.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type SpawnOptions, spawn } from '../../src/index.ts';
import { CALLS_AFTER_FILTER, CALLS_OF_INIT } from '../../src/plan/system-call-filter.ts';
import type { Call } from '../../syscalls/call.ts';
import { hostArchitecture, syscallNumber } from '../../syscalls/machine.ts';
import { AUDIT_ARCH, loadProgram } from '../../syscalls/seccomp/index.ts';
import { nspawnProgram } from '../../syscalls/seccomp/nspawn-program.ts';
import { trace } from '../../syscalls/syscall.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree } from '../support/tree.ts';

const rooted = needs([root, busybox]);

const OPTIONS: SpawnOptions[] = [
  {},
  { asPid2: true, chdir: '/', noNewPrivileges: true, cpuAffinity: [0] },
  { user: 'guest', ambientCapabilities: ['CAP_KILL'], chdir: '/', noNewPrivileges: true, personality: 'x86' },
  { privateUsers: 'pick', user: 'guest', noNewPrivileges: true, dropCapabilities: ['all'] },
  { asPid2: true, user: 'guest', ambientCapabilities: ['CAP_KILL'], stdio: 'pty' },
];

for (const options of OPTIONS) {
  rooted(`a start with ${JSON.stringify(options)} passes its own filter`, async () => {
    const calls: (Call & { who: string })[] = [];
    trace.sink = (who, traced) => {
      if (who.startsWith('agent')) calls.push({ ...traced, who });
    };
    try {
      const command = ['/bin/true'];
      const container = await spawn({
        directory: busyboxTree(),
        readOnly: true,
        command,
        stdio: 'inherit',
        ...options,
      });
      assert.is((await container.exited).exitStatus, 0);
    } finally {
      delete trace.sink;
    }

    const loaded = calls.findIndex(({ name }) => name === 'seccomp');
    // There may be another agent, outside the user namespace.
    const { who: payload } = calls[loaded]!;
    const after = calls.slice(loaded + 1).filter(({ who, name }) => who === payload && name !== 'become_init');
    assert.ok(loaded >= 0 && after.length > 5, 'the filter is loaded, and calls come after it');
    const filter = loadProgram(nspawnProgram(hostArchitecture()));
    for (const { name } of after) {
      const known = [...CALLS_AFTER_FILTER, 'chdir', ...(options.asPid2 ? CALLS_OF_INIT : [])];
      assert.ok(known.includes(name), name);
      const { action } = filter({ nr: syscallNumber(name), arch: AUDIT_ARCH[hostArchitecture()] });
      assert.is(action, 'allow', name);
    }
  });
}

test.run();
