/** `nspawn exec` in containers that have other rights than the default ones: a command has no more than the container. */
import { spawnSync } from 'node:child_process';
import { lstatSync, readFileSync } from 'node:fs';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ContainerOptions, containers, exec } from '../../src/index.ts';
import { idle, unchanging } from '../container/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox, busyboxTree, debian, debianTree } from '../support/tree.ts';
import { main } from './support.ts';

const check = needs([root, busybox]);
let count = 0;

async function textOf(stream: Readable | null): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString();
}

/** What a shell script prints in a container that was started with these options. */
async function inContainer(options: ContainerOptions, script: string, user = 'root'): Promise<string> {
  const machine = `rights-${process.pid}-${count++}`;
  await using _container = await idle({ ...unchanging(busyboxTree()), ...options, machine });
  const { stdout, exited } = await exec(machine, { command: ['/bin/sh', '-c', `exec 2>&1; ${script}`], user });
  const text = await textOf(stdout);
  await exited;
  return text;
}

const tries = 'mkdir /tmp/x && echo made; swapon /no';

check('a list of calls holds for commands', async () => {
  assert.match(await inContainer({}, tries), /^made\n.*swapon/);
  const filter = { deny: ['mkdir', 'mkdirat'], allow: ['@swap'] };
  const lines = (await inContainer({ systemCallFilter: filter }, tries)).split('\n');
  assert.match(lines[0]!, /mkdir.*Operation not permitted/);
  assert.match(lines[1]!, /No such file/);
  assert.match(await inContainer({ systemCallFilter: filter }, tries, 'guest'), /mkdir.*Operation not permitted/);
});

needs([root, debian])('so does suppressed sync', async () => {
  const script =
    'cd /tmp; for flag in sync dsync nonblock; do dd if=/dev/null of=x oflag=$flag status=none; echo $?; done';
  const options = { ...unchanging(debianTree()), environment: ['LC_ALL=C'] };
  assert.is(await inContainer(options, script), '0\n0\n0\n');
  assert.match(await inContainer({ ...options, suppressSync: true }, script), /^dd: .*\n1\ndd: .*\n1\n0\n$/);
});

const status = "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status";
const RIGHTS: ContainerOptions[] = [
  { noNewPrivileges: true, systemCallFilter: {} },
  { capabilities: ['CAP_SYS_TIME'], dropCapabilities: ['CAP_CHOWN'], suppressSync: true },
  { dropCapabilities: ['all'], systemCallFilter: { allow: ['@clock'] } },
];
for (const options of RIGHTS) {
  check(`a command has the rights of a container with ${JSON.stringify(options)}`, async () => {
    const machine = `rights-${process.pid}-${count++}`;
    await using container = await idle({ ...unchanging(busyboxTree()), ...options, machine });
    const own = readFileSync(`/proc/${container.pid}/status`, 'utf8').match(/^(Cap|NoNewPrivs|Seccomp).*$/gm)!;
    const { stdout } = await exec(machine, { command: ['/bin/sh', '-c', status] });
    assert.equal((await textOf(stdout)).trimEnd().split('\n'), own);
    assert.ok(containers().find(record => record.machine === machine)!.filter);
  });
}

check('ambient capabilities are the payload’s alone', async () => {
  const options = { user: 'guest', ambientCapabilities: ['CAP_KILL'] };
  assert.is(await inContainer(options, 'grep ^CapAmb /proc/self/status', 'guest'), 'CapAmb:\t0000000000000000\n');
});

check('a filter that no command can be started with is told', async () => {
  const error = await inContainer({ systemCallFilter: { deny: ['clone', 'fork'] } }, 'true').catch(String);
  assert.match(error, /^Error: running a command in rights-\S+: the container's --system-call-filter= forbids clone,/);
});

check('nobody but root can write to what says which filter it is', async () => {
  const machine = `rights-${process.pid}-${count++}`;
  await using container = await idle({ ...unchanging(busyboxTree()), systemCallFilter: {}, machine });
  for (const path of ['/run', '/run/nspawn', '/run/nspawn/containers', `/run/nspawn/containers/${container.pid}`]) {
    const { uid, mode } = lstatSync(path);
    assert.equal([path, uid, mode & 0o022], [path, 0, 0]);
  }
});

check('the list does not show filters', async () => {
  const machine = `rights-${process.pid}-${count++}`;
  await using _container = await idle({ ...unchanging(busyboxTree()), systemCallFilter: {}, machine });
  const { stdout } = spawnSync(process.execPath, [main, 'list', '--json'], { encoding: 'utf8' });
  const [record] = JSON.parse(stdout).filter((each: { machine: string }) => each.machine === machine);
  assert.equal(Object.keys(record).includes('filter'), false);
});

test.run();
