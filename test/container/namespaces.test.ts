/** What a container shares with its host, and what it has of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { commandLine, run, shell, unchanging } from './support.ts';

const check = needs([root, busybox]);
const tree = () => unchanging(busyboxTree());

/** Names of the namespaces that a shell in the container has of its own. */
async function ownNamespaces(options = {}): Promise<string[]> {
  const names = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'];
  const inside = await shell(`cd /proc/self/ns; for n in ${names.join(' ')}; do readlink $n; done`, {
    ...tree(),
    ...options,
  });
  const links = inside.split('\n');
  return names.filter((name, i) => links[i] !== readlinkSync(`/proc/self/ns/${name}`));
}

check("mounts, host name, IPC and processes are its own, the network is the host's", async () => {
  assert.equal(await ownNamespaces(), ['ipc', 'mnt', 'pid', 'uts']);
});

check('with a private network, so is the network', async () => {
  assert.equal(await ownNamespaces({ privateNetwork: true }), ['ipc', 'mnt', 'net', 'pid', 'uts']);
});

check('sharing the system leaves only the mounts', async () => {
  assert.equal(await ownNamespaces({ shareSystem: true }), ['mnt']);
  assert.equal(await ownNamespaces({ shareSystem: true, privateNetwork: true }), ['mnt', 'net']);
});

check('the payload is process 1 and leads a session of its own', async () => {
  const [pid, , , parent, group, session] = (await shell('cat /proc/self/stat; :')).split(' ');
  assert.equal(await shell('echo $$'), '1');
  assert.ok(Number(pid) > 1);
  assert.equal([parent, group, session], ['1', '1', '1']);
});

check('processes of the host are not to be seen', async () => {
  assert.equal(await shell('echo /proc/[0-9]*'), '/proc/1');
});

check('a private network has nothing but a loopback interface, which is up', async () => {
  const alone = { ...tree(), privateNetwork: true };
  assert.equal(await shell('ls /sys/class/net; cat /sys/class/net/lo/flags', alone), 'lo\n0x9');
  assert.match(await shell('ping -c 1 -W 5 127.0.0.1', alone), '0% packet loss');
});

check('a private network leaves resolv.conf as it is', async () => {
  using copy = copyTree(busyboxTree());
  assert.equal(await shell('cat /etc/resolv.conf; :', { directory: copy.path, privateNetwork: true }), '');
});

check('the container has the host name that it was given, and the host keeps its own', async () => {
  const before = hostname();
  assert.equal(await shell('hostname', { ...tree(), machine: 'one' }), 'one');
  assert.equal(await shell('hostname', { ...tree(), machine: 'one', hostname: 'two.example' }), 'two.example');
  assert.equal(await shell('hostname changed; hostname', tree()), 'changed');
  assert.equal(hostname(), before);
});

check('sharing the system leaves host name, boot id and login uid alone', async () => {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const shared = { ...tree(), shareSystem: true, machine: 'other' };
  assert.equal(await shell('hostname; cat /proc/sys/kernel/random/boot_id', shared), `${hostname()}\n${bootId}`);
});

check("the boot id is a new one each time, and can't be written to", async () => {
  const read = 'cat /proc/sys/kernel/random/boot_id; echo x >/proc/sys/kernel/random/boot_id';
  const ids = await Promise.all([1, 2].map(() => run({ ...tree(), command: ['/bin/sh', '-c', read] })));
  for (const { stdout, stderr } of ids) {
    assert.match(stdout, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.match(stderr, 'Read-only file system');
  }
  assert.is.not(ids[0]!.stdout, ids[1]!.stdout);
  assert.is.not(ids[0]!.stdout, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
});

const audit = () => (existsSync('/proc/self/loginuid') ? undefined : 'the kernel has no audit');
const checkAudit = needs([root, busybox, tool('unshare'), audit]);
const words = () => ['-D', busyboxTree(), '--volatile=overlay', '--timezone=off'];
const showLoginuid = ['/bin/cat', '/proc/self/loginuid'];

checkAudit('the audit login uid is reset', () => {
  const { stdout, stderr } = commandLine('echo 1000 >/proc/self/loginuid', ...words(), ...showLoginuid);
  assert.equal([stdout, stderr], ['4294967295', '']);
  assert.is(
    commandLine('echo 1000 >/proc/self/loginuid', ...words(), '--share-system', ...showLoginuid).stdout,
    '1000',
  );
});

checkAudit("a login uid that can't be reset is one warning", () => {
  const before = 'echo 1000 >/proc/self/loginuid; set -- setpriv --bounding-set=-audit_control "$@"';
  const { stdout, stderr, status } = commandLine(before, ...words(), ...showLoginuid);
  assert.equal([stdout, status], ['1000', 0]);
  assert.match(stderr, /^resetting the audit login uid: [^\n]*not permitted \(EPERM\)$/);
});

needs([root, busybox, tool('unshare')])('mounts of the host come in later, and none go out', async () => {
  // In a mount namespace whose mounts are shared, as they are on a host with systemd.
  using directory = temporaryDirectory();
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', '--propagation=shared', process.execPath, join(import.meta.dirname, 'propagation.ts'), directory.path],
    { encoding: 'utf8', timeout: 60_000 },
  );
  assert.equal({ status, stdout: stdout.trim(), stderr }, { status: 0, stdout: 'came in, stayed inside', stderr: '' });
});

test.run();
