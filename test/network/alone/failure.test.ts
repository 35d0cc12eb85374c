/** Starts that are made to fail while interfaces are made: nothing is left, and what was lent is back. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deleteLink, newLink } from '../../../netlink/index.ts';
import { startContainer } from '../../../src/container/start.ts';
import type { ContainerOptions } from '../../../src/index.ts';
import { silentLogger } from '../../../src/log.ts';
import { planContainer } from '../../../src/plan/plan.ts';
import { must } from '../../../src/plan/steps.ts';
import { openFds } from '../../agent/support.ts';
import { NSPAWN, shell } from '../../cli/support.ts';
import { eventually } from '../../console/support.ts';
import { needs, root, tool } from '../../support/needs.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { busybox, busyboxTree } from '../../support/tree.ts';
import { host, hostLinks, machineId, unique } from '../support.ts';

const it = needs([root, busybox, machineId]);
const [parent, lent] = [unique('p'), unique('l')];

/** Does something while the host has interfaces that can be used and lent. */
async function withInterfaces(work: () => unknown): Promise<void> {
  using connection = host();
  connection.execute(newLink({ kind: 'veth', name: parent, data: { peer: { name: lent } } }));
  try {
    await work();
  } finally {
    connection.execute(deleteLink(parent));
  }
}

/** Fails unless the host has the same interfaces as before, but for those of others. */
const onlyOurs = (what: string) =>
  eventually(`nothing but ${parent} and ${lent} is there (${what})`, () => {
    const ours = hostLinks(...['', 've-', 'vb-', 'vz-'].map(prefix => prefix + unique('')));
    return Object.keys(ours).sort().join() === [lent, parent].join();
  });

const everything: ContainerOptions = {
  directory: busyboxTree(),
  readOnly: true,
  timezone: 'off',
  machine: unique('m'),
  command: ['/bin/true'],
  networkZone: unique('z'),
  networkVethExtra: [unique('x')],
  networkMacvlans: [parent],
  networkInterfaces: [`${lent}:lan0`],
};

it('a step that fails undoes all the steps before it', () =>
  withInterfaces(async () => {
    const plan = await planContainer(everything, 'streams');
    const impossible = must({ do: 'mount', type: 'no-such-file-system', path: '/proc', options: [], attributes: 0 });
    const first = plan.steps.findIndex(({ action }) => action.do === 'move interface');
    // The last one registers the container.
    assert.is(plan.steps.length - first, 5);
    const fail = async (n: number) => {
      const broken = { ...plan, steps: plan.steps.toSpliced(n, 0, impossible) };
      const streams = { fds: [0, 1, 2] } as const;
      const runInTree = () => Promise.reject(new Error('none'));
      const message = await startContainer(broken, { log: silentLogger, streams, runInTree }).then(
        () => 'it has started',
        (error: Error) => error.message,
      );
      assert.match(message, /^mounting no-such-file-system on \/proc: /);
      await onlyOurs(`step ${n}`);
    };
    // What the runtime opens when it is first needed is open from now on.
    await fail(plan.steps.length);
    const before = openFds('self').length;
    for (let n = first; n <= plan.steps.length; n++) await fail(n);
    assert.is(openFds('self').length, before);
  }));

needs([root, busybox, machineId, tool('strace')])('whichever message to the kernel fails, it is said in one line', () =>
  withInterfaces(async () => {
    using directory = temporaryDirectory();
    const log = join(directory.path, 'log');
    const options = [
      ...['-q', '-P', '-M', unique('m'), `--network-zone=${unique('z')}`, `--network-veth-extra=${unique('x')}`],
      ...[`--network-macvlan=${parent}`, `--network-interface=${lent}:lan0`],
    ];
    const command = [...NSPAWN, ...shell('true', ...options)];
    // Of nspawn itself, not of its agent and its janitor.
    const strace = (...words: string[]) =>
      spawnSync('strace', ['-qq', '-e', 'trace=sendto', ...words, ...command], { encoding: 'utf8', timeout: 60_000 });
    assert.is(strace('-o', log).status, 0);
    const sent = readFileSync(log, 'utf8').split('\n');
    const first = sent.findIndex(line => line.includes('RTM_'));
    // The last interface is made, and looked at.
    const last = sent.findIndex(line => line.includes('"macvlan"')) + 1;
    assert.ok(first >= 0 && last - first > 10, `messages ${first} to ${last}`);

    for (let n = first + 1; n <= last + 1; n++) {
      const { status, stderr } = strace('-o', '/dev/null', '-e', `inject=sendto:error=EXFULL:when=${n}`);
      assert.match(stderr, /^[a-z][^\n]*Exchange full \(EXFULL\)\n?$/, `message ${n}: ${sent[n - 1]}`);
      assert.is(status, 1, `message ${n}`);
      await onlyOurs(`message ${n}: ${sent[n - 1]}`);
    }
  }),
);

test.run();
