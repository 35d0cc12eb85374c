/** The init that an agent becomes above its payload: --as-pid2. */
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Agent, startAgent } from '../../syscalls/agent/agent.ts';
import { BECOME_INIT_CALL } from '../../syscalls/agent/arena.ts';
import { call } from '../../syscalls/call.ts';
import { CLONE, SIG } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { ALL_SIGNALS, NO_SIGNALS, setSignalMask, signalProcess } from '../../syscalls/process.ts';
import { needs, root } from '../support/needs.ts';
import { childrenOf, endOf, eventually, openFds, pipe, plainAgent, readText, statusOf } from './support.ts';

interface Started {
  agent: Agent;
  init: OwnedFd;
  /** What the payload prints. */
  output: number;
}

/** Runs a shell script below an init, both in a process namespace of their own. */
async function withInit(script: string, body: (started: Started) => Promise<void>): Promise<void> {
  using printed = pipe();
  const agent = startAgent({ namespaces: CLONE.NEWPID, fds: [printed.write.fd], dieWithParent: true });
  agent.run([
    setSignalMask(ALL_SIGNALS),
    BECOME_INIT_CALL,
    call('setsid'),
    call('dup3', printed.write.fd, 1, 0),
    setSignalMask(NO_SIGNALS),
  ]);
  assert.is(agent.exec([call('execve', '/bin/sh', ['sh', '-c', script], ['PATH=/usr/bin:/bin'])]), undefined);
  agent.detach();
  printed.write[Symbol.dispose]();
  using init = owned(agent.pidfd);
  try {
    await body({ agent, init, output: printed.read.fd });
  } finally {
    signalProcess(init.fd, SIG.KILL);
    if (statusOf(agent.pid)?.parent === process.pid) endOf(init.fd);
  }
}

const asInit = needs([root]);

asInit('it ends with the payload’s exit status', async () => {
  for (const status of [0, 1, 7, 255]) {
    await withInit(`exit ${status}`, async ({ init }) => assert.equal(endOf(init.fd), { exited: status }));
  }
});

asInit('it ends with 1 when a signal ended the payload', async () => {
  for (const signal of ['KILL', 'TERM', 'SEGV']) {
    await withInit(`kill -${signal} $$`, async ({ init }) => assert.equal(endOf(init.fd), { exited: 255 }));
  }
});

asInit('it is process 1, and the payload process 2', async () => {
  await withInit('echo $$ $PPID', async ({ init, output }) => {
    endOf(init.fd);
    assert.is(readText(output), '2 1\n');
  });
});

asInit('it has let go of everything: descriptors, and the memory it was told by', async () => {
  await withInit('echo ready; exec sleep 1000', async ({ agent, output }) => {
    readText(output);
    assert.equal(openFds(agent.pid), []);
    assert.not.match(readFileSync(`/proc/${agent.pid}/maps`, 'utf8'), 'nspawn-arena');
    using next = plainAgent();
    assert.is(next.arena, agent.arena, 'so that can be used again');
  });
});

asInit('it reaps orphans, also many that end at once', async () => {
  // Each of the inner shells ends at once, and leaves its child to init.
  const script = `
    for i in $(seq 40); do sh -c 'sleep 0 & sleep 0.01 &'; done
    echo ready
    exec sleep 1000`;
  await withInit(script, async ({ agent, output }) => {
    readText(output);
    await eventually('the payload is the only child of init', () => childrenOf(agent.pid).length === 1);
    assert.is(statusOf(childrenOf(agent.pid)[0]!)?.name, 'sleep');
  });
});

asInit('an orphan that ends does not end it', async () => {
  await withInit("sh -c '(exit 3) & exit 4'; sleep 0.05; exit 9", async ({ init }) =>
    assert.equal(endOf(init.fd), { exited: 9 }),
  );
});

asInit('it hands signals on to the payload, whoever sends them', async () => {
  // RTMIN+3 asks an init to power off; a payload may have its own idea.
  for (const [name, number] of [
    ['TERM', SIG.TERM],
    ['INT', SIG.INT],
    ['HUP', SIG.HUP],
    ['USR1', 10],
    ['37', SIG.RTMIN + 3],
  ] as const) {
    const script = `trap 'echo got; exit 3' ${name}; echo ready; while :; do sleep 1000 & wait; done`;
    await withInit(script, async ({ init, output }) => {
      assert.is(readText(output), 'ready\n');
      signalProcess(init.fd, number);
      assert.equal(endOf(init.fd), { exited: 3 });
      assert.is(readText(output), 'got\n');
    });
  }
  await withInit("trap 'exit 5' TERM; kill -TERM 1; sleep 1000 & wait", async ({ init }) =>
    assert.equal(endOf(init.fd), { exited: 5 }),
  );
});

asInit('it hands signals on after it has reaped an orphan', async () => {
  await withInit("sh -c 'sleep 0 &'; echo ready; exec sleep 1000", async ({ agent, init, output }) => {
    readText(output);
    await eventually('the orphan is reaped', () => childrenOf(agent.pid).length === 1);
    signalProcess(init.fd, SIG.TERM);
    assert.equal(endOf(init.fd), { exited: 255 });
  });
});

asInit('a signal that the payload does not expect ends it, and so init', async () => {
  await withInit('echo ready; exec sleep 1000', async ({ init, output }) => {
    readText(output);
    signalProcess(init.fd, SIG.TERM);
    assert.equal(endOf(init.fd), { exited: 255 });
  });
});

asInit('all of its namespace ends with the payload', async () => {
  await withInit('sleep 1000 & echo $!; sleep 1000 & exit 2', async ({ agent, init }) => {
    assert.equal(endOf(init.fd), { exited: 2 });
    const left = readdirSync('/proc').filter(pid => statusOf(Number(pid))?.parent === agent.pid);
    assert.equal(left, []);
  });
});

asInit('an agent that is disposed of halfway leaves nothing', () => {
  const agent = startAgent({ namespaces: CLONE.NEWPID, fds: [], dieWithParent: true });
  agent.run([setSignalMask(ALL_SIGNALS), BECOME_INIT_CALL, call('getpid')]);
  agent[Symbol.dispose]();
  using next = plainAgent();
  assert.is(next.arena, agent.arena);
  assert.equal(childrenOf(process.pid), [next.pid]);
});

test.run();
