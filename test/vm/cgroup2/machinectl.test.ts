/** What machinectl and systemctl of a real host can do to containers that are booted. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { debianTree } from '../../support/tree.ts';
import { eventually, isGone, onBusybox, type Running, scopes, start } from '../machines.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

const boot = (name: string, ...options: string[]) =>
  ['nspawn', '-q', '-bD', debianTree(), '--volatile=overlay', '--console=passive', '-M', name, ...options] as const;
/**
 * What a script says in it. At the end of its input machinectl would not wait for what is said: it gets a pipe that
 * it could write to itself, which so has no end.
 */
const inside = (name: string, script: string): string =>
  ends(`timeout 60 machinectl shell ${name} /bin/sh -c '${script}' 0<> <(:)`).stdout.replaceAll('\r', '');
async function isUp(name: string, running?: Running): Promise<void> {
  try {
    await eventually(`${name} is up`, () => {
      const how = running?.child.signalCode ?? running?.child.exitCode ?? undefined;
      if (how !== undefined) throw new Error(`nspawn has ended with ${how}`);
      return /^(running|degraded)$/m.test(inside(name, 'systemctl is-system-running'));
    });
  } catch (error) {
    const state = inside(name, 'systemctl is-system-running; systemctl list-jobs; journalctl -p warning --no-pager');
    throw new Error(`${(error as Error).message}: ${running?.said() ?? ''}${ends('machinectl list').stdout}${state}`);
  }
}

it('a booted one has shell, login, and cgroups below the scope; it is restarted, and ended in order by systemd', async () => {
  await using running = start(...boot('full'));
  await isUp('full', running);
  assert.match(inside('full', 'cat /proc/1/cgroup'), /^0::\/init\.scope$/m);
  assert.match(inside('full', 'cat /sys/fs/cgroup/cgroup.controllers'), /^cpuset cpu io memory .*pids/m);
  assert.equal(
    sh('ls -d /sys/fs/cgroup/machine.slice/machine-full.scope/*/'),
    '/sys/fs/cgroup/machine.slice/machine-full.scope/payload/',
  );
  assert.match(sh('(sleep 5; echo) | timeout 60 script -qc "machinectl login full" /dev/null || true'), /login:/);
  assert.match(sh('machinectl status full'), /OS: Debian GNU\/Linux 12.*payload.*init\.scope/s);
  const leader = sh('machinectl show --value --property=Leader full');
  sh('machinectl reboot full');
  await eventually('it has another leader', () => {
    const now = ends('machinectl show --value --property=Leader full').stdout.trim();
    return now !== '' && now !== leader;
  });
  await isUp('full', running);
  sh('systemctl stop machine-full.scope');
  assert.is(await running.ended, 0);
  await isGone('full');
});

it('one with users of its own boots, and its init manages the cgroup that it gets in the scope', async () => {
  await using running = start(...boot('users', '-U'));
  await isUp('users', running);
  const payload = '/sys/fs/cgroup/machine.slice/machine-users.scope/payload';
  const owner = Number(sh(`stat -c %u ${payload}`));
  assert.ok(owner >= 0x80000, `${owner}`);
  assert.is(sh(`stat -c %u ${payload}/init.scope`), `${owner}`);
  sh('machinectl terminate users');
  assert.is(await running.ended, 0);
  await isGone('users');
});

it('in a service with --keep-unit that is what is registered; in a session it is refused', async () => {
  const unit = ['--unit=kept', '--collect', '-p', 'Delegate=yes', '-p', 'KillMode=mixed', '-p', 'Type=notify'];
  sh(['systemd-run', '-q', ...unit, ...boot('kept', '--keep-unit')].join(' '));
  await isUp('kept');
  assert.match(sh('machinectl status kept'), /Unit: kept\.service/);
  assert.not.match(scopes().join(), /kept/);
  // Its init limits what it runs.
  const limit = 'systemctl set-property --runtime dbus.service MemoryMax=64M';
  const file = '/sys/fs/cgroup/system.slice/dbus.service/memory.max';
  assert.match(
    inside('kept', `${limit}; cat /sys/fs/cgroup/cgroup.controllers ${file}`),
    /^cpuset cpu io memory .*pids\n67108864\n/,
  );
  sh('machinectl poweroff kept');
  await eventually('the service has ended', () => ends('systemctl is-active kept').status !== 0);
  await isGone('kept');
  const session = 'systemd-run -q --scope --slice=user-1000.slice';
  const words = [...onBusybox('refused', '--keep-unit'), '/bin/cat', '/proc/self/cgroup'];
  const { status, stdout, stderr } = ends(`${session} ${words.join(' ')}`);
  assert.is(status, 1, `${stdout}${stderr}`);
  assert.match(stderr, /--keep-unit may not be used from a user session/);
});

test.run();
