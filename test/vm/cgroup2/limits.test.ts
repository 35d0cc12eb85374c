/** Limits on a host with systemd and cgroups of version 2 only. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ContainerRecord } from '../../../src/index.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

/** Words that run nspawn in a unit that is delegated, and in it a shell script on the machine's own OS. */
const limited = (options: string, script: string, unit = '') =>
  `systemd-run -q --scope ${unit} -p Delegate=yes nspawn -D / --volatile=overlay -qP -M bounded --register=no --keep-unit ${options} -- sh -c '${script}' </dev/null`;

const ROOT = '/sys/fs/cgroup';
const cgroupsOf = (machine: string): string[] =>
  readdirSync(ROOT, { recursive: true })
    .map(String)
    .filter(path => new RegExp(`/nspawn-${machine}-\\w+$`).test(path));
const contentOf = (cgroup: string, file: string): string | undefined =>
  existsSync(`${ROOT}/${cgroup}/${file}`) ? readFileSync(`${ROOT}/${cgroup}/${file}`, 'utf8').trim() : undefined;

it('all limits are in the files of its cgroup, which is gone afterwards', async () => {
  const options =
    '--memory=64M --memory-swap=1M --cpus=1.5 --cpu-weight=50 --tasks=50 --io-weight=10 --io-max="/ wbps=10M riops=100"';
  sh(`(${limited(options, 'echo up >/dev/shm/up; exec sleep 1000')}) >/dev/null 2>&1 & echo $! >/run/limited`);
  for (let tries = 0; cgroupsOf('bounded').length === 0 && tries < 600; tries++) sh('sleep 0.1');
  const [cgroup] = cgroupsOf('bounded');
  assert.ok(cgroup, sh('systemd-cgls --no-pager'));
  const files = ['memory.max', 'memory.swap.max', 'cpu.max', 'cpu.weight', 'pids.max', 'io.max'];
  // The last one is written before the container is born.
  for (let tries = 0; contentOf(`${cgroup}/payload`, 'cgroup.procs') === '' && tries < 600; tries++) sh('sleep 0.1');
  assert.equal(
    files.map(file => contentOf(cgroup!, file)),
    [
      `${64 << 20}`,
      `${1 << 20}`,
      '150000 100000',
      '50',
      '50',
      `${sh('cat /sys/block/vda/dev')} rbps=max wbps=10000000 riops=100 wiops=max`,
    ],
  );
  sh('nspawn kill bounded; while [ -e /proc/$(cat /run/limited) ]; do sleep 0.1; done');
  assert.equal(cgroupsOf('bounded'), []);
});

it('what eats too much memory is killed; nspawn tells, and what was used', () => {
  const { status, stderr } = ends(limited('--memory=32M --memory-swap=0 --stats', 'exec tail /dev/zero'));
  assert.is(status, 1, stderr);
  assert.match(stderr, 'Container bounded terminated by signal KILL: out of memory, 1 process was killed.');
  assert.match(stderr, /used \d+\.\d+ s of CPU time, at most 3[012]\.\d MiB of memory, at most \d+ tasks?\./);
});

it('root in there cannot lift its limits', () => {
  const script = 'mount -t cgroup2 none /mnt; ls /mnt/memory.max; echo max >/mnt/memory.max; exec tail /dev/zero';
  const { stdout, stderr } = ends(limited('--memory=32M --memory-swap=0', script));
  assert.is(stdout, '/mnt/memory.max\n', stderr);
  assert.match(stderr, 'out of memory');
});

it('several run in one delegated unit', () => {
  const both = `systemd-run -q --scope -p Delegate=yes sh -c '
    run() { nspawn -D / --volatile=overlay -qP -M $1 --tasks=20 -- sh -c "sleep 2; echo $1" </dev/null; }
    run one & sleep 0.5; run two; wait'`;
  const { stdout, stderr } = ends(both);
  assert.equal(stdout.trim().split('\n').sort(), ['one', 'two'], stderr);
});

it('after kill -9 the cgroup goes as well', () => {
  sh(`(exec ${limited('--tasks=20', 'exec sleep 1000', '--unit=killed')}) >/dev/null 2>&1 &`);
  for (let tries = 0; cgroupsOf('bounded').length === 0 && tries < 600; tries++) sh('sleep 0.1');
  assert.is(cgroupsOf('bounded').length, 1);
  // Only that one: other test files have containers here at the same time.
  const own = () => JSON.parse(sh('nspawn list --json')).find(({ machine }: ContainerRecord) => machine === 'bounded');
  for (let tries = 0; !own() && tries < 600; tries++) sh('sleep 0.1');
  process.kill(own().nspawn, 'SIGKILL');
  for (let tries = 0; cgroupsOf('bounded').length > 0 && tries < 100; tries++) sh('sleep 0.1');
  assert.equal(cgroupsOf('bounded'), []);
});

it("an ordinary user has limits where the user's own service manager has delegated a unit", () => {
  sh(
    'loginctl enable-linger guest; for try in $(seq 600); do [ -S /run/user/1000/systemd/private ] && break; sleep 0.1; done',
  );
  const user = (delegate: string, options: string, script: string) =>
    ends(
      `runuser -u guest -- env -C / XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user -q --scope -p Delegate=${delegate} nspawn -D / --volatile=overlay -qP -M bounded ${options} -- sh -c '${script}' </dev/null`,
    );
  const eater = user('yes', '--memory=32M --memory-swap=0 --tasks=20 --stats', 'exec tail /dev/zero');
  assert.is(eater.status, 1, eater.stderr);
  assert.match(
    eater.stderr,
    /^Container bounded terminated by signal KILL: out of memory, 1 process was killed\.\nContainer bounded used .*, at most 3[012]\.\d MiB of memory, /,
  );
  assert.equal(cgroupsOf('bounded'), []);
  const refused = user('no', '--tasks=20', 'true');
  assert.match(refused.stderr, /is systemd's; try systemd-run --user --scope --property=Delegate=yes nspawn …\n$/);

  const asGuest = 'runuser -u guest -- env -C / XDG_RUNTIME_DIR=/run/user/1000';
  const run = `systemd-run --user -q --scope -p Delegate=yes nspawn -D / --volatile=overlay -qP -M bounded --tasks=20 -- sleep 1000`;
  sh(`${asGuest} ${run} </dev/null >/dev/null 2>&1 &
    for try in $(seq 600); do ${asGuest} nspawn list | grep -q ^bounded && break; sleep 0.1; done`);
  const exec = 'nspawn exec bounded -- cat /proc/self/cgroup </dev/null';
  const elsewhere = ends(`${asGuest} ${exec}`);
  assert.match(
    elsewhere.stderr,
    /^joining the cgroup of the container bounded: .*\(EACCES\); try systemd-run --user --scope nspawn exec bounded …\n$/,
  );
  assert.match(ends(`${asGuest} systemd-run --user -q --scope ${exec}`).stdout, /^0::\/$/m);
  sh(`${asGuest} sh -c 'nspawn kill bounded && nspawn wait bounded || true'`);
});

it('devices are those of the list', () => {
  const script =
    'mknod /tmp/a b 254 0 || echo refused; mknod /tmp/b c 1 3 && echo x >/tmp/b && echo fine; head -c 1 /dev/vda';
  const { stdout } = ends(limited('--stats', script));
  assert.is(stdout, 'refused\nfine\n');
});

test.run();
